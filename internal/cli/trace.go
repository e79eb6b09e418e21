// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/internal/licenses"
	"github.com/copenclose/copenclose/internal/output"
	"github.com/copenclose/copenclose/internal/stream"
)

const (
	traceUsage = `  copenclose [OPTIONS]                      trace until Ctrl-C
  copenclose [OPTIONS] -- COMMAND [ARG...]  run a command and trace only it
`
	traceExamples = `  copenclose -I                             containers only, not the host
  copenclose -o wide -c web                 one container, paths and addresses
  copenclose -o wide -x -c 'shop*'          only what failed
  copenclose -o wide -p "$(pidof nginx)"    some processes
  copenclose -o wide -- curl -s localhost   a command, from its first call
  copenclose -o json -I | jq -r 'select(.error) | .path' | sort | uniq -c
`
)

// traceCommand returns what copenclose does without a subcommand.
func (t *tool) traceCommand() *cli.Command {
	o, version, licensed := newOptions(), false, false
	return &cli.Command{
		Name:        "copenclose",
		Usage:       "show every open, connect, accept and close on this host, live, by container",
		UsageText:   traceUsage,
		Description: traceExamples,
		Args:        true,
		Flags: append(o.Flags(), category("").toggle(&version, "version", "V", "print the version"),
			category("").toggle(&licensed, "licenses", "", "print the licences of all that is in this binary")),
		Action: func(c *cli.Context) error {
			switch {
			case version:
				return t.printVersion()
			case licensed:
				return licenses.WriteTo(t.stdout)
			case slices.Equal(o.Look.Columns, []string{"help"}):
				return output.WriteColumns(t.stdout)
			}
			o.Command, o.given = t.command, given(c)
			return t.trace(c.Context, o)
		},
	}
}

// trace shows events, and then says what became of all.
func (t *tool) trace(ctx context.Context, o *Options) error {
	lines := o.Look.lines()
	lines.WriteTo(t.stdout, output.ColorWhen(o.Look.Color.Word), os.Getenv)
	out, end := patiently(t.stdout)
	w, err := output.NewWriter(out, lines)
	if err != nil {
		return usageError(err)
	}
	sink := stream.Sink(w)
	if o.Until.Count > 0 {
		sink = stream.Limit(sink, uint64(o.Until.Count))
	}
	s, err := t.newSession(o, sink)
	defer s.close()
	if err != nil {
		return err
	}
	summaryTo, err := createSummary(string(o.Kernel.SummaryFile))
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	context.AfterFunc(ctx, end)
	s.atEnd = end
	onReport, stopReports := onUSR1()
	defer stopReports()
	if err := s.load(); err != nil {
		return err
	}
	// The header, so that it is there before the first event.
	if err := sink.Flush(); errors.Is(err, unix.EPIPE) {
		return nil
	} else if err != nil {
		return fmt.Errorf("write to stdout: %w", err)
	}
	if err := s.attribute(); err != nil {
		return err
	}
	if err := s.start(); err != nil {
		return err
	}
	onReport(func() { s.report(w) })
	ended := s.run(ctx)
	err = s.sumUp(w, summaryTo, ended)
	if status := s.endCommand(ctx); status != 0 && !isEnough(ended) {
		return &exitError{status, err}
	}
	return err
}

// isEnough reports whether err ended a session because nobody wants more of it.
func isEnough(err error) bool { return errors.Is(err, stream.ErrEnough) || errors.Is(err, unix.EPIPE) }

// report prints the summary so far. It may be called while the session runs.
func (s *session) report(w *output.Writer) {
	counts, err := s.kernel.Counts()
	if err != nil {
		fmt.Fprintln(s.tool.stderr, "copenclose:", err)
		return
	}
	counts.Filtered += s.attributor.Filtered()
	fmt.Fprintln(s.tool.stderr, "copenclose: so far", newSummary(w.Shown(), counts, 0))
}

// sumUp prints the summary of a session that ended with err, and returns what is wrong
// with it.
func (s *session) sumUp(w *output.Writer, to summaryFile, err error) error {
	if exit := (*exitError)(nil); errors.As(err, &exit) {
		return err // the command was not run
	}
	counts, countErr := s.kernel.Counts()
	var unknown, unseen uint64
	if s.programs != nil {
		unknown, unseen = s.programs.Missing(), uint64(s.kernel.ProcessesLost())
	}
	if counts.Lost+counts.Limited+counts.Missed+counts.Unfollowed+unknown+unseen > 0 {
		s.remark.SetOutput(s.tool.stderr)
	}
	if unknown > 0 {
		s.remark.Printf("there was no room to note what %d processes run", unknown)
	}
	if unseen > 0 {
		s.remark.Printf("lost %d forks and execs: rows after them can be without a program", unseen)
	}
	counts.Filtered += s.attributor.Filtered()
	unwritten := w.Unwritten() + counts.Unread
	if errors.Is(err, stream.ErrEnough) {
		unwritten = 0 // nobody wanted what came after the last one
	}
	if isEnough(err) {
		err = nil
	}
	sum := newSummary(w.Shown(), counts, unwritten)
	cgroups, droppedErr := s.kernel.Dropped()
	sum.ByContainer = listDropped(cgroups, s.attributor.Container)
	s.remark.Print(sum)
	if s.options.Look.LossBy.Word == lossByContainer {
		writeDropped(s.tool.stderr, sum.ByContainer)
	}
	return errors.Join(err, countErr, droppedErr, to.write(sum), s.sink.Close())
}
