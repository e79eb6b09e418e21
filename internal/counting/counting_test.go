// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package counting

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/golden"
	"github.com/copenclose/copenclose/internal/stream"
)

// Each call is in one cell, or in the account.
func TestSumsAreExact(t *testing.T) {
	f := newFeed()
	f.container(2, "api")
	f.container(3, "api's helper")
	f.containers[3].ID = f.containers[2].ID // two cgroups of one container
	f.hidden[4] = true
	node := f.executable(7, "/usr/bin/node")
	same := f.executable(8, "/usr/bin/node") // in another image
	f.call(t, 1, node, "openat", 0, 10)
	f.call(t, 2, node, "openat", 0, 20)
	f.call(t, 3, same, "openat", 0, 30)
	f.call(t, 3, same, "openat", 2, 40)
	f.call(t, 4, same, "close", 0, 1000)
	f.call(t, 9, bpf.Executable{}, "connect", 111, 50)
	f.others[syscallNamed(t, "accept")] = bpf.OtherTotal{Succeeded: 5, Failed: 6}
	f.counts = stream.Counts{Filtered: 70, Lost: 8, Missed: 9, Unfollowed: 1}

	b := NewBook(f, f, false)
	s := take(t, b, noon)
	if a := s.Account; a.Counted != 150 || a.Other != 11 || a.Filtered != 1070 || a.Lost != 8 || a.Missed != 9 || a.Unfollowed != 1 || a.All() != 1239 {
		t.Errorf("%+v", a)
	}
	byContainer := make(map[string]*Row)
	for _, row := range s.Rows(ByContainer, all, nil, 0) {
		byContainer[row.Origin.Label()] = &row
	}
	api := byContainer["api's helper"]
	if api == nil {
		api = byContainer["api"]
	}
	if len(byContainer) != 3 || api.Calls() != 90 || api.Failed() != 40 || api.Operations[Open].Calls != 90 ||
		byContainer["-"].Calls() != 10 || byContainer["unknown"].Failures[Connect] != 50 {
		t.Errorf("%+v", byContainer)
	}
	programs := make(map[string]uint64)
	for _, row := range s.Rows(ByProgram, all, nil, 0) {
		programs[row.Program.Path] += row.Calls()
	}
	if fmt.Sprint(programs) != "map[/usr/bin/node:100 [kernel]:50]" {
		t.Error(programs)
	}
	failed := s.Rows(ByError|ByOperation, func(c *Cell) bool { return c.Error != 0 }, nil, 0)
	if len(failed) != 2 {
		t.Errorf("%+v", failed)
	}
}

func TestSince(t *testing.T) {
	f := newFeed()
	f.container(2, "api")
	exe := f.executable(7, "/a")
	f.call(t, 2, exe, "openat", 0, 10)
	b := NewBook(f, f, true)
	before := take(t, b, noon)
	f.call(t, 2, exe, "openat", 0, 30)
	f.call(t, 2, exe, "close", 9, 2)
	f.counts.Filtered = 4
	f.others[0].Failed = 3
	d := take(t, b, noon.Add(2*time.Second)).Since(before)
	if d.Seconds != 2 || d.Account.Counted != 32 || d.Account.Filtered != 4 || d.Account.Other != 3 || d.Account.OtherSum.Failures[Open] != 3 {
		t.Errorf("%+v", d)
	}
	rows := d.Rows(ByContainer, all, nil, 0)
	if len(rows) != 1 || rows[0].Calls() != 32 || rows[0].Failures[Close] != 2 || rows[0].Operations[Open].Latencies[2] != 30 {
		t.Errorf("%+v", rows)
	}
	if again := take(t, b, noon.Add(3*time.Second)).Since(take(t, b, noon.Add(3*time.Second))); len(again.Cells) != 0 {
		t.Errorf("%+v", again)
	}
}

