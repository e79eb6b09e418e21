// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"context"
	"fmt"
	"io"
	"log"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/copenclose/copenclose/internal/container"
	"github.com/copenclose/copenclose/internal/descriptor"
	"github.com/copenclose/copenclose/internal/option"
	"github.com/copenclose/copenclose/internal/output"
	"github.com/copenclose/copenclose/internal/tracer"
)

const (
	fdsUsage = `  copenclose fds [OPTIONS]
`
	fdsExamples = `  copenclose fds                           who is nearest to the limit
  copenclose fds -c shop/api -l            every descriptor of a container
  copenclose fds --deleted                 deleted files that take space
  copenclose fds --by target --state close_wait
                                           connections that were left open
  copenclose fds -l -d 1m --path /var/log  how long, and by which call
  copenclose fds --keep                    note that until fds --forget
  copenclose fds -l -o json | jq 'select(.kind == "tcp")'
`
)

// What the rows of fds can be.
const (
	byProcess   = "process"
	byContainer = "container"
	byTarget    = "target"
)

// Holders says whose descriptors are looked at, and which.
type Holders struct {
	Filter   descriptor.Filter
	Match    option.Containers
	PIDs     option.Processes
	Comms    option.Comms
	Kinds    option.List
	Paths    option.Paths
	Runtimes Runtimes
	Attach   *option.Choice
	Table    option.Count
	Verbose  bool
}

func newHolders() Holders {
	return Holders{Attach: option.NewChoice(tracer.AutoAttach, tracer.Tracepoint, tracer.PerfTracepoint)}
}

func (h *Holders) flags(what category) []cli.Flag {
	return []cli.Flag{
		what.toggle(&h.Filter.IgnoreHost, "ignore-host-ns", "I", "leave out the host, show only containers"),
		what.value(&h.Match, "container", "c", "`LIST`: names, id prefixes, hostnames, pods or images, with * and ?; !PATTERN leaves out"),
		what.value(&h.PIDs, "pid", "p", "`LIST`: process ids as the host numbers them"),
		what.value(&h.Comms, "comm", "n", "`LIST`: names of processes, or beginnings like ngin*"),
		what.value(&h.Kinds, "kind", "k", "`LIST`: file, directory, device, pipe, tcp, udp, unix, eventfd, epoll...; socket and anon: all sockets, all anonymous files"),
		what.value(&h.Paths, "path", "", "`LIST`: paths that begin so"),
	}
}

func (h *Holders) howFlags(how category) []cli.Flag {
	return append(h.Runtimes.flags(how),
		how.value(h.Attach, "attach", "", "`MODE`: auto (what misses no call here), tracepoint or perf, to note how descriptors are made"),
		how.value(&h.Table, "table-size", "", "`N`: of how many descriptors it is noted how they were made (262144); 130 bytes each"),
		how.toggle(&h.Verbose, "verbose", "v", "log what libbpf says to stderr"))
}

// filter returns what the options ask for.
func (h *Holders) filter() *descriptor.Filter {
	f := &h.Filter
	f.Containers, f.PIDs, f.Comms, f.Kinds, f.Paths = h.Match.Match, h.PIDs.List, h.Comms.List, h.Kinds, h.Paths.List
	return f
}

// tables is what is needed to look at what is open.
type tables struct {
	kernel   *descriptor.Kernel
	registry *container.Registry
	kept     *descriptor.Kept // nil if nothing is
}

// births returns the options by which it is noted how descriptors are made.
func (t *tool) births(h *Holders) descriptor.Options {
	o := descriptor.Options{Births: true, Attach: tracer.AttachMode(h.Attach.Word), BirthsMax: min(uint64(h.Table), math.MaxUint32), Verbose: log.New(io.Discard, "", 0)}
	if h.Verbose {
		o.Verbose = log.New(t.stderr, "copenclose: ", 0)
	}
	return o
}

// openTables loads the programs and asks for the names of containers.
func (t *tool) openTables(ctx context.Context, h *Holders, o descriptor.Options) (*tables, error) {
	note := func(err error) {
		if err != nil {
			fmt.Fprintln(t.stderr, "copenclose:", err)
		}
	}
	if o.Kept != nil && o.BirthsMax > 0 && int(o.BirthsMax) != o.Kept.Room {
		note(fmt.Errorf("--table-size %d: what is kept has room for %d descriptors", o.BirthsMax, o.Kept.Room))
	}
	kernel, err := descriptor.Open(o)
	if err != nil {
		return nil, err
	}
	registry, err := container.New(container.Config{
		Sockets: h.Runtimes.Sockets, NoNames: h.Runtimes.None,
		Note: func(s string) { fmt.Fprintln(t.stderr, "copenclose:", s) },
	})
	if err != nil {
		kernel.Close()
		return nil, err
	}
	note(descriptor.Warning())
	note(registry.Warning())
	ctx, cancel := context.WithTimeout(ctx, runtimeTimeout)
	defer cancel()
	note(registry.WaitForNames(ctx))
	return &tables{kernel, registry, o.Kept}, nil
}

