// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
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
			Format:    option.NewChoice(output.Table, output.Wide, output.JSON),
			Time:      option.NewChoice(output.UTC, output.Local, output.Unix, output.Delta),
			Precision: option.NewChoice(output.Seconds, output.Milliseconds, output.Microseconds, output.Nanoseconds),
		},
		Kernel: Kernel{
			Way:        option.NewChoice(tracer.AutoWay, tracer.Fentry, tracer.Kprobe, tracer.Tracepoint, tracer.PerfTracepoint),
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
	IgnoreHost             bool
	Containers             option.Containers
	Syscalls               option.Syscalls
	PIDs, TIDs, UIDs, GIDs option.Numbers
	Follow                 bool
	Comms                  option.Comms
	Cgroups                option.Cgroups
	Paths                  option.Paths
	Failed                 bool
	Errnos                 option.Errnos
}

// Flags returns the flags that set s.
func (s *Select) Flags() []cli.Flag {
	what := category("What is traced")
	return []cli.Flag{
		what.toggle(&s.IgnoreHost, "ignore-host-ns", "I", "leave out what the host does, show only containers"),
		what.value(&s.Containers, "container", "c", "only these containers: `LIST` of names, id prefixes, hostnames, pods or images, with * and ?; !PATTERN leaves out"),
		what.value(&s.Syscalls, "syscall", "s", "only these: `LIST` of names or groups (open, accept, connect, close), !NAME leaves out"),
		what.value(&s.PIDs, "pid", "p", "only these processes: `LIST` of PIDs, as the host numbers them"),
		what.toggle(&s.Follow, "follow", "", "with --pid: also trace all descendants"),
		what.value(&s.TIDs, "tid", "", "only these threads: `LIST` of TIDs"),
		what.value(&s.UIDs, "uid", "u", "only these users: `LIST` of UIDs"),
		what.value(&s.GIDs, "gid", "g", "only these groups: `LIST` of GIDs"),
		what.value(&s.Comms, "comm", "n", "only threads of these names: `LIST` of names, or beginnings like ngin*"),
		what.value(&s.Cgroups, "cgroup", "", "only these cgroups and what is below: `LIST` of cgroup v2 ids or paths"),
		what.value(&s.Paths, "path", "", "only calls on these paths: `LIST` of beginnings"),
		what.toggle(&s.Failed, "failed", "x", "only calls that failed"),
		what.value(&s.Errnos, "errno", "", "only calls that failed with these errors: `LIST` of names like ENOENT"),
	}
}

// choosesContainers reports whether events are chosen by their containers.
func (s *Select) choosesContainers() bool { return s.Containers.Match != nil }

// filter returns s as the tracer has it, without cgroups: these are not looked up
// yet.
func (s *Select) filter() tracer.Filter {
	return tracer.Filter{
		IgnoreHost:     s.IgnoreHost,
		OnlyChosen:     s.choosesContainers(),
		Failed:         s.Failed,
		PIDs:           s.PIDs,
		TIDs:           s.TIDs,
		UIDs:           s.UIDs,
		GIDs:           s.GIDs,
		Errnos:         s.Errnos,
		Comms:          s.Comms,
		Paths:          s.Paths,
		FollowChildren: s.Follow,
	}
}

// Look says what the events look like.
type Look struct {
	Format    *option.Choice
	CgroupID  bool
	FullPath  bool
	Latency   bool
	Columns   option.List
	Time      *option.Choice
	Precision *option.Choice
	NoHeader  bool
}

// Flags returns the flags that set l.
func (l *Look) Flags() []cli.Flag {
	look := category("What it looks like")
	return []cli.Flag{
		look.value(l.Format, "output", "o", "`FORMAT`: table, wide (more columns) or json (an object a line)"),
		look.toggle(&l.CgroupID, "use-cgv2", "C", "show containers by cgroup v2 id instead of hostname"),
		look.toggle(&l.FullPath, "full-path", "", "in tables, of opens show the absolute path of the file, not the path as given; JSON has both"),
		look.toggle(&l.Latency, "latency", "", "show how long calls took"),
		look.value(&l.Columns, "columns", "", "`LIST` of columns to show; --columns help lists those there are"),
		look.value(l.Time, "time", "", "`STYLE` of times: utc, local, unix or delta (to the event before)"),
		look.value(l.Precision, "timestamp-precision", "", "`UNIT` of the last digit of times: s, ms, us or ns"),
		look.toggle(&l.NoHeader, "no-header", "", "leave out the header"),
	}
}

// Until says when the trace ends.
type Until struct {
	Duration option.Duration
	Count    uint64 // 0 for no limit
}

