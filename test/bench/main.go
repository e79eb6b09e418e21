// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Command bench measures copenclose beside its peers on this machine.
//
//	bench [FLAGS]          every tool beside the same generator, in alternation
//	bench [FLAGS] soak     copenclose alone for a long time at full speed
//	bench [FLAGS] events   requests of io_uring beside calls, and what --program costs
//	bench [FLAGS] counting what counts in the kernel: summary and top
//	bench [FLAGS] fleet    serve, at 100,000 calls a second
//
// It must be root. Each figure is the median over the rounds. What a tool adds
// to a call is the difference to the same loop right before the tool started.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// settings are what the flags say, and where things are.
type settings struct {
	dir        string // of what is built for this, and of the tools' output
	copenclose string
	static     string // the static binary, for its size
	goBench    string // output of go test -bench, for the allocations
	rounds     int
	pairs      int // of each run; slow tools have fewer
	long       int // pairs of the run that must lose nothing
	idle       time.Duration
	soak       time.Duration
	only       *regexp.Regexp
	markdown   bool
}

func main() {
	s := settings{}
	only := ""
	flag.StringVar(&s.dir, "dir", "build/bench", "`folder` of the built generator; output goes there, too")
	flag.StringVar(&s.copenclose, "copenclose", "bin/copenclose", "the binary to measure")
	flag.StringVar(&s.static, "static", "bin/static/copenclose", "the static binary, for its size")
	flag.StringVar(&s.goBench, "go-bench", "build/bench/go.txt", "output of go test -bench")
	flag.IntVar(&s.rounds, "rounds", 5, "how often each tool is measured")
	flag.IntVar(&s.pairs, "pairs", 1_000_000, "pairs of open and close a run; slow tools get fewer")
	flag.IntVar(&s.long, "long", 10_000_000, "pairs of the run that must lose nothing, 0 to leave it out")
	flag.DurationVar(&s.idle, "idle", 20*time.Second, "how long to watch it do nothing, 0 to leave it out")
	flag.DurationVar(&s.soak, "for", 10*time.Minute, "how long to soak")
	flag.StringVar(&only, "only", "", "tools whose name matches this `regexp`, and nothing but the main table")
	flag.BoolVar(&s.markdown, "markdown", false, "print the tables as Markdown")
	flag.Parse()
	if err := run(s, only, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(s settings, only string, args []string) (err error) {
	if runtime.NumCPU() < 2 {
		return errors.New("the generator and the tool need a CPU each, and here is one")
	}
	if s.only, err = regexp.Compile(only); err != nil {
		return err
	}
	if err := mountTracefs(); err != nil {
		return err
	}
	machine, err := describeMachine()
	if err != nil {
		return err
	}
	fmt.Fprint(os.Stderr, machine)
	switch {
	case len(args) == 0 && only != "":
		m := measureAll(s, subjects(s))
		return m.printTools(os.Stdout)
	case len(args) == 0:
		return everything(s, machine)
	case len(args) == 1 && args[0] == "soak":
		return soak(s)
	case len(args) == 1 && args[0] == "events":
		return measureEvents(s).printEvents(os.Stdout, s)
	case len(args) == 1 && args[0] == "counting":
		return counting(s)
	case len(args) == 1 && args[0] == "fleet":
		return fleet(s)
	}
	return fmt.Errorf("unknown arguments %q, see -help", args)
}

// everything prints the machine as it was before it had something to do.
func everything(s settings, machine string) error {
	m := measureAll(s, subjects(s))
	grown, events := measureGrowth(s), measureEvents(s)
	alone, err := measureAlone(s)
	if err != nil {
		return err
	}
	fmt.Print(machine)
	for _, print := range []func() error{
		func() error { return m.printTools(os.Stdout) },
		func() error { return grown.printGrowth(os.Stdout, s) },
		func() error { return events.printEvents(os.Stdout, s) },
		func() error { return printTargets(os.Stdout, s, m, alone) },
	} {
		if err := print(); err != nil {
			return err
		}
	}
	return nil
}

// mountTracefs gives this process and its children tracefs, which the peers
// need, in a mount namespace of their own. The namespace is that of a thread,
// and execve makes it that of the process.
func mountTracefs() error {
	const done = "COPENCLOSE_BENCH_MOUNTED"
	if os.Getenv(done) != "" {
		return nil
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w; be root", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts private: %w", err)
	}
	for _, m := range []struct{ fs, dir string }{
		{"tracefs", "/sys/kernel/tracing"}, {"debugfs", "/sys/kernel/debug"},
	} {
		if err := unix.Mount(m.fs, m.dir, m.fs, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			fmt.Fprintf(os.Stderr, "bench: mount %s: %v; peers may fail\n", m.fs, err)
		}
	}
	return unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), done+"=1"))
}
