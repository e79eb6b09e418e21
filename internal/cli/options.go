// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/copenclose/copenclose/internal/attribution"
	"github.com/copenclose/copenclose/internal/option"
	"github.com/copenclose/copenclose/internal/output"
	"github.com/copenclose/copenclose/internal/stream"
	"github.com/copenclose/copenclose/internal/tracer"
)

// Options is what the command line asks of a trace.
type Options struct {
	Select  Select
	Look    Look
	Until   Until
	Kernel  Kernel
	Command []string // to run and trace, none to trace what runs
	given   []string // the long names of the flags that the command line has
}

func newOptions() *Options {
	return &Options{
		Look: Look{
			Format:    option.NewChoice(output.Formats()...).Also("jsonl", "json").Also("ndjson", "json"),
			Time:      option.NewChoice(output.AutoTime, output.UTC, output.Local, output.TimeOfDay, output.Unix, output.Delta),
			Color:     option.NewChoice(output.ColorAuto, output.ColorAlways, output.ColorNever),
			LossBy:    option.NewChoice(lossByNothing, lossByContainer),
			Precision: option.NewChoice(output.AutoPrecision, output.Seconds, output.Milliseconds, output.Microseconds, output.Nanoseconds),
		},
		Kernel: Kernel{
			Attach:     option.NewChoice(tracer.AutoAttach, tracer.Fentry, tracer.Kprobe, tracer.Tracepoint, tracer.PerfTracepoint),
			Buffer:     option.NewChoice(tracer.AutoBuffer, tracer.Ring, tracer.Perf),
			BufferSize: option.Size{Bytes: 8 << 20, Min: 64 << 10, Max: 1 << 30},
		},
	}
}

// Flags returns the flags that set the options, in the order of the help.
func (o *Options) Flags() []cli.Flag {
	return slices.Concat(o.Select.Flags(), o.Look.Flags(), o.Until.Flags(), o.Kernel.Flags())
}

// Select says what is traced.
type Select struct {
	IgnoreHost bool
	Containers option.Containers
	Syscalls   option.Syscalls
	PIDs       option.Processes
	TIDs       option.Threads
	UIDs       option.Users
	GIDs       option.Groups
	Follow     bool
	Comms      option.Comms
	Cgroups    option.Cgroups
	Paths      option.Paths
	Failed     bool
	Errnos     option.Errnos
}

// Flags returns the flags that set s.
func (s *Select) Flags() []cli.Flag {
	what := category("What to trace (values of a list: any; different options: all must match)")
	return []cli.Flag{
		what.toggle(&s.IgnoreHost, "ignore-host-ns", "I", "leave out the host, show only containers"),
		what.value(&s.Containers, "container", "c", "`LIST`: names, id prefixes, hostnames, pods or images, with * and ?; !PATTERN leaves out"),
		what.value(&s.Syscalls, "syscall", "s", "`LIST`: open, accept, connect, close (groups, the default), sockets, descriptors, all, or syscalls; !NAME leaves out"),
		what.value(&s.PIDs, "pid", "p", "`LIST`: process ids as the host numbers them"),
		what.toggle(&s.Follow, "follow", "f", "with --pid: also all descendants"),
		what.value(&s.Comms, "comm", "n", "`LIST`: thread names, or beginnings like ngin*"),
		what.value(&s.UIDs, "uid", "u", "`LIST`: user ids"),
		what.value(&s.GIDs, "gid", "g", "`LIST`: group ids"),
		what.toggle(&s.Failed, "failed", "x", "only calls that failed"),
		what.value(&s.Errnos, "errno", "", "`LIST`: only calls that failed with these errors, like ENOENT"),
		what.value(&s.Paths, "path", "", "`LIST`: paths that begin so"),
		what.value(&s.Cgroups, "cgroup", "", "`LIST`: cgroup v2 ids or paths, with all below"),
		what.value(&s.TIDs, "tid", "", "`LIST`: thread ids"),
	}
}

// choosesContainers reports whether events are chosen by their containers.
func (s *Select) choosesContainers() bool { return s.Containers.Match != nil }

// filter returns s as the tracer has it, without what is still to be looked up.
func (s *Select) filter() tracer.Filter {
	return tracer.Filter{
		IgnoreHost:     s.IgnoreHost,
		OnlyChosen:     s.choosesContainers(),
		Failed:         s.Failed,
		PIDs:           s.PIDs.List,
		TIDs:           s.TIDs.List,
		Errnos:         s.Errnos.List,
		Comms:          s.Comms.List,
		Paths:          s.Paths.List,
		FollowChildren: s.Follow,
	}
}

// lookUp adds to f what the names of users and groups stand for.
func (s *Select) lookUp(f *tracer.Filter) (err error) {
	if f.UIDs, err = s.UIDs.IDs(); err != nil {
		return fmt.Errorf("--uid: %w", err)
	}
	if f.GIDs, err = s.GIDs.IDs(); err != nil {
		return fmt.Errorf("--gid: %w", err)
	}
	return nil
}