func (t *tables) snapshot() (*descriptor.Snapshot, error) {
	s, err := t.kernel.Snapshot()
	if err == nil {
		s.Attribute(t.registry)
	}
	return s, err
}

func (t *tables) close() {
	t.registry.Close()
	t.kernel.Close()
	if t.kept != nil {
		t.kept.Close()
	}
}

// Fds is what the command line asks of fds.
type Fds struct {
	Holders
	States    option.List
	Duration  option.Duration
	Older     option.Duration
	By        *option.Choice
	List      bool
	Keep      bool
	Forget    bool
	Format    *option.Choice
	ReadyFile option.Path
}

// fdsCommand returns the subcommand that shows the descriptors that are open.
func (t *tool) fdsCommand() *cli.Command {
	f := Fds{
		Holders: newHolders(),
		By:      option.NewChoice(byProcess, byContainer, byTarget),
		Format:  option.NewChoice(output.Table, output.JSON),
	}
	return &cli.Command{
		Name:        "fds",
		Usage:       "show open descriptors and limits",
		UsageText:   fdsUsage,
		Description: fdsExamples,
		Flags:       f.flags(),
		Action: func(c *cli.Context) error {
			if err := f.resolve(c.IsSet("by")); err != nil {
				return err
			}
			return t.showFds(c.Context, &f)
		},
	}
}

func (f *Fds) flags() []cli.Flag {
	what := category("What to show (values of a list: any; different options: all must match)")
	look, how := category("How to show it"), category("How to find it")
	return slices.Concat(f.Holders.flags(what), []cli.Flag{
		what.toggle(&f.Filter.Deleted, "deleted", "", "only deleted files"),
		what.value(&f.States, "state", "", "`LIST`: connections in these states, like listen or close_wait"),
		what.toggle(&f.Filter.Inherited, "inherited", "", "only what an older process has open, too"),
		what.value(&f.Older, "older", "", "`TIME`: with --duration, or after --keep, only what has surely been open so long"),
		look.value(&f.Duration, "duration", "d", "`TIME`: note for a time like 30s how descriptors are made, and then show ages and growth"),
		look.value(f.By, "by", "", "`WHAT`: a row for each process, container or target"),
		look.toggle(&f.List, "list", "l", "a row for each descriptor"),
		look.value(f.Format, "output", "o", "`FORMAT`: table or json (an object a line)"),
	}, f.howFlags(how), []cli.Flag{
		how.toggle(&f.Keep, "keep", "", "note how descriptors are made from now on, when no copenclose runs, too, so that ages are known later"),
		how.toggle(&f.Forget, "forget", "", "end what --keep began, and show nothing"),
		how.value(&f.ReadyFile, "ready-file", "", "`FILE`: create FILE once it is noted how descriptors are made"),
	})
}

// resolve takes the states, or returns what is wrong with the options.
func (f *Fds) resolve(by bool) error {
	if f.List && by {
		return usagef("--list and --by exclude each other")
	}
	switch {
	case f.Keep && f.Forget:
		return usagef("--keep and --forget exclude each other")
	case f.ReadyFile != "" && f.Duration == 0:
		return usagef("--ready-file needs --duration")
	}
	f.Filter.Older = time.Duration(f.Older)
	for _, word := range f.States {
		state := strings.ToUpper(strings.ReplaceAll(word, "-", "_"))
		if !slices.Contains(descriptor.StateNames(), state) {
			return usagef("--state %s: not one of %s", word, strings.ToLower(strings.Join(descriptor.StateNames(), ", ")))
		}
		f.Filter.States = append(f.Filter.States, state)
	}
	return nil
}