// What was counted in a cgroup that is gone stays counted when the kernel has its room
// back.
func TestGoneCgroups(t *testing.T) {
	f := newFeed()
	f.container(2, "api")
	exe := f.executable(7, "/a")
	f.call(t, 2, exe, "openat", 0, 10)
	f.call(t, 1, exe, "openat", 0, 1)
	b := NewBook(f, f, true)
	before := take(t, b, noon)
	b.Removed(2, noon)
	f.call(t, 2, exe, "openat", 0, 5)
	if s := take(t, b, noon.Add(goneGrace)); s.Account.Counted != 16 || f.forgotten != 0 {
		t.Errorf("%+v, %d forgotten", s.Account, f.forgotten)
	}
	for i := range 3 {
		s := take(t, b, noon.Add(goneGrace+time.Duration(1+i)*time.Second))
		if s.Account.Counted != 16 || f.forgotten != 1 || len(f.totals) != 1 {
			t.Errorf("%+v, %d forgotten", s.Account, f.forgotten)
		}
		if rows := s.Since(before).Rows(ByContainer, all, nil, 0); len(rows) != 1 || rows[0].Calls() != 5 || rows[0].Operations[Open].Latencies[2] != 5 {
			t.Errorf("%+v", rows)
		}
	}
	// The id is given to another one.
	f.container(2, "db")
	f.containers[2].ID = "another"
	f.call(t, 2, exe, "close", 0, 3)
	if rows := take(t, b, noon.Add(time.Minute)).Rows(ByContainer, all, nil, 0); len(rows) != 3 {
		t.Errorf("%+v", rows)
	}
}

// Nobody can make the tool remember without bound.
func TestGoneCgroupsAreBounded(t *testing.T) {
	f := newFeed()
	b := NewBook(f, f, false)
	for i := range uint64(lastMax + 1000) {
		b.keep(Cell{Origin: Host, Program: kernelThreads, UID: uint32(i)}, Count{Calls: 1})
	}
	s := take(t, b, noon)
	if len(s.Cells) > lastMax+10 || s.Account.Counted != lastMax+1000 {
		t.Errorf("%d cells, %+v", len(s.Cells), s.Account)
	}
}

