// Command copenclose shows, live and per container, every open, connect, accept
// and close on a Linux host.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/olekukonko/tablewriter"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/internal/attribution"
	"github.com/copenclose/copenclose/internal/command"
	"github.com/copenclose/copenclose/internal/container"
	"github.com/copenclose/copenclose/internal/option"
	"github.com/copenclose/copenclose/internal/output"
	"github.com/copenclose/copenclose/internal/tracer"
)

// Set by the Makefile.
var (
	version = "unknown"
	commit  string
)

// Exit statuses beside 0.
const (
	exitFailed = 1
	exitUsage  = 2
)

// usageError is what the user got wrong on the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func main() {
	status, err := run(os.Args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "copenclose:", err)
	}
	os.Exit(status)
}

// run returns the exit status, and the error to be told.
func run(args []string) (status int, err error) {
	app := newApp()
	app.Action = func(c *cli.Context) (err error) {
		status, err = trace(c)
		return err
	}
	err = app.Run(args)
	switch {
	case errors.As(err, new(usageError)):
		status = exitUsage
	case err != nil && status == 0:
		status = exitFailed
	}
	return status, err
}

func newApp() *cli.App {
	cli.VersionFlag = &cli.BoolFlag{Name: "version", Aliases: []string{"V"}, Usage: "print the version", DisableDefaultText: true}
	cli.VersionPrinter = func(c *cli.Context) { fmt.Fprintln(c.App.Writer, "copenclose", c.App.Version) }
	described := version
	if commit != "" {
		described += " (commit " + commit + ")"
	}
	return &cli.App{
		Name:                   "copenclose",
		Usage:                  "show every open, connect, accept and close, live and per container",
		UsageText:              "copenclose [FLAGS]\ncopenclose [FLAGS] -- COMMAND [ARGS]\ncopenclose containers [-o json]",
		Version:                described,
		HideHelpCommand:        true,
		UseShortOptionHandling: true,
		Flags:                  flags,
		Commands:               []*cli.Command{containersCommand},
		OnUsageError:           func(_ *cli.Context, err error, _ bool) error { return usageError{err} },
		ExitErrHandler:         func(*cli.Context, error) {},
	}
}

// What the flags are read into.
var (
	way        = option.NewChoice(tracer.AutoWay, tracer.Fentry, tracer.Kprobe, tracer.Tracepoint, tracer.PerfTracepoint)
	buffer     = option.NewChoice(tracer.AutoBuffer, tracer.Ring, tracer.Perf)
	bufferSize = option.Size{Bytes: 8 << 20, Min: 64 << 10, Max: 1 << 30}
	stopAfter  option.Duration
	format     = option.NewChoice(output.Table, output.Wide, output.JSON)
	timeStyle  = option.NewChoice(output.UTC, output.Local, output.Unix, output.Delta)
	precision  = option.NewChoice(output.Seconds, output.Milliseconds, output.Microseconds, output.Nanoseconds)
	columns    option.List
	syscalls   option.Syscalls
	pids, tids option.Numbers
	uids, gids option.Numbers
	comms      option.Comms
	errnos     option.Errnos
	paths      option.Paths
	cgroups    option.Cgroups
	chosen     option.Containers
	sockets    option.List
)

const (
	whatCategory   = "What is traced"
	lookCategory   = "What it looks like"
	endCategory    = "When it ends"
	kernelCategory = "How it is traced"
)

func toggle(category, name, alias, usage string) cli.Flag {
	f := &cli.BoolFlag{Name: name, Usage: usage, Category: category, DisableDefaultText: true}
	if alias != "" {
		f.Aliases = []string{alias}
	}
	return f
}

func value(category, name, alias string, v cli.Generic, usage string) cli.Flag {
	f := &cli.GenericFlag{Name: name, Value: v, Usage: usage, Category: category}
	if alias != "" {
		f.Aliases = []string{alias}
	}
	return f
}

