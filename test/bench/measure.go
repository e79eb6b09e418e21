// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"
)

// sample is what one run of one subject gave.
type sample struct {
	err       error
	bare      float64 // ns of a pair right before the tool started and after it ended
	added     float64 // ns that were added to each traced call
	untraced  float64 // and to a call that nobody traces
	inside    cost    // ns in BPF programs, by the kernel's own account
	cpu       float64 // ns of the tool's CPU for each event
	seen      int     // events that its output has
	made      int     // and that it should have
	lost      int     // by its own account, -1 if it gives none
	resident  float64 // KiB, right after the loop
	peak      float64
	startup   float64 // ms
	eventRate float64 // events a second, made
}

const (
	// warmUp are pairs that tell the bare time, and others the bare time of a
	// call that is not traced.
	warmUp = 300_000
	others = 1_000_000
	// A burst is 40,000 records, and the default buffer takes 65,536.
	burst  = 20_000
	bursts = 25
)

// cost is what a traced call and another one took.
type cost struct{ traced, untraced float64 }

// measure runs a subject once.
func measure(s settings, sub subject, l load, pairs int) (got sample) {
	got.lost = -1
	g, err := startGenerator(s, l)
	if err != nil {
		got.err = err
		return got
	}
	defer g.stop()
	got.err = g.measure(s, sub, l, pairs, &got)
	return got
}

func (g *generator) measure(s settings, sub subject, l load, pairs int, got *sample) error {
	// How many calls there are at a time: as many as CPUs, if so many threads.
	atOnce := float64(1)
	if !l.pinned {
		atOnce = float64(min(g.workers, runtime.NumCPU()))
	}
	if _, _, err := g.order(l.order(), l.fewer(warmUp/10)); err != nil {
		return err
	}
	before, err := g.alone(l)
	if err != nil {
		return err
	}

	t, err := sub.start(s, g, l.pinned)
	if err != nil {
		return err
	}
	if t.output != nil {
		defer t.removeOutput()
	}
	cpuBefore := t.cpu()
	began := time.Now()
	made, each, err := g.loop(t, sub, l, pairs)
	got.eventRate = float64(l.calls()*made) / time.Since(began).Seconds()
	got.resident, got.peak = t.memory()
	if err != nil {
		t.stop()
		return err
	}
	if l.pinned && l.cgroups == 0 {
		n := 0
		if n, got.inside, err = g.inside(sub, l, max(1000, pairs/pieces)); err != nil {
			t.stop()
			return err
		}
		made += n
	}
	t.settle()
	cpu := t.cpu() - cpuBefore
	_, eachOther, err := g.steadily("getppid", l.fewer(others/sub.slow))
	t.stop()
	if err != nil {
		return err
	}
	after, err := g.alone(l)
	if err != nil {
		return err
	}

	got.bare = (before.traced + after.traced) / 2 * atOnce
	got.added = (each*atOnce - got.bare) / sub.perCall(l)
	got.untraced = (eachOther - (before.untraced+after.untraced)/2) * atOnce
	got.made = made * sub.calls
	got.startup = float64(t.startup) / 1e6
	if t.cmd == nil {
		return nil
	}
	got.lost = t.lost()
	seen, all, err := t.count(sub.needle)
	if err != nil {
		return err
	}
	got.seen = seen
	// Without any to show, the calls that were made are what it worked for.
	if all == 0 || sub.calls == 0 {
		all = l.calls() * made
	}
	got.cpu = float64(cpu) / float64(all)
	return nil
}

// alone is what a pair and a call that nobody traces take without a tool.
func (g *generator) alone(l load) (c cost, err error) {
	if _, c.traced, err = g.steadily(l.order(), l.fewer(warmUp)); err != nil {
		return c, err
	}
	_, c.untraced, err = g.steadily("getppid", l.fewer(others))
	return c, err
}

// inside is what calls spend in programs; made is how many pairs that took.
func (g *generator) inside(sub subject, l load, pairs int) (made int, c cost, err error) {
	pair, err := inPrograms(func() (_ int, err error) {
		made, _, err = g.order(l.order(), pairs)
		return made, err
	})
	if err != nil {
		return made, c, err
	}
	c.traced = pair / sub.perCall(l)
	c.untraced, err = inPrograms(func() (int, error) {
		calls, _, err := g.order("getppid", pairs)
		return calls, err
	})
	return made, c, err
}

