// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/olekukonko/tablewriter"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/attribution"
	"github.com/copenclose/copenclose/internal/cgroup"
	"github.com/copenclose/copenclose/internal/command"
	"github.com/copenclose/copenclose/internal/output"
	"github.com/copenclose/copenclose/internal/stream"
	"github.com/copenclose/copenclose/internal/tracer"
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
func (t *tool) traceCommand() *cobra.Command {
	o := newOptions()
	version := false
	c := &cobra.Command{
		Use:         "copenclose",
		Long:        "Show every open, connect, accept and close on this host, live, by container.",
		Example:     traceExamples,
		Annotations: map[string]string{usageKey: traceUsage},
		Args:        t.onlyCommand,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case version:
				return t.printVersion()
			case slices.Equal(o.Look.Columns, []string{"help"}):
				return printColumns(t.stdout)
			}
			o.Command, o.given = t.command, given(c)
			return t.trace(c.Context(), o)
		},
	}
	o.addTo(c)
	c.Flags().BoolVarP(&version, "version", "V", false, "print the version")
	return c
}

// printColumns answers --columns help.
func printColumns(out io.Writer) error {
	table := tablewriter.NewWriter(out)
	table.Header("column", "what it is")
	for _, column := range output.Columns {
		if err := table.Append(column.Name, column.About); err != nil {
			return err
		}
	}
	return table.Render()
}

// kernel is what a trace needs of a tracer.Tracer.
type kernel interface {
	stream.Source
	attribution.Verdicts
	Start() error
	Way() tracer.Way
	Misses() string
	Buffer() tracer.BufferKind
	Syscalls() []bpf.Syscall
	WakeOn(fd int)
	Close()
}

// session is a trace, from its options to its summary.
type session struct {
	tool *tool
	request
	options    *Options
	command    *command.Command // nil for none
	cgroups    *cgroup.Tree     // nil where --cgroup is not given
	remark     *log.Logger
	kernel     kernel
	writer     *output.Writer
	sink       stream.Sink
	attributor *attribution.Attributor
}

func (t *tool) trace(ctx context.Context, o *Options) error {
	s := &session{tool: t, options: o}
	defer s.close()
	if err := s.validate(); err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	if err := s.load(); err != nil {
		return err
	}
	// The header, so that it is there before the first event.
	if err := s.sink.Flush(); errors.Is(err, unix.EPIPE) {
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
	status, err := s.run(ctx)
	return s.sumUp(status, err)
}

// validate finds what is wrong with the command line, before anything is done.
func (s *session) validate() (err error) {
	if s.writer, err = output.NewWriter(s.tool.stdout, s.options.Look.lines()); err != nil {
		return usageError(err)
	}
	s.sink = s.writer
	if n := s.options.Until.Count; n > 0 {
		s.sink = stream.Limit(s.sink, uint64(n))
	}
	if s.request, err = s.options.resolve(s.sink.Needs()); err != nil {
		return err
	}
	if err := s.findCgroups(s.options.Select.Cgroups); err != nil {
		return usageError(err)
	}
	if err := s.options.Select.lookUp(&s.tracer.Filter); err != nil {
		return usageError(err)
	}
	if len(s.options.Command) > 0 {
		if s.command, err = command.Find(s.options.Command, s.tool.stderr); err != nil {
			return usageError(err)
		}
	}
	return nil
}

// findCgroups has the tracer trace only these cgroups, if there are any.
func (s *session) findCgroups(idsOrPaths []string) (err error) {
	if len(idsOrPaths) == 0 {
		return nil
	}
	if s.cgroups, err = cgroup.Open(); err != nil {
		return fmt.Errorf("--cgroup: %w", err)
	}
	for _, word := range idsOrPaths {
		dir, err := s.cgroups.Directory(word)
		if err != nil {
			return fmt.Errorf("--cgroup %s: %w", word, err)
		}
		s.tracer.Filter.Cgroups = append(s.tracer.Filter.Cgroups, dir)
	}
	return nil
}

// untilSignal returns a context that the signals which ask for an end cancel.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	// A second signal finds the default action again, should the first one wait
	// for a reader of stdout that does not read.
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	context.AfterFunc(ctx, stop)
	// A closed pipe comes back as EPIPE from write instead.
	signal.Ignore(unix.SIGPIPE)
	return ctx, stop
}

