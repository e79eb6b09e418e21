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
)

const (
	topUsage = `  copenclose top [OPTIONS]                   on the screen
  copenclose top -b [OPTIONS]                a table each time
`
	topExamples = `  copenclose top                             all containers and the host
  copenclose top -I -x                       what fails in containers
  copenclose top -b -n 3 -d 1 -o json | jq   for scripts
`
)

// topOptions are those that only top has.
type topOptions struct {
	batch    bool
	times    option.Count // 0 for no end
	interval option.Duration
	rows     *rowsOf
}

func (o *topOptions) flags() []cli.Flag {
	how := category("How to show it")
	return slices.Concat([]cli.Flag{
		how.value(&o.interval, "interval", "d", "`TIME`: between two looks, like 1s"),
		how.toggle(&o.batch, "batch", "b", "print a table each time, for scripts and where there is no screen"),
		how.value(&o.times, "iterations", "n", "`N`: with --batch: stop after N tables"),
	}, o.rows.flags())
}

// topCommand returns the subcommand that shows what happens live.
func (t *tool) topCommand() *cli.Command {
	o := newOptions()
	only := &topOptions{interval: option.Duration(time.Second), rows: newRowsOf(counting.ByContainer)}
	return &cli.Command{
		Name:        "top",
		Usage:       "show who does most, live",
		UsageText:   topUsage,
		Description: topExamples,
		Flags:       slices.Concat(withoutLetter(o.Select.Flags(), "comm"), only.flags(), without(o.Kernel.Flags(), "summary-json")),
		Action: func(c *cli.Context) error {
			o.given = given(c)
			switch {
			case only.batch:
				return t.topBatch(c.Context, o, only)
			case slices.Contains(o.given, "iterations"), slices.Contains(o.given, "output"), slices.Contains(o.given, "by"), slices.Contains(o.given, "top"):
				return usagef("--iterations, --output, --by and --top go with --batch")
			}
			return t.topScreen(c, o, only)
		},
	}
}

// withoutLetter returns flags, of which the one with that name has no letter: top's
// -n is that of top(1).
func withoutLetter(flags []cli.Flag, name string) []cli.Flag {
	for _, f := range flags {
		if g, ok := f.(*cli.GenericFlag); ok && g.Name == name {
			g.Aliases = nil
		}
	}
	return flags
}

// topBatch prints a report each time.
func (t *tool) topBatch(ctx context.Context, o *Options, only *topOptions) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	feed, err := t.startFeed(o, only)
	defer feed.session.close()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- feed.session.run(ctx) }()
	tick := time.NewTicker(time.Duration(only.interval))
	defer tick.Stop()
	for n := option.Count(0); only.times == 0 || n < only.times; n++ {
		select {
		case err := <-ended:
			return notEnough(err)
		case <-tick.C:
		}
		if err := feed.print(t.stdout, only.rows); err != nil {
			cancel()
			return notEnough(errors.Join(err, <-ended))
		}
	}
	cancel()
	return notEnough(<-ended)
}

// notEnough returns err unless it says that nobody wants more.
func notEnough(err error) error {
	if isEnough(err) {
		return nil
	}
	return err
}

// feed is what the screen and the batch mode show.
type feed struct {
	session *session
	live    *counting.Live
	before  *counting.Snapshot
}

const (
	// samplesWindow is for how long a sampled call says what is on the screen.
	samplesWindow = 15 * time.Second
	// samplesOnScreen is how many calls a second are looked at. All of the window are
	// ranked for each screen, which is most of what top costs.
	samplesOnScreen = 2000
)

// startFeed returns a feed that counts, whose first interval begins now. Its session is
// there to be closed, whatever the error.
func (t *tool) startFeed(o *Options, only *topOptions) (*feed, error) {
	s, live, err := t.newCount(o, only.rows, max(samplesWindow, 3*time.Duration(only.interval)))
	f := &feed{session: s, live: live}
	if err != nil {
		return f, err
	}
	s.tracer.Counting.Samples = samplesOnScreen
	if err := s.beginCount(live); err != nil {
		return f, err
	}
	f.before, err = live.Take()
	return f, err
}

// Next: see top.Feed.
func (f *feed) Next() (*counting.Snapshot, error) {
	now, err := f.live.Take()
	if err != nil {
		return nil, err
	}
	since := now.Since(f.before)
	f.before = now
	return since, nil
}

// Rows: see top.Feed.
func (f *feed) Rows(s *counting.Snapshot, by counting.Dimensions, want func(*counting.Cell) bool, targets int) (rows []counting.Row) {
	f.live.Read(func(samples *counting.Samples) {
		if targets == 0 {
			samples = nil
		}
		rows = s.Rows(by, want, samples, targets)
	})
	return rows
}

func (f *feed) print(out io.Writer, rows *rowsOf) error {
	s, err := f.Next()
	if err != nil {
		return err
	}
	if !rows.isJSON() {
		if _, err := fmt.Fprintln(out, s.Time.Local().Format(time.DateTime)); err != nil {
			return err
		}
	}
	if err := rows.write(out, s, f.live); err != nil || rows.isJSON() {
		return err
	}
	_, err = fmt.Fprintln(out)
	return err
}
