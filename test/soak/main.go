// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Command soak runs copenclose for a long time while one thing after the other goes
// wrong around it, and checks after each that every call is accounted for: it has a
// row, or is counted as lost. It prints a line for each fault, and ends with status 1
// at the first call that is neither.
//
//	soak [-for 1h] [-tool PATH] [-trigger PATH]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/olekukonko/tablewriter"
	"golang.org/x/sys/unix"
)

func main() {
	var s soak
	duration := flag.Duration("for", time.Hour, "how long")
	flag.StringVar(&s.tool, "tool", "bin/copenclose", "the copenclose to run")
	flag.StringVar(&s.trigger, "trigger", "build/test/trigger", "the program that makes calls")
	flag.StringVar(&s.only, "only", "", "the name of one fault, for all of them")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	if err := s.run(ctx, *duration); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		stop()
		os.Exit(1)
	}
}

// soak is one run.
type soak struct {
	tool, trigger string
	only          string
	dir           string // for files, removed at the end
	runtime       *lyingRuntime
	subject       *subject // the tool that is under test
	totals        []total  // in the order of faults
	most          int      // KiB that the tool had resident at most
	kernel        []int    // KiB of the kernel's memory, after each round of starts and stops
}

// total is what one fault came to, over all its rounds.
type total struct {
	rounds, made, shown, lost int
}

func (s *soak) run(ctx context.Context, duration time.Duration) (err error) {
	if os.Getuid() != 0 {
		return errors.New("it traces this kernel: run it as root")
	}
	if s.dir, err = os.MkdirTemp("", "copenclose-soak-*"); err != nil {
		return err
	}
	defer os.RemoveAll(s.dir)
	if err := os.Chmod(s.dir, 0o755); err != nil {
		return err
	}
	if s.runtime, err = startLyingRuntime(s.dir + "/runtime.sock"); err != nil {
		return err
	}
	defer s.runtime.stop()
	defer removeCgroups()
	before, err := inKernel()
	if err != nil {
		return err
	}
	if err := s.start(); err != nil {
		return err
	}
	defer func() { s.subject.kill() }()

	began := time.Now()
	s.totals = make([]total, len(faults))
	for round := 0; time.Since(began) < duration && ctx.Err() == nil; round++ {
		for i, f := range faults {
			if s.only != "" && f.name != s.only {
				continue
			}
			if err := s.provoke(i, f); err != nil {
				return fmt.Errorf("round %d, %s: %w\ncopenclose said:\n%s", round, f.name, err, s.subject.said())
			}
			if time.Since(began) >= duration || ctx.Err() != nil {
				break
			}
		}
		fmt.Fprintf(os.Stderr, "%s: round %d, %d KiB resident\n", time.Since(began).Round(time.Second), round, s.subject.resident())
	}
	if err := s.subject.end(); err != nil {
		return err
	}
	if err := nothingStays(before); err != nil {
		return err
	}
	return s.report(time.Since(began))
}

// provoke has one fault happen, and then checks the account.
func (s *soak) provoke(i int, f fault) error {
	shown, lost := s.subject.account()
	of := s.subject
	made, err := f.happen(s)
	if err != nil {
		return err
	}
	if s.subject != of {
		shown, lost = 0, 0 // another one was started
	}
	t := &s.totals[i]
	if made > 0 {
		s.subject.made += made
		if err := s.subject.settle(); err != nil {
			return err
		}
		nowShown, nowLost := s.subject.account()
		t.shown += nowShown - shown
		t.lost += nowLost - lost
		if !f.loses && nowLost > lost {
			return fmt.Errorf("%d calls were lost", nowLost-lost)
		}
	}
	t.rounds++
	t.made += made
	s.most = max(s.most, s.subject.resident())
	return nil
}

// start starts the tool that is under test.
func (s *soak) start() (err error) {
	s.subject, err = startSubject(s.tool, "--runtime-socket", s.runtime.path)
	return err
}

func (s *soak) report(took time.Duration) error {
	table := tablewriter.NewWriter(os.Stdout)
	table.Header("fault", "rounds", "calls made", "shown", "lost", "neither")
	for i, f := range faults {
		t := s.totals[i]
		if err := table.Append(f.name, t.rounds, t.made, t.shown, t.lost, t.made-t.shown-t.lost); err != nil {
			return err
		}
	}
	if err := table.Render(); err != nil {
		return err
	}
	all := total{}
	for _, t := range s.totals {
		all.made += t.made
		all.rounds += t.rounds
	}
	fmt.Printf("%s, %d faults, %d calls, each shown or counted; at most %d KiB resident\n", took.Round(time.Second), all.rounds, all.made, s.most)
	if n := len(s.kernel); n > 0 {
		fmt.Printf("%d starts and stops; the kernel's own memory was %d KiB after the first %d, and is %d KiB\n", n*starts, s.kernel[0], starts, s.kernel[n-1])
	}
	if i := slices.IndexFunc(s.totals, func(t total) bool { return t.rounds > 0 }); i < 0 {
		return errors.New("nothing was tried")
	}
	return nil
}