var flags = []cli.Flag{
	toggle(whatCategory, "ignore-host-ns", "I", "leave out what the host does, show only containers"),
	value(whatCategory, "container", "c", &chosen, "only these containers: `LIST` of names, id prefixes, hostnames, pods or images, with * and ?; !PATTERN leaves out"),
	value(whatCategory, "syscall", "s", &syscalls, "only these: `LIST` of names or groups (open, accept, connect, close), !NAME leaves out"),
	value(whatCategory, "pid", "p", &pids, "only these processes: `LIST` of PIDs, as the host numbers them"),
	toggle(whatCategory, "follow", "", "with --pid: their children, too, and theirs"),
	value(whatCategory, "tid", "", &tids, "only these threads: `LIST` of TIDs"),
	value(whatCategory, "uid", "u", &uids, "only these users: `LIST` of UIDs"),
	value(whatCategory, "gid", "g", &gids, "only these groups: `LIST` of GIDs"),
	value(whatCategory, "comm", "n", &comms, "only threads of these names: `LIST` of names, or beginnings like ngin*"),
	value(whatCategory, "cgroup", "", &cgroups, "only these cgroups and what is below: `LIST` of cgroup v2 ids or paths"),
	value(whatCategory, "path", "", &paths, "only calls on these paths: `LIST` of beginnings"),
	toggle(whatCategory, "failed", "x", "only calls that failed"),
	value(whatCategory, "errno", "", &errnos, "only calls that failed so: `LIST` of names like ENOENT"),

	value(lookCategory, "output", "o", format, "`FORMAT`: table, wide (more columns) or json (an object a line)"),
	toggle(lookCategory, "use-cgv2", "C", "show containers by cgroup v2 id instead of hostname"),
	toggle(lookCategory, "full-path", "", "in tables, of opens show the absolute path of the file, not the path as given; JSON has both"),
	toggle(lookCategory, "latency", "", "show how long calls took"),
	value(lookCategory, "columns", "", &columns, "`LIST` of columns instead; help lists them"),
	value(lookCategory, "time", "", timeStyle, "`STYLE` of times: utc, local, unix or delta (to the event before)"),
	value(lookCategory, "timestamp-precision", "", precision, "`UNIT` of the last digit of times: s, ms, us or ns"),
	toggle(lookCategory, "no-header", "", "leave out the header"),

	value(endCategory, "duration", "d", &stopAfter, "stop after `TIME`, like 10s or 5m"),
	&cli.Uint64Flag{Name: "count", Usage: "stop after `N` events were shown", Category: endCategory, DefaultText: "no limit"},

	value(kernelCategory, "attach", "", way, "`WAY` to attach: auto (what misses no call here), fentry or kprobe (to the syscall handlers), tracepoint or perf (to sys_exit)"),
	value(kernelCategory, "buffer", "", buffer, "`KIND` of buffer from the kernel: auto, ring (5.8 and later) or perf"),
	value(kernelCategory, "buffer-size", "", &bufferSize, "`SIZE` of the buffer like 8M, made a power of two; perf: for each CPU"),
	value(kernelCategory, "runtime-socket", "", &sockets, "ask these for names, `LIST` of sockets with Docker's API or CRI, instead of those that are found"),
	toggle(kernelCategory, "no-runtime", "", "ask no container runtime for names"),
	toggle(kernelCategory, "quiet", "q", "say nothing on stderr but errors and losses"),
	toggle(kernelCategory, "verbose", "v", "log what is done, and what libbpf says, to stderr"),
	&cli.PathFlag{Name: "ready-file", Hidden: true, Usage: "create `PATH` once every program is attached"},
}

// outputOptions are what the flags say about the output.
func outputOptions(c *cli.Context) (output.Options, error) {
	o := output.Options{
		Format:    output.Format(format.Word),
		CgroupID:  c.Bool("use-cgv2"),
		Latency:   c.Bool("latency"),
		FullPath:  c.Bool("full-path"),
		Columns:   columns,
		NoHeader:  c.Bool("no-header"),
		Time:      output.TimeStyle(timeStyle.Word),
		Precision: output.Precision(precision.Word),
		Limit:     c.Uint64("count"),
	}
	if c.IsSet("count") && o.Limit == 0 {
		return o, usagef("--count 0 shows nothing")
	}
	if o.Format == output.JSON {
		for _, name := range []string{"columns", "use-cgv2", "time", "timestamp-precision", "no-header"} {
			if c.IsSet(name) {
				return o, usagef("--%s is for tables, not for -o json", name)
			}
		}
	}
	if o.CgroupID && len(o.Columns) > 0 {
		return o, usagef("--use-cgv2 and --columns exclude each other: cgroupid is a column")
	}
	return o, nil
}

