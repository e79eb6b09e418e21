// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// The tool under test runs on the first CPU, the generator on the last.
const toolCPU = 0

func generatorCPU() int { return runtime.NumCPU() - 1 }

// generator is a running generator; see generator.c.
type generator struct {
	cmd     *exec.Cmd
	orders  io.WriteCloser
	answers *bufio.Scanner
	start   int64 // ns of CLOCK_MONOTONIC
	workers int
	cgroups string // the folder of the workers' cgroups
}

// load is what kind of generator works.
type load struct {
	name    string
	threads int
	cgroups int // processes, each in a cgroup of its own, instead of threads
	pinned  bool
	// does is the order for what it does again and again, pairs where it is empty.
	does string
	slow int // by how much fewer they are than pairs; 0 for not at all
}

// calls is how many calls it makes of what each of its orders counts.
func (l load) calls() int {
	if l.does == "lives" {
		return 1
	}
	return 2
}

var onePinned = load{name: "1 thread on a CPU of its own", threads: 1, pinned: true}

func (l load) order() string { return cmp.Or(l.does, "pairs") }

// fewer is n, or as many fewer as this load is slow.
func (l load) fewer(n int) int { return max(pieces, n/max(l.slow, 1)) }

// startGenerator returns when all its workers wait for orders.
func startGenerator(s settings, l load) (*generator, error) {
	g := &generator{workers: l.threads}
	args := []string{}
	if l.pinned {
		args = append(args, "-c", strconv.Itoa(generatorCPU()))
	}
	if l.cgroups > 0 {
		tree, err := unifiedTree()
		if err != nil {
			return nil, err
		}
		if g.cgroups, err = os.MkdirTemp(tree, "bench-*"); err != nil {
			return nil, fmt.Errorf("make a cgroup: %w", err)
		}
		g.workers = l.cgroups
		args = append(args, "-g", g.cgroups, "-n", strconv.Itoa(l.cgroups))
	} else {
		args = append(args, "-t", strconv.Itoa(l.threads))
	}
	g.cmd = exec.Command(filepath.Join(s.dir, "generator"), args...)
	g.cmd.Stderr = os.Stderr
	var err error
	if g.orders, err = g.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	answers, err := g.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	g.answers = bufio.NewScanner(answers)
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the generator: %w", err)
	}
	err = g.answer(&g.start)
	if err != nil {
		g.stop()
	}
	return g, err
}

// answer reads a line of numbers.
func (g *generator) answer(numbers ...any) error {
	if !g.answers.Scan() {
		return fmt.Errorf("the generator ended: %w", g.answers.Err())
	}
	if _, err := fmt.Sscan(g.answers.Text(), numbers...); err != nil {
		return fmt.Errorf("the generator said %q: %w", g.answers.Text(), err)
	}
	return nil
}

// order has n calls made, or n pairs of calls, and returns how many were made
// and the ns that each took. Where there is one worker, the time is left out in
// which somebody else had its CPU.
func (g *generator) order(what string, n int) (made int, each float64, err error) {
	made = n / g.workers * g.workers
	if _, err := fmt.Fprintf(g.orders, "%s %d\n", what, n); err != nil {
		return 0, 0, fmt.Errorf("order %s of the generator: %w", what, err)
	}
	var took, waited int64
	if err := g.answer(&took, &waited); err != nil {
		return 0, 0, err
	}
	if g.workers == 1 {
		took -= waited
	}
	return made, float64(took) / float64(made), nil
}

// pieces is into how many orders a loop is divided, so that what disturbs some
// of them does not count.
const pieces = 20

// steadily is order in pieces, and each of their median.
func (g *generator) steadily(what string, n int) (made int, each float64, err error) {
	times := make([]float64, pieces)
	for i := range times {
		m := 0
		if m, times[i], err = g.order(what, max(g.workers, n/pieces)); err != nil {
			return 0, 0, err
		}
		made += m
	}
	return made, median(times), nil
}

// shine has the generator do what a tool can show, until the next order.
func (g *generator) shine() error {
	if _, err := fmt.Fprintln(g.orders, "beacon 0"); err != nil {
		return fmt.Errorf("order a beacon of the generator: %w", err)
	}
	return nil
}

func (g *generator) stop() {
	g.orders.Close()
	_ = g.cmd.Wait()
	if g.cgroups == "" {
		return
	}
	// A cgroup can be removed a moment after its last process has ended.
	for range 100 {
		_ = filepath.WalkDir(g.cgroups, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() && path != g.cgroups {
				_ = os.Remove(path)
				return filepath.SkipDir
			}
			return nil
		})
		if os.Remove(g.cgroups) == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	fmt.Fprintf(os.Stderr, "bench: cannot remove %s\n", g.cgroups)
}

// unifiedTree is where cgroups v2 are mounted.
func unifiedTree() (string, error) {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.controllers")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no cgroup v2 tree below /sys/fs/cgroup")
}
