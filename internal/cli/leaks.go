// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/command"
	"github.com/copenclose/copenclose/internal/descriptor"
	"github.com/copenclose/copenclose/internal/option"
	"github.com/copenclose/copenclose/internal/output"
)

const (
	leaksUsage = `  copenclose leaks [OPTIONS]                      look until Ctrl-C
  copenclose leaks [OPTIONS] -- COMMAND [ARG...]  look at a command only
`
	leaksExamples = `  copenclose leaks -I -d 1m                containers, for a minute
  copenclose leaks -p "$(pidof nginx)" -i 1s
  copenclose leaks -c shop/api --stack     and where in the program
  copenclose leaks --fail -- go test ./... status 1 if something leaks
  copenclose leaks -d 1m -o json | jq 'select(.verdict == "grows")'
`
)

// The formats of flame graphs, which need stacks and are written once.
const (
	folded output.Format = "folded"
	pprof  output.Format = "pprof"
)

// How often is looked where nothing else is asked for.
const (
	defaultInterval = 10 * time.Second
	commandInterval = time.Second // a command can be short
	// intervalsWanted is how many intervals a short --duration is divided into.
	intervalsWanted = 6
)

// Leaks is what the command line asks of leaks.
type Leaks struct {
	Holders
	Interval  option.Duration
	Duration  option.Duration
	All, Fail bool
	Lived     bool
	Stack     bool
	Format    *option.Choice
	ReadyFile option.Path
	Command   []string
}

// leaksCommand returns the subcommand that shows which descriptors become more.
func (t *tool) leaksCommand() *cli.Command {
	l := Leaks{Holders: newHolders(), Format: option.NewChoice(output.Table, output.JSON, folded, pprof)}
	return &cli.Command{
		Name:        "leaks",
		Usage:       "show which descriptors leak",
		UsageText:   leaksUsage,
		Description: leaksExamples,
		Args:        true,
		Flags:       l.flags(),
		Action: func(c *cli.Context) error {
			l.Command = t.command
			if err := l.resolve(output.ScreenOf(t.stdout) != nil); err != nil {
				return err
			}
			return t.showLeaks(c.Context, &l)
		},
	}
}

func (l *Leaks) flags() []cli.Flag {
	when, look := category("When to look"), category("How to show it")
	how := category("How to find it")
	return slices.Concat(l.Holders.flags("What to look at (values of a list: any; different options: all must match)"), []cli.Flag{
		when.value(&l.Interval, "interval", "i", "`TIME`: between snapshots (10s, with a command 1s; a sixth of a shorter --duration)"),
		when.value(&l.Duration, "duration", "d", "`TIME`: stop after a time like 10s or 5m, and report once"),
		look.toggle(&l.Lived, "lived", "", "how long those lived that were closed; looks at each call of the machine twice"),
		look.toggle(&l.Stack, "stack", "", "where in the program what becomes more is made"),
		look.toggle(&l.All, "all", "a", "show what is steady, too"),
		look.toggle(&l.Fail, "fail", "", "exit with status 1 if something grows"),
		look.value(l.Format, "output", "o", "`FORMAT`: table, json (an object a line), or at the end, for flame graphs, folded or pprof"),
	}, l.howFlags(how), []cli.Flag{
		how.value(&l.ReadyFile, "ready-file", "", "`FILE`: create FILE once the first snapshot is there"),
	})
}

// isFlames reports whether a flame graph is asked for.
func (l *Leaks) isFlames() bool {
	return l.Format.Word == string(folded) || l.Format.Word == string(pprof)
}

// resolve turns on what the format needs, or returns what is wrong with it.
func (l *Leaks) resolve(toTerminal bool) error {
	if l.Format.Word == string(pprof) && toTerminal {
		return usagef("-o pprof is not for terminals: copenclose leaks -o pprof >leaks.pb.gz")
	}
	l.Stack = l.Stack || l.isFlames()
	return nil
}

// interval returns how long to wait between snapshots.
func (l *Leaks) interval() time.Duration {
	if l.Interval > 0 {
		return time.Duration(l.Interval)
	}
	interval := defaultInterval
	if l.Command != nil {
		interval = commandInterval
	}
	if d := time.Duration(l.Duration) / intervalsWanted; d > 0 && d < interval {
		interval = d
	}
	return interval
}