// loop has the pairs made.
func (g *generator) loop(t *tool, sub subject, l load, pairs int) (made int, each float64, err error) {
	if !sub.bursts {
		return g.steadily(l.order(), pairs)
	}
	var times []float64
	for range bursts {
		if err := t.pause(); err != nil {
			return 0, 0, fmt.Errorf("stop the tool: %w", err)
		}
		n, each, err := g.order(l.order(), burst)
		if err := t.resume(); err != nil {
			return 0, 0, fmt.Errorf("continue the tool: %w", err)
		}
		if err != nil {
			return 0, 0, err
		}
		made += n
		times = append(times, each)
		t.settle()
	}
	return made, median(times), nil
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// measured are the samples of all subjects, in their order.
type measured struct {
	settings settings
	subjects []subject
	samples  map[string][]sample
	rounds   int
}

// measureAll runs each subject once a round.
func measureAll(s settings, all []subject) *measured {
	m := &measured{settings: s, subjects: all, samples: map[string][]sample{}, rounds: s.rounds}
	for round := range s.rounds {
		for _, sub := range all {
			if n := len(m.samples[sub.name]); n > 0 && m.samples[sub.name][n-1].err != nil {
				continue // it will not run the next time either
			}
			got := measure(s, sub, onePinned, max(1, s.pairs/sub.slow))
			m.samples[sub.name] = append(m.samples[sub.name], got)
			fmt.Fprintf(os.Stderr, "round %d, %s: %s\n", round+1, sub.name, got)
		}
	}
	return m
}

func (s sample) String() string {
	if s.err != nil {
		return "cannot run: " + s.err.Error()
	}
	return fmt.Sprintf("%.0f ns added to a call (pair alone %.0f), %.0f in programs, %.0f and %.0f to others, %.0f ns CPU per event, %d of %d, %.0f ms to start",
		s.added, s.bare, s.inside.traced, s.untraced, s.inside.untraced, s.cpu, s.seen, s.made, s.startup)
}

// middle is the median of one figure of a subject.
func (m *measured) middle(name string, figure func(sample) float64) float64 {
	var values []float64
	for _, s := range m.samples[name] {
		if s.err == nil {
			values = append(values, figure(s))
		}
	}
	return median(values)
}

func added(s sample) float64    { return s.added }
func untraced(s sample) float64 { return s.untraced }
func cpu(s sample) float64      { return s.cpu }
func resident(s sample) float64 { return s.resident }
func peak(s sample) float64     { return s.peak }
func startup(s sample) float64  { return s.startup }
func bare(s sample) float64     { return s.bare }

func inTraced(s sample) float64   { return s.inside.traced }
func inUntraced(s sample) float64 { return s.inside.untraced }

func rate(s sample) float64 { return s.eventRate }

func (m *measured) bare() float64 {
	var values []float64
	for _, samples := range m.samples {
		for _, s := range samples {
			if s.err == nil {
				values = append(values, s.bare)
			}
		}
	}
	return median(values)
}

// failed is why a subject could not run, nil if it did.
func (m *measured) failed(name string) error {
	for _, s := range m.samples[name] {
		if s.err != nil {
			return s.err
		}
	}
	return nil
}

// seen is how much of what was made was shown, in all rounds together.
func (m *measured) seen(name string) (seen, made int) {
	for _, s := range m.samples[name] {
		seen += s.seen
		made += s.made
	}
	return seen, made
}

// byLoad is what is measured beside several loads.
type byLoad struct {
	loads   []load
	results map[string]*measured // by load
}

// measureLoads measures what is beside each load.
func measureLoads(s settings, loads []load, beside func(load) []subject) *byLoad {
	b := &byLoad{loads: loads, results: map[string]*measured{}}
	for _, l := range loads {
		of := beside(l)
		m := &measured{settings: s, subjects: of, samples: map[string][]sample{}, rounds: s.rounds}
		for range s.rounds {
			for _, sub := range of {
				m.samples[sub.name] = append(m.samples[sub.name], measure(s, sub, l, l.fewer(s.pairs/2/sub.slow)))
			}
		}
		b.results[l.name] = m
		for _, sub := range of {
			fmt.Fprintf(os.Stderr, "%s, %s: %.0f ns added to a call, %.0f in programs\n", l.name, sub.name, m.middle(sub.name, added), m.middle(sub.name, inTraced))
		}
	}
	return b
}

// measureGrowth measures how cost grows with what happens at once.
func measureGrowth(s settings) *byLoad {
	return measureLoads(s, []load{
		{name: "1 thread", threads: 1},
		{name: "2 threads", threads: 2},
		{name: "4 threads", threads: 4},
		{name: "1 cgroup", cgroups: 1, pinned: true},
		{name: "1,000 cgroups", cgroups: 1000, pinned: true},
	}, func(l load) []subject {
		if l.cgroups > 0 {
			return []subject{product(oursC, 2, "-C")}
		}
		return []subject{product(ours, 2), peer(opensnoop, 1, 5, ourComm, "opensnoop")}
	})
}

// measureEvents measures rows of calls beside those of requests of io_uring, and both
// without and with what --program finds out. In the lives of processes nothing is traced
// but what they execute.
func measureEvents(s settings) *byLoad {
	return measureLoads(s, []load{
		{name: "a call", threads: 1, pinned: true},
		{name: "a request of io_uring", threads: 1, pinned: true, does: "requests"},
		{name: "a process: fork, exec and end", threads: 1, pinned: true, does: "lives", slow: 200},
	}, func(l load) []subject {
		if l.does == "lives" {
			return []subject{product(notCalled, 0, "-s", "creat"), product(notCalled+" --program", 0, "-s", "creat", "--program")}
		}
		return []subject{product(ours, 2), product(oursJSON, 2, "-o", "json"), product(oursJSON+" --program", 2, "-o", "json", "--program")}
	})
}

// alone is what is measured of copenclose with nothing beside it.
type alone struct {
	long     sample  // the long run
	idle     float64 // share of a core, nothing happening
	size     float64 // bytes of the static binary
	allocs   float64 // most allocations per event of the Go benchmarks
	hasAlloc bool
	ofRow    float64 // ns to find the program of a row, by the same
}

func measureAlone(s settings) (a alone, err error) {
	if s.long > 0 {
		a.long = measure(s, product(ours, 2), onePinned, s.long)
		fmt.Fprintf(os.Stderr, "long run: %s\n", a.long)
	}
	if s.idle > 0 {
		t, err := startReady(s, nil, true, "-I")
		if err != nil {
			return a, err
		}
		t.settle()
		before := t.cpu()
		time.Sleep(s.idle)
		a.idle = float64(t.cpu()-before) / float64(s.idle)
		t.stop()
		t.removeOutput()
	}
	info, err := os.Stat(s.static)
	if err != nil {
		return a, err
	}
	a.size = float64(info.Size())
	a.allocs, a.hasAlloc = allocations(s.goBench)
	a.ofRow = timeOf(s.goBench, "program", "Of")
	return a, nil
}