// Flags returns the flags that set u.
func (u *Until) Flags() []cli.Flag {
	until := category("When it ends")
	return []cli.Flag{
		until.value(&u.Duration, "duration", "d", "stop after `TIME`, like 10s or 5m"),
		&cli.Uint64Flag{Name: "count", Usage: "stop after `N` events were shown", Category: string(until), Destination: &u.Count, DefaultText: "no limit"},
	}
}

// Kernel says how the trace is made.
type Kernel struct {
	Way            *option.Choice
	Buffer         *option.Choice
	BufferSize     option.Size
	Runtimes       Runtimes
	Quiet, Verbose bool
	ReadyFile      string // created once every program is attached
}

// Flags returns the flags that set k.
func (k *Kernel) Flags() []cli.Flag {
	how := category("How it is traced")
	return slices.Concat([]cli.Flag{
		how.value(k.Way, "attach", "", "`WAY` to attach: auto (what misses no call here), fentry or kprobe (to the syscall handlers), tracepoint or perf (to sys_exit)"),
		how.value(k.Buffer, "buffer", "", "`KIND` of buffer from the kernel: auto, ring (5.8 and later) or perf"),
		how.value(&k.BufferSize, "buffer-size", "", "`SIZE` of the buffer like 8M, made a power of two; perf: for each CPU"),
	}, k.Runtimes.flags(how), []cli.Flag{
		how.toggle(&k.Quiet, "quiet", "q", "say nothing on stderr but errors and losses"),
		how.toggle(&k.Verbose, "verbose", "v", "log progress, and what libbpf says, to stderr"),
		&cli.PathFlag{Name: "ready-file", Hidden: true, Usage: "create `PATH` once every program is attached", Destination: &k.ReadyFile},
	})
}

// Runtimes says which container runtimes are asked for names.
type Runtimes struct {
	Sockets option.List // none for those that are found
	None    bool
}

func (r *Runtimes) flags(c category) []cli.Flag {
	return []cli.Flag{
		c.value(&r.Sockets, "runtime-socket", "", "ask these for names, `LIST` of sockets with Docker's API or CRI, instead of those that are found"),
		c.toggle(&r.None, "no-runtime", "", "ask no container runtime for names"),
	}
}

// lines returns l as the output has it.
func (l *Look) lines() output.Options {
	return output.Options{
		Format:    output.Format(l.Format.Word),
		CgroupID:  l.CgroupID,
		Latency:   l.Latency,
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
	if (o.Look.FullPath || o.Look.Latency) && !needs.Details && len(o.Select.Paths) == 0 {
		return r, usagef("--full-path and --latency are for -o wide and -o json, or a column that shows them")
	}
	names := needs.Containers || o.Select.choosesContainers()
	r.tracer = tracer.Config{
		Way:        tracer.Way(o.Kernel.Way.Word),
		Buffer:     tracer.BufferKind(o.Kernel.Buffer.Word),
		BufferSize: o.Kernel.BufferSize.Bytes,
		Syscalls:   o.Select.Syscalls.Names(),
		Hostname:   needs.Hostname,
		Details:    needs.Details,
		Latency:    needs.Latency,
		File:       needs.File,
		Cgroups:    names || o.Select.IgnoreHost,
		Filter:     o.Select.filter(),
	}
	if len(o.Command) > 0 {
		r.tracer.Filter.FollowChildren, r.tracer.Filter.Command = true, true
	}
	r.attribution = attribution.Config{
		IgnoreHost: o.Select.IgnoreHost,
		Choose:     o.Select.Containers.Match,
		Names:      names && !o.Kernel.Runtimes.None,
		Sockets:    o.Kernel.Runtimes.Sockets,
	}
	return r, nil
}

// conflict returns which options do not go together, whatever they need.
func (o *Options) conflict() error {
	if o.Look.Format.Word == string(output.JSON) {
		for _, name := range []string{"columns", "use-cgv2", "time", "timestamp-precision", "no-header"} {
			if slices.Contains(o.given, name) {
				return usagef("--%s is for tables, not for -o json", name)
			}
		}
	}
	for _, c := range []struct {
		there   bool
		message string
	}{
		{slices.Contains(o.given, "count") && o.Until.Count == 0, "--count 0 shows nothing"},
		{o.Look.CgroupID && len(o.Look.Columns) > 0, "--use-cgv2 and --columns exclude each other: cgroupid is a column"},
		{o.Kernel.Quiet && o.Kernel.Verbose, "--quiet and --verbose exclude each other"},
		{o.Select.Follow && len(o.Select.PIDs) == 0, "--follow needs --pid"},
		{len(o.Command) > 0 && len(o.Select.PIDs) > 0, "--pid and a command exclude each other"},
	} {
		if c.there {
			return usagef("%s", c.message)
		}
	}
	return nil
}