func (t *tool) showFds(ctx context.Context, f *Fds) (err error) {
	if f.Forget {
		return t.forget()
	}
	var kept *descriptor.Kept
	if !f.Keep {
		kept = t.findKept()
	} else if kept, err = t.keep(&f.Holders); err != nil {
		return err
	}
	if kept == nil && f.Older > f.Duration {
		return usagef("--older %v needs a --duration as long, or a --keep before: nothing is known of what was opened before copenclose looked", time.Duration(f.Older))
	}
	o := t.births(&f.Holders)
	o.Births, o.Kept = f.Duration > 0 || kept != nil, kept
	tables, err := t.openTables(ctx, &f.Holders, o)
	if err != nil {
		return err
	}
	defer tables.close()
	if o.Births {
		t.noteMisses(tables)
	}
	s, err := tables.look(ctx, f)
	if err != nil {
		return err
	}
	t.noteLost(tables)
	return t.writeFds(s, f)
}

// look returns a snapshot, with ages where they are known.
func (t *tables) look(ctx context.Context, f *Fds) (*descriptor.Snapshot, error) {
	if f.Duration > 0 {
		return t.after(ctx, time.Duration(f.Duration), string(f.ReadyFile))
	}
	s, err := t.snapshot()
	if err != nil || t.kept == nil {
		return s, err
	}
	s.Date(t.kept.Ages())
	return s, t.kernel.Prune(s)
}

// pruneInterval is how often is looked whether there is room for what is opened.
const pruneInterval = time.Second

// after returns a snapshot with dates, when the time is over or a signal comes.
func (t *tables) after(ctx context.Context, d time.Duration, readyFile string) (*descriptor.Snapshot, error) {
	ctx, stop := untilSignal(ctx)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	first, err := t.kernel.Snapshot()
	if err != nil {
		return nil, err
	}
	ages := descriptor.NewAges(first)
	if err := createReadyFile(readyFile); err != nil {
		return nil, err
	}
	tick := time.NewTicker(pruneInterval)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			if err := t.prune(); err != nil {
				return nil, err
			}
		}
	}
	s, err := t.snapshot()
	if err == nil {
		s.Date(ages)
	}
	return s, err
}

// prune makes room for births where it is needed.
func (t *tables) prune() error {
	crowded, err := t.kernel.IsCrowded()
	if err != nil || !crowded {
		return err
	}
	s, err := t.kernel.Snapshot()
	if err != nil {
		return err
	}
	return t.kernel.Prune(s)
}

func createReadyFile(path string) error {
	if path == "" {
		return nil
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		return fmt.Errorf("create the ready file: %w", err)
	}
	return nil
}

// noteLost says how many births found no room.
func (t *tool) noteLost(tables *tables) {
	lost := tables.kernel.Lost()
	switch {
	case lost == 0:
	case tables.kept != nil:
		fmt.Fprintf(t.stderr, "copenclose: since %s there was no room to note how %d descriptors were made: fds --forget, and --keep with a --table-size above %d\n",
			tables.kept.Since.Format(time.DateTime), lost, tables.kept.Room)
	default:
		fmt.Fprintf(t.stderr, "copenclose: there was no room to note how %d descriptors were made: --table-size makes more\n", lost)
	}
}

// noteMisses says so where births can be missed.
func (t *tool) noteMisses(tables *tables) {
	if tables.kernel.Misses() {
		fmt.Fprintln(t.stderr, "copenclose: this kernel can hide calls from us: more of what made descriptors is unknown")
	}
}

func (t *tool) writeFds(s *descriptor.Snapshot, f *Fds) error {
	filter := f.filter()
	holdings := s.Select(filter)
	json := f.Format.Word == string(output.JSON)
	switch {
	case f.List && json:
		return descriptor.WriteDescriptorsJSON(t.stdout, s, holdings)
	case f.List:
		return descriptor.WriteDescriptors(t.stdout, s, holdings)
	case f.By.Word == byContainer && json:
		return descriptor.WriteContainersJSON(t.stdout, s.Sums(holdings))
	case f.By.Word == byContainer:
		return descriptor.WriteContainers(t.stdout, s.Sums(holdings), filter)
	case f.By.Word == byTarget && json:
		return descriptor.WriteTargetsJSON(t.stdout, s.Targets(holdings))
	case f.By.Word == byTarget:
		return descriptor.WriteTargets(t.stdout, s.Targets(holdings))
	}
	files, err := descriptor.HostFiles()
	if err != nil {
		return err
	}
	if json {
		return descriptor.WriteProcessesJSON(t.stdout, s, holdings, files, s.Inotify())
	}
	if err := descriptor.WriteProcesses(t.stdout, s, holdings, filter); err != nil {
		return err
	}
	return descriptor.WriteLimits(t.stdout, files, s.Inotify())
}