// Look says what the events look like.
type Look struct {
	Format    *option.Choice
	CgroupID  bool
	FullPath  bool
	Latency   bool
	Lifetime  bool
	AllCloses bool
	AllOpens  bool
	Program   bool
	Columns   option.List
	Time      *option.Choice
	Precision *option.Choice
	NoHeader  bool
	Rate      option.Rate
	LossBy    *option.Choice
	Color     *option.Choice
}

// Flags returns the flags that set l.
func (l *Look) Flags() []cli.Flag {
	look := category("What to show")
	return []cli.Flag{
		look.value(l.Format, "output", "o", "`FORMAT`: table, wide (more columns), json (an object a line), tsv or strace"),
		look.toggle(&l.CgroupID, "use-cgv2", "C", "show containers by cgroup v2 id instead of hostname"),
		look.value(&l.Columns, "columns", "", "`LIST`: columns to show, or changes like +latency,-gid (--columns help lists them)"),
		look.toggle(&l.Latency, "latency", "", "show how long calls took"),
		look.toggle(&l.Lifetime, "lifetime", "", "of what is closed: how long it was open, who opened it, and whether that was the last reference"),
		look.toggle(&l.AllCloses, "all-closes", "", "also closes that no call is for: by exit, by exec, and each of a close_range"),
		look.toggle(&l.AllOpens, "all-opens", "", "also the files that execve opens by itself: the script, the program, and its ELF interpreter"),
		look.toggle(&l.Program, "program", "", "show which program makes the call, not only the name of its thread, and who forked it; JSON has the arguments, too"),
		look.toggle(&l.FullPath, "full-path", "", "in tables, of opens show the absolute path of the file, not the path as given; JSON has both"),
		look.value(l.Time, "time", "", "`STYLE`: utc, local, clock (time of day), unix or delta (to the event before)"),
		look.value(l.Precision, "timestamp-precision", "", "`UNIT`: last digit of times: s, ms, us or ns"),
		look.value(&l.Rate, "rate", "", "`N[/BURST]`: at most N events a second of each container, and BURST at once; counts the others"),
		look.value(l.LossBy, "loss-by", "", "`WHAT`: container lists at the end what was lost or over --rate"),
		look.toggle(&l.NoHeader, "no-header", "", "leave out the header"),
		look.value(l.Color, "color", "", "`WHEN`: auto (on a terminal), always or never"),
	}
}

// Until says when the trace ends.
type Until struct {
	Duration option.Duration
	Count    option.Count
}

// Flags returns the flags that set u.
func (u *Until) Flags() []cli.Flag {
	return []cli.Flag{
		u.durationFlag(),
		whenToStop.value(&u.Count, "count", "", "`N`: after N events were shown"),
	}
}

const whenToStop category = "When to stop"

func (u *Until) durationFlag() cli.Flag {
	return whenToStop.value(&u.Duration, "duration", "d", "`TIME`: after a time like 10s or 5m; a bare number is seconds")
}

// Kernel says how the trace is made.
type Kernel struct {
	Attach         *option.Choice
	Buffer         *option.Choice
	BufferSize     option.Size
	Runtimes       Runtimes
	Quiet, Verbose bool
	ReadyFile      option.Path // created once every program is attached
	SummaryFile    option.Path // where the summary is written as an object
}

// Flags returns the flags that set k.
func (k *Kernel) Flags() []cli.Flag {
	how := category("How to trace (rarely needed)")
	return slices.Concat([]cli.Flag{
		how.toggle(&k.Quiet, "quiet", "q", "print only errors and losses on stderr"),
		how.toggle(&k.Verbose, "verbose", "v", "log each step and libbpf's messages to stderr"),
	}, k.Runtimes.flags(how), []cli.Flag{
		how.value(k.Attach, "attach", "", "`MODE`: auto (what misses no call here), fentry or kprobe (to the syscall handlers), tracepoint or perf (to sys_exit)"),
		how.value(k.Buffer, "buffer", "", "`KIND`: buffer from the kernel: auto, ring (5.8 and later) or perf"),
		how.value(&k.BufferSize, "buffer-size", "", "`SIZE`: like 8M, rounded up to a power of two; with perf, per CPU"),
		how.value(&k.ReadyFile, "ready-file", "", "`FILE`: create FILE once every program is attached"),
		how.value(&k.SummaryFile, "summary-json", "", "`FILE`: write the counts of the summary to FILE at the end, as an object"),
	})
}

// Runtimes says which container runtimes are asked for names.
type Runtimes struct {
	Sockets option.Sockets // none for those that are found
	None    bool
}

