// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/pprof/profile"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/docs"
	"github.com/copenclose/copenclose/internal/selection"
	"github.com/copenclose/copenclose/internal/stack"
)

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		counts []int
		want   Verdict
	}{
		{nil, TooEarly},
		{[]int{1, 9, 20}, TooEarly},
		{[]int{1, 2, 3, 4}, Grows},
		{[]int{1, 2, 3, 3}, Steady}, // by too little
		{[]int{10, 20, 30, 40, 50, 60}, Grows},
		{[]int{10, 20, 18, 30, 40, 50}, Grows},
		{[]int{0, 4, 8, 8, 8, 8, 8}, Pool},
		{[]int{0, 90, 10, 80, 5, 90}, Steady}, // goes up and down
		{[]int{100, 100, 100, 100}, Steady},
		{[]int{100, 90, 80, 70}, Steady},
		{[]int{0, 0, 0, 0, 0, 50}, Steady}, // once
		{[]int{0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6, 7}, Grows}, // slowly
	} {
		if got, why := Judge(c.counts); got != c.want || why == "" {
			t.Errorf("%v: %s (%s), want %s", c.counts, got, why, c.want)
		}
	}
}

func TestOrigin(t *testing.T) {
	const began = 1000
	of := func(name string) int { return 1 + slices.Index(bpf.Creators, name) }
	own := bpf.Descriptor{Table: 7, FD: 3, Started: 500, OpenerTable: 7, OpenerFD: 3, OpenerPID: 1}
	for _, c := range []struct {
		name     string
		edit     func(*bpf.Descriptor)
		wasThere bool
		want     Origin
	}{
		{"opened", func(d *bpf.Descriptor) { d.FileTime, d.FileCreator = 2000, uint32(of("openat")) }, false, Origin{"openat", 2000, Exactly}},
		{"dup", func(d *bpf.Descriptor) {
			d.FileTime, d.FileCreator, d.Time, d.Creator = 2000, uint32(of("openat")), 3000, uint8(of("dup"))
		}, false, Origin{"dup", 3000, Exactly}},
		{"forked", func(d *bpf.Descriptor) {
			d.FileTime, d.FileCreator, d.OpenerTable, d.Started = 2000, uint32(of("openat")), 6, 2500
		}, false, Origin{Inherited, 2500, Exactly}},
		{"an address used again", func(d *bpf.Descriptor) { d.FileTime, d.FileCreator, d.Started = 2000, uint32(of("openat")), 2500 }, false, Origin{Inherited, 2500, Exactly}},
		{"received unseen", func(d *bpf.Descriptor) { d.FileTime, d.FileCreator, d.OpenerFD = 2000, uint32(of("openat")), 9 }, false, Origin{Inherited, 2000, AtMost}},
		{"before", func(*bpf.Descriptor) {}, true, Origin{Before, began, AtLeast}},
		{"before, in a ledger that is kept", func(d *bpf.Descriptor) { d.Time, d.Creator = 1500, uint8(1+bpf.Before) }, false, Origin{Before, 1500, AtLeast}},
		{"unknown", func(*bpf.Descriptor) {}, false, Origin{Unknown, began, AtMost}},
		{"unknown, of a new process", func(d *bpf.Descriptor) { d.Started = 4000 }, false, Origin{Unknown, 4000, AtMost}},
		{"a creator that there is not", func(d *bpf.Descriptor) { d.FileTime, d.FileCreator = 2000, 9999 }, false, Origin{Unknown, 2000, Exactly}},
	} {
		d := own
		c.edit(&d)
		got := (&Descriptor{DescriptorRow: bpf.DescriptorRow{Descriptor: &d}}).Origin(began, c.wasThere)
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

var socketCreator = uint32(slices.Index(bpf.Creators, "socket"))

// leaky is a host with a server that has n connections to one place, one file, and a
// shell beside it.
func leaky(t *testing.T, now time.Duration, n int) *Snapshot {
	h := &host{}
	server := bpf.Descriptor{Table: 1, PID: 100, TID: 100, PPID: 1, CgroupID: 7, Limit: 64, Started: 1000}
	for i := range uint32(n) {
		server.FD, server.File, server.Object, server.State = 10+i, uint64(1000+i), uint64(1000+i), 8
		if i > 0 {
			server.FileTime, server.OpenerTable, server.OpenerFD, server.FileCreator = uint64(i)*uint64(time.Second), 1, 10+i, 1+socketCreator
		}
		h.add(bpf.DescriptorDraft{Descriptor: server, Comm: "node", Of: tcp(fmt.Sprintf("10.0.0.2:%d", 4000+i), "10.0.0.7:5432")})
	}
	h.add(bpf.DescriptorDraft{Descriptor: bpf.Descriptor{Table: 1, PID: 100, TID: 100, CgroupID: 7, Limit: 64, Started: 1000, FD: 1, File: 1, Object: 1}, Comm: "node", Of: file("/log")})
	h.add(bpf.DescriptorDraft{Descriptor: bpf.Descriptor{Table: 2, PID: 200, TID: 200, PPID: 100, CgroupID: 1, Limit: 64, Started: 2000, File: 2, Object: 2}, Comm: "sh", Of: file("/log2")})
	s := h.snapshot(t)
	s.Time = uint64(now)
	s.Attribute(containers)
	return s
}

func TestWatch(t *testing.T) {
	w := NewWatch(&Filter{}, false)
	for i := range 7 {
		made := map[bpf.Maker]bpf.Made{{PID: 100, Creator: socketCreator}: {Made: uint64(100 * i)}}
		w.Add(leaky(t, time.Duration(i)*10*time.Second, 1+4*i), made)
	}
	var b bytes.Buffer
	if err := WriteSuspects(&b, w.Suspects(), false); err != nil {
		t.Fatal(err)
	}
	checkText(t, b.String(), `
VERDICT  CONTAINER  PID  COMM  OPEN  +/MIN  OPENED/MIN  OLDEST  FDS  LIMIT  FULL IN  BY      BECAUSE                      WHAT
grows    shop/api   100  node    25  +24.0       600.0   >60 s   26     64     95 s  socket  +24, up in 6 of 6 intervals  tcp 10.0.0.7:5432, CLOSE_WAIT
2 other kinds of descriptors are steady
`)
	s := w.Suspects()[0]
	if s.Appeared != 24 || s.Gone != 0 || s.By["socket"] != 24 {
		t.Errorf("appeared %d, gone %d, by %v", s.Appeared, s.Gone, s.By)
	}
	w.Add(leaky(t, 70*time.Second, 3), nil)
	if s := w.Suspects(); s[0].Verdict == Grows {
		t.Errorf("grows after all were closed: %+v", s[0])
	}
	b.Reset()
	if err := WriteSuspectsJSON(&b, time.Unix(0, 0), w.Suspects()[:1], true); err != nil {
		t.Fatal(err)
	}
	checkText(t, b.String(), `{"time":"1970-01-01T00:00:00Z","pid":100,"ppid":1,"uid":0,"comm":"node","cgroup_id":7,"container":{"id":"abc","name":"api","runtime":"docker"},"verdict":"steady","reason":"+2 in 6 intervals","kind":"tcp","target":"10.0.0.7:5432","state":"CLOSE_WAIT","open":3,"counts":[1,5,9,13,17,21,25,3],"growth_per_minute":1.7142857142857142,"opened_per_minute":0,"appeared":24,"gone":22,"by":{"socket":24},"oldest_ns":70000000000,"oldest_is":"at least","fds":4,"limit":64,"full_in_seconds":2100}
`)
}

// A long watch keeps the first and the last snapshot, and its verdict.
func TestWatchThins(t *testing.T) {
	w := NewWatch(&Filter{}, false)
	for i := range 3 * timesMax {
		w.Add(leaky(t, time.Duration(i)*time.Second, 1+i/4), nil)
		if len(w.times) > timesMax {
			t.Fatalf("%d snapshots are kept", len(w.times))
		}
	}
	s := w.Suspects()[0]
	if s.Verdict != Grows || s.Counts[0] != 1 || s.Open() != 1+(3*timesMax-1)/4 || math.Abs(s.PerMinute-15) > 0.5 {
		t.Errorf("%+v", s)
	}
}

// What has ended is forgotten, or kept if it is asked for.
func TestWatchEnds(t *testing.T) {
	for _, keep := range []bool{false, true} {
		w := NewWatch(&Filter{}, keep)
		for i := range 5 {
			w.Add(leaky(t, time.Duration(i)*time.Second, 5*i+1), nil)
		}
		w.Add((&host{}).snapshot(t), nil)
		if got := len(w.Suspects()); keep != (got > 0) {
			t.Errorf("keep %t: %d series", keep, got)
		}
		if keep && w.Suspects()[0].Verdict != Grows {
			t.Errorf("what grew until it ended: %+v", w.Suspects()[0])
		}
	}
}

// What a process made and was refused until its end counts, and what its closed ones
// lived.
func TestWatchCounts(t *testing.T) {
	w := NewWatch(&Filter{}, true)
	socket := bpf.Maker{PID: 100, Creator: socketCreator}
	for i := range 5 {
		made := map[bpf.Maker]bpf.Made{socket: {Made: uint64(10 * i), Closed: uint64(5 * i), Lived: uint64(5 * i * 2000), Longest: 9000}}
		w.Add(leaky(t, time.Duration(i)*time.Second, 5*i+1), made)
	}
	w.Add((&host{}).snapshot(t), map[bpf.Maker]bpf.Made{socket: {Made: 80, Refused: 3, Closed: 40, Lived: 80000, Longest: 9000}})
	s := w.Suspects()[0]
	if s.Verdict != Grows || !s.HasEnded || s.Refused != 3 || s.Opened != 80*15 || s.Closed != 40 || s.Lived != 2000 || s.Longest != 9000 {
		t.Errorf("%+v", s)
	}
}

// A process that is at its limit does not grow any more, and says why.
func TestWatchFull(t *testing.T) {
	w := NewWatch(&Filter{}, false)
	for i := range 5 {
		w.Add(leaky(t, time.Duration(i)*time.Second, 30), map[bpf.Maker]bpf.Made{{PID: 100, Creator: socketCreator}: {Refused: uint64(i)}})
	}
	suspects := w.Suspects()
	if s := suspects[0]; s.Verdict != Full || s.Open() != 30 || s.Reason != "4 calls failed for want of descriptors" {
		t.Errorf("%+v", s)
	}
	if suspects[1].Verdict != Steady {
		t.Errorf("more than one thing is full: %+v", suspects[1])
	}
}

// A snapshot with dates has ages, and of what is surely older a filter lets pass no more.
func TestDate(t *testing.T) {
	first := leaky(t, 0, 1)
	s := leaky(t, 10*time.Second, 4)
	s.Date(NewAges(first))
	var b bytes.Buffer
	if err := WriteDescriptors(&b, s, s.Select(&Filter{PIDs: selection.Of[uint32](100)})); err != nil {
		t.Fatal(err)
	}
	checkText(t, b.String(), `
CONTAINER  PID  COMM  FD  MODE  CLOEXEC  KIND  STATE         AGE  HOW     TARGET
shop/api   100  node  10  r     no       tcp   CLOSE_WAIT  >10 s  before  10.0.0.2:4000->10.0.0.7:5432
shop/api   100  node  11  r     no       tcp   CLOSE_WAIT    9 s  socket  10.0.0.2:4001->10.0.0.7:5432
shop/api   100  node  12  r     no       tcp   CLOSE_WAIT    8 s  socket  10.0.0.2:4002->10.0.0.7:5432
shop/api   100  node  13  r     no       tcp   CLOSE_WAIT    7 s  socket  10.0.0.2:4003->10.0.0.7:5432
shop/api   100  node   1  r     no       file  -           >10 s  before  /log
`)
	b.Reset()
	if err := WriteDescriptorsJSON(&b, s, s.Select(&Filter{PIDs: selection.Of[uint32](100), Kinds: []string{"tcp"}, Older: 9 * time.Second})); err != nil {
		t.Fatal(err)
	}
	if text := b.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, `"how":"before","age_ns":10000000000,"age_is":"at least"}`) ||
		!strings.Contains(text, `"how":"socket","age_ns":9000000000,"age_is":"exact","opened_by":{"pid":0,"fd":11,"call":"socket","age_ns":9000000000}}`) {
		t.Errorf("not two that are older than 9 s: %s", text)
	}
}

// A ledger that is kept has ages, but does not say how a process grew.
func TestDateKept(t *testing.T) {
	s := leaky(t, 10*time.Second, 4)
	s.Date(&Ages{began: uint64(time.Second)})
	var b bytes.Buffer
	if err := WriteProcessesJSON(&b, s, s.Select(&Filter{PIDs: selection.Of[uint32](100), Kinds: []string{"tcp"}}), Limit{}, nil); err != nil {
		t.Fatal(err)
	}
	if text := b.String(); strings.Contains(text, "growth_per_minute") || !strings.Contains(text, `"oldest_ns":9000000000,"oldest_is":"at most"`) {
		t.Error(text)
	}
}

// What a new process has of a file that was open before comes from the older process.
func TestDateInherited(t *testing.T) {
	h := &host{}
	d := bpf.Descriptor{Table: 1, PID: 100, TID: 100, Started: 1, File: 7, Object: 7, FD: 1}
	h.add(bpf.DescriptorDraft{Descriptor: d, Of: file("/log")})
	first := h.snapshot(t)
	first.Time = 1000
	d.Table, d.PID, d.TID, d.Started = 2, 200, 200, 2000
	h.add(bpf.DescriptorDraft{Descriptor: d, Of: file("/log")})
	d.File, d.FD = 8, 2
	h.add(bpf.DescriptorDraft{Descriptor: d, Of: file("/other")})
	s := h.snapshot(t)
	s.Date(NewAges(first))
	var got []Origin
	for d := range s.All() {
		got = append(got, d.origin)
	}
	want := []Origin{{Before, 1000, AtLeast}, {Inherited, 2000, AtMost}, {Unknown, 2000, AtMost}}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestFamily(t *testing.T) {
	s := leaky(t, 0, 1)
	f := NewFamily(100)
	if got := len(s.Select(&Filter{Family: f})); got != 2 {
		t.Errorf("%d processes, want the root and its child", got)
	}
	if got := len(s.Select(&Filter{Family: NewFamily(200)})); got != 1 {
		t.Errorf("%d processes, want one without its parent", got)
	}
}

// With dates there are growth and age of each process.
func TestGrowthOfProcesses(t *testing.T) {
	first, s := leaky(t, 0, 1), leaky(t, 30*time.Second, 20)
	s.Date(NewAges(first))
	var b bytes.Buffer
	f := &Filter{}
	if err := WriteProcesses(&b, s, s.Select(f), f); err != nil {
		t.Fatal(err)
	}
	checkText(t, b.String(), `
CONTAINER  PID  COMM  FDS  LIMIT  USE  +/MIN  FULL IN  OLDEST  HOLDS MOST
shop/api   100  node   21     64  33%  +38.0     68 s   >30 s  20 tcp 10.0.0.7:5432, CLOSE_WAIT
-          200  sh      1     64   2%      -        -   >30 s  1 file /*
`)
}

// callAt is a call that made the nth connection of leaky.
func callAt(n uint32, function string) stack.Call {
	return stack.Call{
		Time: uint64(n) * uint64(time.Second), Table: 1, File: uint64(1000 + n), PID: 100, FD: 10 + n, Creator: socketCreator,
		Stack: &stack.Stack{IsWhole: true, Frames: []stack.Frame{
			{Module: "libc.so.6", Offset: 0x10, Function: "socket", IsLibrary: true}, {Module: "node", Offset: 0x20 + uint64(len(function)), Function: function, BuildID: "ab"},
		}},
	}
}

// A place has what was made there and is still open, and no descriptor that is another one
// at the same address with the same number.
func TestSites(t *testing.T) {
	w := NewWatch(&Filter{}, false)
	for i := range 5 {
		calls := []stack.Call{callAt(uint32(4*i+1), "leak"), callAt(uint32(4*i+2), "leak"), callAt(uint32(4*i+3), "")}
		closed := callAt(uint32(4*i+4), "leak")
		closed.Time -= 7 // what is there is newer
		if i > 0 {
			w.Called(append(calls, closed))
		}
		w.Add(leaky(t, time.Duration(4*i+5)*time.Second, 5+4*i), nil)
		if makers := w.Makers(); i > 0 && !makers[bpf.Maker{PID: 100, Creator: socketCreator}] {
			t.Errorf("the calls to look at are %v", makers)
		}
	}
	var b bytes.Buffer
	if err := WriteSuspects(&b, w.Suspects(), false); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(b.String(), `
    8 of 12 by socket, at leak:
        libc.so.6+0x10  socket
        node+0x24       leak
    4 of 4 by socket, at node+0x20:
        libc.so.6+0x10  socket
        node+0x20       (build id ab)
2 other kinds of descriptors are steady
`) {
		t.Errorf("%s", b.String())
	}
	b.Reset()
	if err := w.WriteFolded(&b); err != nil {
		t.Fatal(err)
	}
	checkText(t, b.String(), "shop/api node (100);leak;socket;socket 8\nshop/api node (100);node+0x20;socket;socket 4\n")
	b.Reset()
	if err := w.WriteProfile(&b, time.Unix(7, 0)); err != nil {
		t.Fatal(err)
	}
	p, err := profile.Parse(&b)
	if err != nil || len(p.Sample) != 2 || p.Sample[0].Value[0] != 8 || p.Sample[0].Value[1] != 12 {
		t.Errorf("%v, %v", p, err)
	}
	b.Reset()
	if err := WriteSuspectsJSON(&b, time.Now(), w.Suspects(), true); err != nil {
		t.Fatal(err)
	}
	validate(t, docs.LeaksSchema, &b)
}

func TestOlder(t *testing.T) {
	order := []Origin{{Inherited, 10, Exactly}, {Before, 100, AtLeast}, {"openat", 99, Exactly}, {"openat", 200, Exactly}}
	for i := range order {
		for j := range order {
			if got := order[i].isBefore(&order[j]); got != (i < j) {
				t.Errorf("%+v is older than %+v: %t", order[i], order[j], got)
			}
		}
	}
}
