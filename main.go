// Command copenclose shows, live and per container, every open, connect, accept
// and close on a Linux host.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/bits"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
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
	err := newApp().Run(os.Args)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "copenclose:", err)
	if errors.As(err, new(usageError)) {
		os.Exit(exitUsage)
	}
	os.Exit(exitFailed)
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
		UsageText:              "copenclose [FLAGS]",
		Version:                described,
		HideHelpCommand:        true,
		UseShortOptionHandling: true,
		Flags:                  flags,
		Action:                 trace,
		OnUsageError:           func(_ *cli.Context, err error, _ bool) error { return usageError{err} },
		ExitErrHandler:         func(*cli.Context, error) {},
	}
}

// duration is a flag's time, like 10s or 1m30s; a bare number is seconds.
type duration time.Duration

func (d *duration) Set(s string) error {
	if strings.Trim(s, "0123456789") == "" {
		s += "s"
	}
	parsed, err := time.ParseDuration(s)
	if err != nil || parsed <= 0 {
		return errors.New("not a time like 10s or 5m")
	}
	*d = duration(parsed)
	return nil
}

func (d *duration) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

// size is a flag's number of bytes, like 8M, made a power of two.
type size int

const (
	smallestBuffer = 64 << 10
	largestBuffer  = 1 << 30
)

func (n *size) Set(s string) error {
	bytes, err := units.RAMInBytes(s)
	if err != nil || bytes <= 0 {
		return errors.New("not a size like 8M")
	}
	if bytes > largestBuffer {
		return fmt.Errorf("larger than %s", units.BytesSize(largestBuffer))
	}
	*n = size(max(smallestBuffer, 1<<bits.Len64(uint64(bytes-1))))
	return nil
}

func (n *size) String() string {
	return units.CustomSize("%.4g%s", float64(*n), 1024, []string{"", "K", "M", "G"})
}

// choice is a flag that takes one of a few words; the first is the default.
type choice struct {
	words []string
	word  string
}

func newChoice[W ~string](words ...W) *choice {
	c := &choice{}
	for _, w := range words {
		c.words = append(c.words, string(w))
	}
	c.word = c.words[0]
	return c
}

func (c *choice) Set(s string) error {
	for _, w := range c.words {
		if s == w {
			c.word = w
			return nil
		}
	}
	return fmt.Errorf("not one of %s", strings.Join(c.words, ", "))
}

func (c *choice) String() string { return c.word }

var (
	way        = newChoice(tracer.AutoWay, tracer.Fentry, tracer.Tracepoint)
	buffer     = newChoice(tracer.AutoBuffer, tracer.Ring, tracer.Perf)
	bufferSize = size(8 << 20)
	stopAfter  duration
)

var flags = []cli.Flag{
	&cli.BoolFlag{Name: "ignore-host-ns", Aliases: []string{"I"}, Usage: "leave out what the host does, show only containers", DisableDefaultText: true},
	&cli.BoolFlag{Name: "use-cgv2", Aliases: []string{"C"}, Usage: "show containers by cgroup v2 id instead of hostname", DisableDefaultText: true},
	&cli.GenericFlag{Name: "attach", Value: way, Usage: "`WAY` to attach: auto, fentry (on the syscall handlers) or tracepoint (on sys_exit)"},
	&cli.GenericFlag{Name: "buffer", Value: buffer, Usage: "`KIND` of buffer from the kernel: auto, ring (5.8 and later) or perf"},
	&cli.GenericFlag{Name: "buffer-size", Value: &bufferSize, Usage: "`SIZE` of the buffer like 8M, made a power of two; perf: for each CPU"},
	&cli.GenericFlag{Name: "duration", Aliases: []string{"d"}, Value: &stopAfter, Usage: "stop after `TIME`, like 10s or 5m"},
	&cli.Uint64Flag{Name: "count", Usage: "stop after `N` events were shown", DefaultText: "no limit"},
	&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "say nothing on stderr but errors and losses", DisableDefaultText: true},
	&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "log what is done, and what libbpf says, to stderr", DisableDefaultText: true},
	&cli.PathFlag{Name: "ready-file", Hidden: true, Usage: "create `PATH` once every program is attached"},
}

func trace(c *cli.Context) error {
	if c.Args().Present() {
		return usagef("unexpected argument %q; see copenclose --help", c.Args().First())
	}
	if c.IsSet("count") && c.Uint64("count") == 0 {
		return usagef("--count: 0 events are none to show")
	}
	if c.Bool("quiet") && c.Bool("verbose") {
		return usagef("--quiet and --verbose exclude each other")
	}
	columns := output.Hostnames
	if c.Bool("use-cgv2") {
		columns = output.CgroupIDs
	}
	cfg := tracer.Config{
		Way:        tracer.Way(way.word),
		Buffer:     tracer.BufferKind(buffer.word),
		BufferSize: int(bufferSize),
		IgnoreHost: c.Bool("ignore-host-ns"),
		Hostname:   !c.Bool("use-cgv2"),
	}
	if c.Bool("verbose") {
		cfg.Log = log.New(os.Stderr, "", log.Ltime|log.Lmicroseconds)
	}
	remark := log.New(os.Stderr, "copenclose: ", 0)
	if c.Bool("quiet") {
		remark.SetOutput(io.Discard)
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
		return err
	}
	defer t.Close()
	remark.Printf("tracing %s (%s, %s buffer)", syscallNames(), t.Way(), t.Buffer())
	if path := c.Path("ready-file"); path != "" {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			return fmt.Errorf("create the ready file: %w", err)
		}
	}

	if stopAfter > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(stopAfter))
		defer cancel()
	}
	w, err := output.NewWriter(os.Stdout, columns, c.Uint64("count"))
	if err == nil {
		t.WakeOn(int(os.Stdout.Fd()))
		stopWarning := warnOfLosses(t)
		err = t.Run(ctx, w)
		stopWarning()
	}
	if errors.Is(err, output.ErrEnough) || errors.Is(err, unix.EPIPE) {
		err = nil
	}
	counts, countErr := t.Counts()
	if counts.Lost > 0 {
		remark.SetOutput(os.Stderr)
	}
	remark.Print(summary(w, counts, t.Unread()))
	return errors.Join(err, countErr)
}

func syscallNames() string {
	var names []string
	for _, s := range bpf.Syscalls {
		if s.Exists() {
			names = append(names, s.Name)
		}
	}
	return strings.Join(names, ", ")
}

// summary says what became of every call that was traced.
func summary(w *output.Writer, counts tracer.Counts, unread int) string {
	s := fmt.Sprintf("%d events shown, %d filtered, %d lost", w.Shown(), counts.Filtered, counts.Lost)
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