func (t *tool) showLeaks(ctx context.Context, l *Leaks) error {
	var program *command.Command
	if l.Command != nil {
		if err := descriptor.Warning(); err != nil {
			return fmt.Errorf("a command cannot be followed: %w", err)
		}
		var err error
		if program, err = command.Find(l.Command, t.stderr); err != nil {
			return &exitError{command.StatusOf(err), err}
		}
	}
	o := t.births(&l.Holders)
	o.Makers, o.Closes, o.Stacks, o.Kept = true, l.Lived, l.Stack, t.findKept()
	tables, err := t.openTables(ctx, &l.Holders, o)
	if err != nil {
		return err
	}
	defer tables.close()
	t.noteMisses(tables)
	ctx, stop := untilSignal(ctx)
	defer stop()
	look := &looker{tool: t, leaks: l, tables: tables, watch: descriptor.NewWatch(l.filter(), program != nil || l.Duration > 0)}
	status, err := look.run(ctx, program)
	switch {
	case err != nil:
		return err
	case status != 0:
		return &exitError{status: status}
	case l.Fail && look.growing > 0:
		return &exitError{exitFailed, fmt.Errorf("%d kinds of descriptors grow", look.growing)}
	}
	return nil
}

// looker looks again and again.
type looker struct {
	tool    *tool
	leaks   *Leaks
	tables  *tables
	watch   *descriptor.Watch
	growing int // in the last report
}

// run looks until ctx is done, the time is over, or the command has ended, of which it
// returns the status.
func (k *looker) run(ctx context.Context, program *command.Command) (status int, err error) {
	if d := time.Duration(k.leaks.Duration); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	if program != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		if err := program.Start(cancel); err != nil {
			return 0, &exitError{command.StatusOf(err), err}
		}
		k.leaks.Filter.Family = descriptor.NewFamily(uint32(program.PID()))
	}
	err = k.look(ctx, program == nil && k.leaks.Duration == 0 && !k.leaks.isFlames())
	if program == nil {
		return 0, err
	}
	if endErr := program.End(commandTimeout); endErr != nil {
		return 0, errors.Join(err, endErr)
	}
	status, _ = program.Ended()
	return status, err
}

// look takes snapshots until ctx is done, and reports after each of them or at the end.
func (k *looker) look(ctx context.Context, eachTime bool) error {
	tick := time.NewTicker(k.leaks.interval())
	defer tick.Stop()
	for n := 0; ; n++ {
		if err := k.add(); err != nil {
			return err
		}
		if n == 0 {
			if err := createReadyFile(string(k.leaks.ReadyFile)); err != nil {
				return err
			}
		}
		if eachTime && n > 0 {
			if err := k.report(); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if eachTime {
				return nil
			}
			return errors.Join(k.end(), k.report())
		}
	}
}

func (k *looker) add() error {
	s, made, err := k.now()
	if err != nil {
		return err
	}
	if k.leaks.Stack {
		k.watch.Called(k.tables.kernel.Calls())
	}
	k.watch.Add(s, made)
	if k.leaks.Stack {
		if err := k.tables.kernel.Suspect(k.watch.Makers()); err != nil {
			return err
		}
	}
	return k.tables.kernel.Prune(s)
}

// end takes what ended since the last snapshot.
func (k *looker) end() error {
	s, made, err := k.now()
	if err == nil {
		k.watch.End(s, made)
	}
	return err
}

func (k *looker) now() (*descriptor.Snapshot, map[bpf.Maker]bpf.Made, error) {
	s, err := k.tables.snapshot()
	if err != nil {
		return nil, nil, err
	}
	made, err := k.tables.kernel.Made(s)
	return s, made, err
}

func (k *looker) report() error {
	suspects, out := k.watch.Suspects(), k.tool.stdout
	k.growing = 0
	for _, s := range suspects {
		if s.Verdict == descriptor.Grows {
			k.growing++
		}
	}
	k.tool.noteLost(k.tables)
	if k.leaks.Stack {
		k.noteStacks()
	}
	switch k.leaks.Format.Word {
	case string(output.JSON):
		return descriptor.WriteSuspectsJSON(out, time.Now(), suspects, k.leaks.All)
	case string(folded):
		return k.watch.WriteFolded(out)
	case string(pprof):
		return k.watch.WriteProfile(out, time.Now())
	}
	return descriptor.WriteSuspects(out, suspects, k.leaks.All)
}

// noteStacks says how many stacks are missing.
func (k *looker) noteStacks() {
	gone, skipped, err := k.tables.kernel.StacksLost()
	if err == nil && gone+skipped > 0 {
		fmt.Fprintf(k.tool.stderr, "copenclose: stacks are missing: %d of processes that had ended, %d for which there was no time\n", gone, skipped)
	}
}