func TestQuantile(t *testing.T) {
	var l Latencies
	if l.Quantile(0.5) != 0 {
		t.Error("of no calls")
	}
	l[0], l[3], l[10] = 500, 490, 10
	for q, want := range map[float64]time.Duration{0.25: 256, 0.5: 512, 0.99: 4096, 1: 512 << 10} {
		if got := l.Quantile(q); got != want {
			t.Errorf("%v: %v, want %v", q, got, want)
		}
	}
	if got := l.Quantile(0.995); got < 256<<10 || got > 512<<10 {
		t.Error(got)
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1418: "1,418", 1234567: "1,234,567"} {
		if got := Grouped(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
	for n, want := range map[float64]string{0: "0", 0.04: "0", 0.5: "0.5", 3: "3", 9.96: "10", 212: "212", 999.6: "1.0k", 18400: "18.4k", 99960: "100k", 999600: "1.0M", 5e8: "500M"} {
		if got := Short(n); got != want {
			t.Errorf("%v: %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0 ns", 999: "999 ns", 35 * time.Microsecond: "35 us", 1500 * time.Microsecond: "1.5 ms", 3 * time.Second: "3.0 s"} {
		if got := ShortTime(d, "us"); got != want {
			t.Errorf("%v: %s", d, got)
		}
	}
}

// places returns what heaviest finds, as PATH WEIGHT.
func places(paths map[string]float64, n int) (found []string) {
	var samples []*sample
	for path, weight := range paths {
		samples = append(samples, &sample{target: path, weight: weight, cell: Cell{Syscall: 0}})
	}
	g := newGroup(samples)
	for _, target := range g.heaviest(n) {
		found = append(found, fmt.Sprintf("%s %.0f", target.Text, target.weight))
	}
	return found
}

func TestHeaviest(t *testing.T) {
	for _, c := range []struct {
		paths map[string]float64
		n     int
		want  string
	}{
		{map[string]float64{"/etc/passwd": 3}, 5, "[/etc/passwd 3]"},
		{map[string]float64{"/l/a/x": 2, "/l/a/y": 2, "/l/b": 2, "/l/c": 2, "/l/d": 2}, 1, "[/l/** 10]"},
		{map[string]float64{"/l/a/x": 4, "/l/a/y": 4, "/l/b": 1, "/m": 1}, 1, "[/l/a/** 8 ** 2]"},
		{map[string]float64{"a/b": 5, "/a/b": 5}, 2, "[/a/b 5 a/b 5]"},
		{map[string]float64{"/d/": 6, "/d/x": 1}, 1, "[/d/** 7]"},
		{map[string]float64{"": 1}, 1, "[** 1]"},
		{map[string]float64{"/a": 1, "/b": 1, "/c": 1}, 1, "[/** 3]"},
	} {
		if got := fmt.Sprint(places(c.paths, c.n)); got != c.want {
			t.Errorf("%v: %s, want %s", c.paths, got, c.want)
		}
	}
}

// Whatever the paths are, each sample is in one target.
func FuzzHeaviest(f *testing.F) {
	f.Add("/a/b\x00/a/c\x00x", 2)
	f.Add("//\x00/\x00\x00/a//b/", 1)
	f.Fuzz(func(t *testing.T, text string, n int) {
		var samples []*sample
		for _, path := range strings.Split(text, "\x00") {
			samples = append(samples, &sample{target: path, weight: float64(1 + len(path)), cell: Cell{Syscall: 0}})
		}
		g := newGroup(samples)
		n = 1 + (n&0xff)%20
		targets, weight, number := g.heaviest(n), 0., 0
		for _, target := range targets {
			weight += target.weight
			number += len(target.sampled)
		}
		if math.Abs(weight-g.weight) > 1e-6 || number != len(samples) || len(targets) > 2*n+1 {
			t.Errorf("%d targets of %v, %d samples of %d", len(targets), weight, number, len(samples))
		}
	})
}

// The estimates are as good as they say: a share lies within its deviation 95 times of
// 100. Samples are taken at two rates, as when a burst comes.
func TestDeviation(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const trials = 1000
	within := 0
	for range trials {
		var samples []*sample
		hits := 0
		for i := range 40000 {
			rate := 1
			if i >= 400 {
				rate = 64
			}
			target := "/other"
			if random.IntN(10) < 3 {
				target = "/app/x"
				hits++
			}
			if random.IntN(rate) == 0 {
				samples = append(samples, &sample{target: target, weight: float64(rate)})
			}
		}
		g := newGroup(samples)
		for _, target := range g.heaviest(4) {
			if target.Text == "/app/x" && math.Abs(target.Share-float64(hits)/40000) <= target.Deviation {
				within++
			}
		}
	}
	if part := float64(within) / trials; part < 0.93 || part > 0.975 {
		t.Errorf("%.3f of the estimates are within the deviation, want 0.95", part)
	}
}

// When there are too many samples, those that are left stand for all.
func TestThin(t *testing.T) {
	f := newFeed()
	s := NewSamples(NewBook(f, f, false), 0)
	const n = 5 * samplesMax / 2
	for i := range n {
		sampled(t, s, nil, bpf.Executable{Inode: 1}, "openat", 3, 1, "/f/"+[]string{"a", "b", "b"}[i%3], bpf.Address{})
	}
	g := s.group(all)
	top, _ := g.top()
	if len(s.list) > samplesMax || g.weight != n || top.Text != "/f/b" || math.Abs(top.Share-2./3) > top.Deviation+0.01 || top.Deviation == 0 {
		t.Errorf("%d samples stand for %v of %d calls; %s %v", len(s.list), g.weight, n, top.Text, top.Share)
	}
}

func TestWindow(t *testing.T) {
	f := newFeed()
	s := NewSamples(NewBook(f, f, false), 10*time.Second)
	now := noon
	s.now = func() time.Time { return now }
	for i := range 30 {
		sampled(t, s, nil, bpf.Executable{}, "openat", 3, 1, fmt.Sprint("/f/", i), bpf.Address{})
		now = now.Add(time.Second)
	}
	if g := s.group(all); len(g.samples) != 10 || g.samples[0].target != "/f/20" {
		t.Errorf("%d samples", len(g.samples))
	}
}

// busy is a feed with three containers and a hostile one, and its samples.
func busy(t *testing.T) (*Snapshot, *Samples) {
	f := newFeed()
	b := NewBook(f, f, true)
	s := NewSamples(b, 0)
	node, python := f.executable(7, "/usr/bin/node"), f.executable(8, "/usr/bin/python3")
	hostile := f.executable(9, "/tmp/\x1b[2J\xff evil\n")
	f.container(2, "shop/api")
	f.container(3, "shop/worker")
	f.container(4, "a\x1b]0;owned\a\nb")
	begin := take(t, b, noon)
	f.call(t, 2, node, "openat", 0, 18400)
	f.call(t, 2, node, "openat", 2, 61)
	f.call(t, 2, node, "connect", 0, 212)
	f.call(t, 2, node, "accept4", 0, 98)
	f.call(t, 2, node, "close", 0, 18700)
	f.call(t, 3, python, "openat", 0, 4900)
	f.call(t, 3, python, "openat", 2, 4200)
	f.call(t, 3, python, "close", 0, 4900)
	f.call(t, 4, hostile, "openat", 13, 7)
	f.call(t, 1, bpf.Executable{}, "openat", 0, 5)
	f.others[syscallNamed(t, "openat")].Failed = 3
	f.counts = stream.Counts{Filtered: 20, Lost: 1}
	for i := range 100 {
		path := fmt.Sprintf("/app/node_modules/m%d/index.js", i)
		if i < 29 {
			path = fmt.Sprintf("/srv/%d/x", i)
		}
		sampled(t, s, f.containers[2], node, "openat", 3, 64, path, bpf.Address{})
	}
	sampled(t, s, f.containers[2], node, "connect", 0, 64, "", bpf.Address{IP: netip.MustParseAddr("10.1.2.3"), Port: 5432})
	for i := range 46 {
		sampled(t, s, f.containers[3], python, "openat", -2, 32, fmt.Sprintf("/usr/lib/locale/%d", i), bpf.Address{})
	}
	for i := range 54 {
		sampled(t, s, f.containers[3], python, "openat", []int32{3, -13}[i%2], 32, fmt.Sprintf("/%d", i), bpf.Address{})
	}
	for range 7 {
		sampled(t, s, f.containers[4], hostile, "openat", -13, 1, "/root/\x1b[31m\xff/secret", bpf.Address{})
	}
	return take(t, b, noon.Add(10*time.Second)).Since(begin), s
}

func report(t *testing.T, by string, top int) *Report {
	t.Helper()
	s, samples := busy(t)
	r := &Report{Top: top, Latency: true}
	for name := range strings.SplitSeq(by, ",") {
		d, err := ParseDimension(name)
		if err != nil {
			t.Fatal(err)
		}
		r.By = append(r.By, d)
	}
	r.Make(s, samples)
	return r
}

func TestTables(t *testing.T) {
	for _, by := range []string{"container,exe", "syscall,errno", "path", "container,peer", "user"} {
		var b bytes.Buffer
		if err := report(t, by, 3).WriteTable(&b); err != nil {
			t.Fatal(err)
		}
		golden.Check(t, "table-"+strings.ReplaceAll(by, ",", "-"), b.Bytes())
	}
}

func TestJSON(t *testing.T) {
	for _, by := range []string{"container,exe,syscall,errno,user", "path"} {
		var b bytes.Buffer
		if err := report(t, by, 4).WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		if strings.Count(b.String(), "\n") != 1 || !json.Valid(b.Bytes()) {
			t.Errorf("%s: not one object a line:\n%s", by, b.String())
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, b.Bytes(), "", " "); err != nil {
			t.Fatal(err)
		}
		golden.Check(t, "json-"+strings.ReplaceAll(by, ",", "-"), pretty.Bytes())
	}
}

func TestStory(t *testing.T) {
	s, samples := busy(t)
	var b bytes.Buffer
	if err := s.WriteStory(&b, samples); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "story", b.Bytes())
	empty := &Snapshot{Seconds: 1}
	b.Reset()
	if err := empty.WriteStory(&b, NewSamples(NewBook(newFeed(), newFeed(), false), 0)); err != nil || !strings.HasPrefix(b.String(), "no calls\n") {
		t.Errorf("%q, %v", b.String(), err)
	}
}

// Nothing that a program or a runtime chose reaches the terminal as it is.
func TestHostileNames(t *testing.T) {
	s, samples := busy(t)
	var b bytes.Buffer
	if err := s.WriteStory(&b, samples); err != nil {
		t.Fatal(err)
	}
	for _, by := range []string{"container,exe", "path", "exe,path"} {
		if err := report(t, by, 0).WriteTable(&b); err != nil {
			t.Fatal(err)
		}
	}
	text := b.String()
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Fatalf("%q is in\n%s", r, text)
		}
	}
	if !strings.Contains(text, `a\x1b]0;owned\x07\nb`) || !strings.Contains(text, `/tmp/\x1b[2J\xff evil\n`) {
		t.Error(text)
	}
}