// tracerConfig is what the flags and the output ask of the tracer.
func tracerConfig(c *cli.Context, needs output.Needs) (tracer.Config, error) {
	cfg := tracer.Config{
		Way:        tracer.Way(way.Word),
		Buffer:     tracer.BufferKind(buffer.Word),
		BufferSize: bufferSize.Bytes,
		Syscalls:   syscalls.Names(),
		Hostname:   needs.Hostname,
		Details:    needs.Details,
		Latency:    needs.Latency,
		File:       needs.File,
		Cgroups:    attributes(c, needs),
		Filter: tracer.Filter{
			IgnoreHost:     c.Bool("ignore-host-ns"),
			OnlyChosen:     chosen.Match != nil,
			Failed:         c.Bool("failed"),
			PIDs:           pids,
			TIDs:           tids,
			UIDs:           uids,
			GIDs:           gids,
			Errnos:         errnos,
			Comms:          comms,
			Paths:          paths,
			Cgroups:        cgroups,
			FollowChildren: c.Bool("follow") || c.Args().Present(),
			Command:        c.Args().Present(),
		},
	}
	if c.Bool("quiet") && c.Bool("verbose") {
		return cfg, usagef("--quiet and --verbose exclude each other")
	}
	if c.Bool("follow") && len(pids) == 0 {
		return cfg, usagef("--follow needs --pid")
	}
	if c.Args().Present() && len(pids) > 0 {
		return cfg, usagef("--pid and a command exclude each other")
	}
	if (c.Bool("full-path") || c.Bool("latency")) && !needs.Details && len(paths) == 0 {
		return cfg, usagef("--full-path and --latency are for -o wide and -o json, or a column that shows them")
	}
	if c.Bool("verbose") {
		cfg.Log = log.New(os.Stderr, "", log.Ltime|log.Lmicroseconds)
	}
	return cfg, nil
}

// attributes tells whether events are to be attributed to containers.
func attributes(c *cli.Context, needs output.Needs) bool {
	return needs.Containers || chosen.Match != nil || c.Bool("ignore-host-ns")
}

func trace(c *cli.Context) (status int, err error) {
	if len(columns) == 1 && columns[0] == "help" {
		return 0, printColumns(c.App.Writer)
	}
	options, err := outputOptions(c)
	if err != nil {
		return 0, err
	}
	needs, err := options.Needs()
	if err != nil {
		return 0, usageError{err}
	}
	cfg, err := tracerConfig(c, needs)
	if err != nil {
		return 0, err
	}
	toRun, err := newCommand(c)
	if err != nil {
		return 0, err
	}

	// A second signal finds the default action again, should the first one wait
	// for a reader of stdout that does not read.
	ctx, stop := signal.NotifyContext(c.Context, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	context.AfterFunc(ctx, stop)
	defer stop()
	// A closed pipe comes back as EPIPE from write instead.
	signal.Ignore(unix.SIGPIPE)

	t, err := tracer.New(cfg)
	if err != nil {
		return 0, err
	}
	defer t.Close()
	remark := log.New(os.Stderr, "copenclose: ", 0)
	if c.Bool("quiet") {
		remark.SetOutput(io.Discard)
	}
	w, err := output.NewWriter(os.Stdout, options)
	if errors.Is(err, unix.EPIPE) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("write to stdout: %w", err)
	}
	a := attribution.New(t, w)
	defer a.Close()
	if cfg.Cgroups {
		err := a.Attribute(attribution.Config{
			IgnoreHost: cfg.Filter.IgnoreHost,
			Choose:     chosen.Match,
			Names:      !c.Bool("no-runtime") && (needs.Containers || chosen.Match != nil),
			Sockets:    sockets,
			Note:       func(note string) { remark.Print(note) },
		})
		if err != nil && chosen.Match != nil {
			return 0, fmt.Errorf("choose containers: %w", err)
		}
		if err != nil {
			remark.Printf("containers are told by PID namespace and hostname alone: %v", err)
		}
	}
	if err := t.Start(); err != nil {
		return 0, err
	}
	remark.Printf("tracing %s (%s, %s buffer)", syscallNames(t), t.Way(), t.Buffer())
	if why := t.Misses(); why != "" {
		remark.Printf("calls can be missed with --attach %s, because this kernel can preempt its own code: %s", t.Way(), why)
	}
	if path := c.Path("ready-file"); path != "" {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			return 0, fmt.Errorf("create the ready file: %w", err)
		}
	}
	if stopAfter > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(stopAfter))
		defer cancel()
	}

	status, err = runTraced(ctx, t, a, toRun)
	if errors.Is(err, output.ErrEnough) || errors.Is(err, unix.EPIPE) {
		err = nil
	}
	counts, countErr := t.Counts()
	if counts.Lost+counts.Missed+counts.Unfollowed > 0 {
		remark.SetOutput(os.Stderr)
	}
	counts.Filtered += a.Filtered()
	remark.Print(summary(w, counts, t.Unread()))
	return status, errors.Join(err, countErr)
}