// load attaches the programs, which send nothing before start.
func (s *session) load() error {
	s.remark = log.New(s.tool.stderr, "copenclose: ", 0)
	if s.options.Kernel.Quiet {
		s.remark.SetOutput(io.Discard)
	}
	if s.options.Kernel.Verbose {
		s.tracer.Log = log.New(s.tool.stderr, "", log.Ltime|log.Lmicroseconds)
	}
	// What comes with an error is an interface with no tracer in it, which is not nil.
	k, err := s.tool.attach(s.tracer)
	if err != nil {
		return err
	}
	s.kernel = k
	return nil
}

// attribute puts the attribution between the kernel and the sink.
func (s *session) attribute() (err error) {
	s.attributor = attribution.Pass(s.sink)
	if !s.tracer.Cgroups {
		return nil
	}
	s.attribution.Note = func(note string) { s.remark.Print(note) }
	attributor, err := attribution.New(s.sink, s.kernel, attribution.OpenRegistry, s.attribution)
	switch {
	case err == nil:
		s.attributor = attributor
	case s.attribution.Choose != nil:
		return fmt.Errorf("choose containers: %w", err)
	default:
		s.remark.Printf("cannot read cgroups; containers are told apart by PID namespace only: %v", err)
	}
	return nil
}

// start opens the gate in the kernel, and says so.
func (s *session) start() error {
	if err := s.kernel.Start(); err != nil {
		return err
	}
	var names []string
	for _, y := range s.kernel.Syscalls() {
		names = append(names, y.Name)
	}
	s.remark.Printf("tracing %s (%s, %s buffer)", strings.Join(names, ", "), s.kernel.Way(), s.kernel.Buffer())
	if why := s.kernel.Misses(); why != "" {
		s.remark.Printf("calls can be missed with --attach %s, because this kernel can preempt its own code: %s", s.kernel.Way(), why)
	}
	if path := string(s.options.Kernel.ReadyFile); path != "" {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			return fmt.Errorf("create the ready file: %w", err)
		}
	}
	return nil
}

// run traces until ctx is done, the time is over or, if there is one, the command
// has ended. It returns the command's status then.
func (s *session) run(ctx context.Context) (status int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if d := time.Duration(s.options.Until.Duration); d > 0 {
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	ended := make(chan int, 1)
	if s.command != nil {
		if err := s.command.Start(func(status int) {
			ended <- status
			cancel()
		}); err != nil {
			return 0, err
		}
	}
	s.kernel.WakeOn(int(s.tool.stdout.Fd()))
	stopWarning := s.warnOfLosses()
	err = s.kernel.Run(ctx, s.attributor)
	stopWarning()
	select {
	case status = <-ended:
	default:
	}
	return status, err
}

// warnOfLosses says once a second on stderr how many events were lost since it
// last did. It has a goroutine of its own because losses happen when the reader
// is held up.
func (s *session) warnOfLosses() (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		var before uint64
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			if counts, err := s.kernel.Counts(); err == nil && counts.Lost > before {
				fmt.Fprintf(s.tool.stderr, "copenclose: lost %d events\n", counts.Lost-before)
				before = counts.Lost
			}
		}
	}()
	return func() {
		close(done)
		<-stopped
	}
}

// sumUp prints the summary, and returns how the trace ended.
func (s *session) sumUp(status int, err error) error {
	if errors.Is(err, stream.ErrEnough) || errors.Is(err, unix.EPIPE) {
		err = nil
	}
	counts, countErr := s.kernel.Counts()
	if counts.Lost+counts.Missed+counts.Unfollowed > 0 {
		s.remark.SetOutput(s.tool.stderr)
	}
	counts.Filtered += s.attributor.Filtered()
	s.remark.Print(summary(s.writer.Shown(), counts, s.writer.Unwritten()+counts.Unread))
	err = errors.Join(err, countErr, s.sink.Close())
	if status != 0 {
		return &exitError{status, err}
	}
	return err
}

// summary says what became of every call that was traced.
func summary(shown uint64, counts stream.Counts, late uint64) string {
	s := fmt.Sprintf("%d events shown, %d filtered, %d lost", shown, counts.Filtered, counts.Lost)
	if counts.Missed > 0 {
		s += fmt.Sprintf(", at most %d missed", counts.Missed)
	}
	if counts.Unfollowed > 0 {
		s += fmt.Sprintf(", %d processes not followed", counts.Unfollowed)
	}
	if late > 0 {
		s += fmt.Sprintf(", %d came too late to be shown", late)
	}
	return s
}

// close ends the attribution first, which sets verdicts in the kernel.
func (s *session) close() {
	if s.attributor != nil {
		s.attributor.Close()
	}
	if s.kernel != nil {
		s.kernel.Close()
	}
	s.cgroups.Close()
}