func (r *Runtimes) flags(c category) []cli.Flag {
	return []cli.Flag{
		c.value(&r.Sockets, "runtime-socket", "", "`LIST`: ask these for names (sockets with Docker's API or CRI), instead of those that are found"),
		c.toggle(&r.None, "no-runtime", "", "ask no container runtime for names"),
	}
}

// lines returns l as the output has it.
func (l *Look) lines() output.Options {
	return output.Options{
		Format:    output.Format(l.Format.Word),
		CgroupID:  l.CgroupID,
		Latency:   l.Latency,
		Lifetime:  l.Lifetime,
		Program:   l.Program,
		FullPath:  l.FullPath,
		Columns:   l.Columns,
		NoHeader:  l.NoHeader,
		Time:      output.TimeStyle(l.Time.Word),
		Precision: output.Precision(l.Precision.Word),
	}
}

// request is what the options ask of each part.
type request struct {
	tracer      tracer.Config
	attribution attribution.Config // used if tracer.Cgroups is set
}

// resolve returns what the options and the sinks ask for, or what is wrong with it.
// It looks at nothing else.
func (o *Options) resolve(needs stream.Needs) (r request, err error) {
	if err := o.conflict(); err != nil {
		return r, err
	}
	for name, shown := range map[string]bool{"full-path": needs.File, "latency": needs.Details, "lifetime": needs.Details, "program": needs.Programs} {
		if slices.Contains(o.given, name) && !shown && o.Select.Paths.Len() == 0 {
			return r, usagef("--%s is for -o wide and -o json, or a column that shows it", name)
		}
	}
	for _, all := range []struct {
		asked         bool
		name, syscall string
	}{{o.Look.AllCloses, "all-closes", "close"}, {o.Look.AllOpens, "all-opens", "openat"}} {
		switch {
		case !all.asked:
		case !needs.Details:
			return r, usagef("--%s is for -o wide and -o json, or a column that shows it", all.name)
		case !slices.Contains(o.Select.Syscalls.Names(), all.syscall):
			return r, usagef("--%s shows rows of %s, which --syscall leaves out", all.name, all.syscall)
		}
	}
	byContainer := o.Look.Rate.PerSecond > 0 || o.Look.LossBy.Word == lossByContainer || o.Kernel.SummaryFile != ""
	names := needs.Containers || o.Select.choosesContainers() || byContainer
	r.tracer = tracer.Config{
		Attach:      tracer.AttachMode(o.Kernel.Attach.Word),
		Buffer:      tracer.BufferKind(o.Kernel.Buffer.Word),
		BufferSize:  o.Kernel.BufferSize.Bytes,
		Syscalls:    o.Select.Syscalls.Names(),
		OnlyCloses:  o.Select.Syscalls.OnlyCloses(),
		Hostname:    needs.Hostname,
		Details:     needs.Details,
		Latency:     needs.Latency,
		Lifetime:    needs.Lifetime,
		AllCloses:   o.Look.AllCloses,
		AllOpens:    o.Look.AllOpens,
		Programs:    needs.Programs,
		File:        needs.File || o.Look.FullPath,
		Cgroups:     names || o.Select.IgnoreHost,
		Filter:      o.Select.filter(),
		Rate:        tracer.Rate(o.Look.Rate),
		ByContainer: byContainer,
	}
	if len(o.Command) > 0 {
		r.tracer.Filter.FollowChildren, r.tracer.Filter.Command = true, true
	}
	r.attribution = attribution.Config{
		IgnoreHost: o.Select.IgnoreHost,
		ByOwner:    byContainer,
		Choose:     o.Select.Containers.Match,
		Names:      names && !o.Kernel.Runtimes.None,
		Sockets:    o.Kernel.Runtimes.Sockets,
	}
	return r, nil
}

// conflict returns which options do not go together, whatever they need.
func (o *Options) conflict() error {
	for _, name := range o.given {
		if format := output.Format(o.Look.Format.Word); format.Refuses(name) {
			return usagef("--%s is for tables, not for -o %s", name, format)
		}
	}
	for _, c := range []struct {
		there   bool
		message string
	}{
		{o.Look.CgroupID && len(o.Look.Columns) > 0, "--use-cgv2 and --columns exclude each other: cgroupid is a column"},
		{o.Kernel.Quiet && o.Kernel.Verbose, "--quiet and --verbose exclude each other"},
		{o.Kernel.Runtimes.None && len(o.Kernel.Runtimes.Sockets) > 0, "--no-runtime and --runtime-socket exclude each other"},
		{o.Select.Follow && o.Select.PIDs.Len() == 0, "--follow needs --pid"},
		{len(o.Command) > 0 && o.Select.PIDs.Len() > 0, "--pid and a command exclude each other"},
	} {
		if c.there {
			return usagef("%s", c.message)
		}
	}
	return nil
}