// runTraced traces until ctx is done or, where there is one, the command has
// ended. Its status is returned then.
func runTraced(ctx context.Context, t *tracer.Tracer, sink tracer.Sink, c *command.Command) (status int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan int, 1)
	if c != nil {
		if err := c.Start(func(status int) {
			ended <- status
			cancel()
		}); err != nil {
			return 0, err
		}
	}
	t.WakeOn(int(os.Stdout.Fd()))
	stopWarning := warnOfLosses(t)
	err = t.Run(ctx, sink)
	stopWarning()
	select {
	case status = <-ended:
	default:
	}
	return status, err
}

// newCommand finds the command to run; nil if there is none.
func newCommand(c *cli.Context) (*command.Command, error) {
	words := c.Args().Slice()
	if len(words) == 0 {
		return nil, nil
	}
	if before := len(os.Args) - len(words) - 1; os.Args[before] != "--" {
		return nil, usagef("unexpected argument %q; a command to trace goes behind --", words[0])
	}
	found, err := command.Find(words, os.Stderr)
	if err != nil {
		return nil, usageError{err}
	}
	return found, nil
}

var listFormat = option.NewChoice(output.Table, output.JSON)

var containersCommand = &cli.Command{
	Name:  "containers",
	Usage: "list the containers that run",
	Flags: []cli.Flag{
		value("", "output", "o", listFormat, "`FORMAT`: table or json (an object a line)"),
		value("", "runtime-socket", "", &sockets, "ask these for names, `LIST` of sockets with Docker's API or CRI, instead of those that are found"),
		toggle("", "no-runtime", "", "ask no container runtime for names"),
	},
	HideHelpCommand: true,
	Action:          listContainers,
	OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return usageError{err} },
}

// patience is how long a runtime may take to tell the names of its containers.
const patience = 5 * time.Second

func listContainers(c *cli.Context) error {
	if c.Args().Present() {
		return usagef("unexpected argument %q; see copenclose containers --help", c.Args().First())
	}
	note := func(note string) { fmt.Fprintln(os.Stderr, "copenclose:", note) }
	registry, err := container.New(container.Config{Sockets: sockets, NoNames: c.Bool("no-runtime"), Note: note})
	if err != nil {
		return err
	}
	defer registry.Close()
	if warning := registry.Warning(); warning != nil {
		note(warning.Error())
	}
	ctx, cancel := context.WithTimeout(c.Context, patience)
	defer cancel()
	if err := registry.Settle(ctx); err != nil {
		note(err.Error())
	}
	if listFormat.Word == string(output.JSON) {
		return container.WriteJSON(os.Stdout, registry.List())
	}
	return container.WriteTable(os.Stdout, registry.List())
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

func syscallNames(t *tracer.Tracer) string {
	var names []string
	for _, s := range t.Syscalls() {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}

// summary says what became of every call that was traced.
func summary(w *output.Writer, counts tracer.Counts, unread int) string {
	s := fmt.Sprintf("%d events shown, %d filtered, %d lost", w.Shown(), counts.Filtered, counts.Lost)
	if counts.Missed > 0 {
		s += fmt.Sprintf(", at most %d missed", counts.Missed)
	}
	if counts.Unfollowed > 0 {
		s += fmt.Sprintf(", %d processes not followed", counts.Unfollowed)
	}
	if left := w.Unwritten() + uint64(unread); left > 0 {
		s += fmt.Sprintf(", %d came too late to be shown", left)
	}
	return s
}

// warnOfLosses says once a second on stderr how many events were lost since it
// last did. It has a goroutine of its own because losses happen when the reader
// is held up.
func warnOfLosses(t *tracer.Tracer) (stop func()) {
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
			if counts, err := t.Counts(); err == nil && counts.Lost > before {
				fmt.Fprintf(os.Stderr, "copenclose: lost %d events\n", counts.Lost-before)
				before = counts.Lost
			}
		}
	}()
	return func() {
		close(done)
		<-stopped
	}
}
