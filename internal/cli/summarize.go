// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/copenclose/copenclose/internal/counting"
	"github.com/copenclose/copenclose/internal/option"
	"github.com/copenclose/copenclose/internal/output"
	"github.com/copenclose/copenclose/internal/tracer"
)

const (
	summaryUsage = `  copenclose summary [OPTIONS]                      until Ctrl-C
  copenclose summary [OPTIONS] -- COMMAND [ARG...]  of a command alone
`
	summaryExamples = `  copenclose summary -d 10s                       by container and program
  copenclose summary -I -x --by container,path    what containers do not find
  copenclose summary -c web --by peer --top 5     whom a container talks to
  copenclose summary -- python3 -c 'import ssl'   what a command did
`
)

// rowsOf says how a report is made of what was counted.
type rowsOf struct {
	by      dimensions
	top     option.Count
	format  *option.Choice
	latency bool
	table   option.Count // totals that the kernel keeps apart, 0 for the usual number
}

func newRowsOf(by ...counting.Dimensions) *rowsOf {
	return &rowsOf{by: dimensions{chosen: by}, top: 20, format: option.NewChoice(output.Table, output.JSON)}
}

func (r *rowsOf) flags() []cli.Flag {
	what := category("What to show")
	return []cli.Flag{
		what.value(r.format, "output", "o", "`FORMAT`: table or json (an object a report)"),
		what.value(&r.by, "by", "", "`LIST`: a row for each container, exe, syscall, errno, user, path or peer; paths and peers are estimated"),
		what.value(&r.top, "top", "", "`N`: rows to show; the rest is one line"),
		what.toggle(&r.latency, "latency", "", "measure how long calls take: the median and the 99th percentile"),
		what.value(&r.table, "table-size", "", "`N`: totals that the kernel keeps apart, if not as many as fit in 56 MiB; what is beyond is counted as other"),
	}
}

// write writes a report of s.
func (r *rowsOf) write(out io.Writer, s *counting.Snapshot, live *counting.Live) error {
	report := counting.Report{By: r.by.chosen, Top: int(r.top), Latency: r.latency}
	live.Read(func(samples *counting.Samples) { report.Make(s, samples) })
	if r.isJSON() {
		return report.WriteJSON(out)
	}
	return report.WriteTable(out)
}

func (r *rowsOf) isJSON() bool { return output.Format(r.format.Word) == output.JSON }

// dimensions is what rows are told apart by, a flag's value.
type dimensions struct {
	chosen []counting.Dimensions
	given  bool
}

// Set has the dimensions of s only; a flag that is given again adds to them.
func (d *dimensions) Set(s string) error {
	if !d.given {
		d.chosen, d.given = nil, true
	}
	var words option.List
	if err := words.Set(s); err != nil {
		return err
	}
	for _, word := range words {
		dimension, err := counting.ParseDimension(word)
		if err != nil {
			return &option.EntryError{Entry: word, Err: err}
		}
		d.chosen = append(d.chosen, dimension)
	}
	return nil
}

func (d *dimensions) String() string {
	var words option.List
	for _, one := range d.chosen {
		words = append(words, one.String())
	}
	return words.String()
}

// Words returns the dimensions there are.
func (d *dimensions) Words() []string { return counting.DimensionNames() }

func (d *dimensions) has(dimension counting.Dimensions) bool {
	return slices.Contains(d.chosen, dimension)
}

// summaryCommand returns the subcommand that counts and then prints a table.
func (t *tool) summaryCommand() *cli.Command {
	o := newOptions()
	rows := newRowsOf(counting.ByContainer, counting.ByProgram)
	return &cli.Command{
		Name:        "summary",
		Usage:       "count calls, and print a table",
		UsageText:   summaryUsage,
		Description: summaryExamples,
		Args:        true,
		Flags:       slices.Concat(o.Select.Flags(), rows.flags(), []cli.Flag{o.Until.durationFlag()}, without(o.Kernel.Flags(), "summary-json")),
		Action: func(c *cli.Context) error {
			o.Command, o.given = t.command, given(c)
			return t.summarize(c.Context, o, rows)
		},
	}
}

const (
	// samplesPerSecond is how many calls are looked at to estimate targets, which
	// costs a thousandth of a CPU.
	samplesPerSecond = 4000
	// samplesOfCommand is more than most commands make calls.
	samplesOfCommand = 500_000
)

// newCount returns a session that counts, and where it will.
func (t *tool) newCount(o *Options, rows *rowsOf, window time.Duration) (*session, *counting.Live, error) {
	live := counting.NewLive(window, rows.latency)
	s, err := t.newSession(o, live.Sink())
	if err != nil {
		return s, live, err
	}
	s.tracer.Details, s.tracer.Hostname, s.tracer.Latency, s.tracer.Cgroups = false, false, rows.latency, true
	s.tracer.Counting = &tracer.Counting{Users: rows.by.has(counting.ByUser), Samples: samplesPerSecond, Entries: int(rows.table)}
	if len(o.Command) > 0 {
		s.tracer.Counting.Samples = samplesOfCommand
	}
	return s, live, nil
}

// beginCount loads the programs and begins to count.
func (s *session) beginCount(live *counting.Live) error {
	if err := s.load(); err != nil {
		return err
	}
	if err := s.attribute(); err != nil {
		return err
	}
	live.Begin(s.kernel, s.attributor, s.attributor)
	s.records = live
	return s.start()
}

// summarize counts, and then prints a report.
func (t *tool) summarize(ctx context.Context, o *Options, rows *rowsOf) error {
	s, live, err := t.newCount(o, rows, 0)
	defer s.close()
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	onReport, stopReports := onUSR1()
	defer stopReports()
	if err := s.beginCount(live); err != nil {
		return err
	}
	began := time.Now()
	report := func() error {
		snapshot, err := live.Take()
		if err != nil {
			return err
		}
		snapshot.Seconds = time.Since(began).Seconds()
		return t.writeSummary(snapshot, live, o, rows)
	}
	onReport(func() {
		if err := report(); err != nil {
			fmt.Fprintln(t.stderr, "copenclose:", err)
		}
	})
	stopTending := every(time.Second, func() { _ = live.Tend() }) // what is wrong with it, Take finds
	end := s.run(ctx)
	stopTending()
	if exit := (*exitError)(nil); errors.As(end, &exit) {
		return end // the command was not run
	}
	if isEnough(end) {
		end = nil
	}
	err = errors.Join(end, report())
	if status := s.endCommand(ctx); status != 0 {
		return &exitError{status, err}
	}
	return err
}

// writeSummary writes a table, or of a command what it did.
func (t *tool) writeSummary(s *counting.Snapshot, live *counting.Live, o *Options, rows *rowsOf) (err error) {
	if len(o.Command) == 0 || rows.by.given || rows.isJSON() {
		return rows.write(t.stdout, s, live)
	}
	live.Read(func(samples *counting.Samples) { err = s.WriteStory(t.stdout, samples) })
	return err
}
