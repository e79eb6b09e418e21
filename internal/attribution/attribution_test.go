// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package attribution

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/container"
	"github.com/copenclose/copenclose/internal/stream"
)

// cgroups is a Registry whose containers a test sets by hand.
type cgroups struct {
	cfg     container.Config
	known   map[uint64]*stream.Container // nil for the host
	did     []string
	warning error
	closed  bool
}

func (c *cgroups) open(cfg container.Config) (Registry, error) {
	c.cfg = cfg
	for id, found := range c.known {
		c.changed(id, found)
	}
	return c, nil
}

// changed finds out what c knows about a cgroup, as the real one does.
func (c *cgroups) changed(id uint64, found *stream.Container) {
	if found != nil {
		found.Chosen = c.cfg.Choose != nil && c.cfg.Choose(found)
	}
	c.known[id] = found
	if c.cfg.Changed != nil {
		c.cfg.Changed(id, found)
	}
}

func (c *cgroups) Lookup(id uint64) (*stream.Container, bool) {
	found, ok := c.known[id]
	return found, ok
}

func (c *cgroups) Made(id uint64, path string) {
	c.did = append(c.did, fmt.Sprint("made ", id, " ", path))
}
func (c *cgroups) Removed(id uint64) { c.did = append(c.did, fmt.Sprint("removed ", id)) }
func (c *cgroups) WaitForNames(context.Context) error {
	c.did = append(c.did, "settled")
	return nil
}
func (c *cgroups) Warning() error { return c.warning }
func (c *cgroups) Close()         { c.closed = true }

// table is the kernel's verdicts.
type table struct {
	verdicts map[uint64]bpf.Verdict
	complete bool
}

func (v *table) SetVerdict(id uint64, verdict bpf.Verdict) { v.verdicts[id] = verdict }
func (v *table) ForgetVerdict(id uint64)                   { delete(v.verdicts, id) }
func (v *table) VerdictsComplete()                         { v.complete = true }

// shownEvents is a Sink that keeps what it is given as "label" or "label<-peer".
type shownEvents struct {
	events  []string
	flushed int
	err     error
}

func (s *shownEvents) Needs() stream.Needs { return stream.Needs{} }
func (s *shownEvents) Flush() error        { s.flushed++; return s.err }
func (s *shownEvents) Close() error        { return nil }

func (s *shownEvents) Event(e *stream.Event) error {
	text := label(e.Container)
	if e.Socket != nil && e.Socket.PeerCgroup != 0 {
		text += "<-" + label(e.Peer)
	}
	s.events = append(s.events, text)
	return s.err
}

func label(c *stream.Container) string {
	if c == nil {
		return "host"
	}
	return c.Label
}

// The cgroups of the tests, and one that nobody knows.
const (
	host = 1 + iota
	web
	db
	nameless
	stranger
)

func containers() map[uint64]*stream.Container {
	return map[uint64]*stream.Container{
		host:     nil,
		web:      {Label: "web", Name: "web"},
		db:       {Label: "db", Name: "db", CgroupID: db}, // the others are cgroups inside of containers
		nameless: {Label: "6643ca763e3e"},
	}
}

func record(t *testing.T, d bpf.Draft) *bpf.Record {
	t.Helper()
	var r bpf.Record
	if err := r.View(d.Append(nil)); err != nil {
		t.Fatal(err)
	}
	return &r
}

// call is a record of a call from a cgroup; the host's calls come from the initial
// PID namespace.
func call(t *testing.T, cgroup uint64) *bpf.Record {
	t.Helper()
	e := bpf.Event{CgroupID: cgroup}
	if cgroup == host || cgroup == stranger {
		e.Flags = bpf.InInitialPIDNS
	}
	return record(t, bpf.Draft{Event: e})
}

// cgroupRecord is the draft of a record about the cgroup 7.
func cgroupRecord(kind bpf.Kind, path string) bpf.Draft {
	return bpf.Draft{Event: bpf.Event{Kind: kind, CgroupID: 7}, Details: &bpf.Details{}, Name: []byte(path)}
}

func choose(names ...string) func(*stream.Container) bool {
	return func(c *stream.Container) bool {
		if c == nil {
			return false
		}
		for _, name := range names {
			if c.Name == name {
				return true
			}
		}
		return false
	}
}

func TestEvents(t *testing.T) {
	for name, c := range map[string]struct {
		cfg      Config
		want     string
		verdicts map[uint64]bpf.Verdict
	}{
		"all": {
			want: "host web db 6643ca763e3e unknown",
		},
		"no host": {
			cfg:      Config{IgnoreHost: true},
			want:     "web db 6643ca763e3e unknown",
			verdicts: map[uint64]bpf.Verdict{host: bpf.Host, web: bpf.Container, db: bpf.Container | bpf.OwnCgroup, nameless: bpf.Container},
		},
		"chosen": {
			cfg:      Config{Choose: choose("web"), Names: true},
			want:     "web",
			verdicts: map[uint64]bpf.Verdict{host: bpf.Host, web: bpf.Chosen, db: bpf.Container | bpf.OwnCgroup},
		},
		"chosen, no host": {
			cfg:      Config{Choose: choose("db"), IgnoreHost: true},
			want:     "db",
			verdicts: map[uint64]bpf.Verdict{host: bpf.Host, web: bpf.Container, db: bpf.Chosen | bpf.OwnCgroup},
		},
		"counted by container": {
			cfg:      Config{ByOwner: true},
			want:     "host web db 6643ca763e3e unknown",
			verdicts: map[uint64]bpf.Verdict{db: bpf.OwnCgroup},
		},
		"the host is chosen, too": {
			cfg:      Config{Choose: func(c *stream.Container) bool { return c == nil }},
			want:     "host unknown",
			verdicts: map[uint64]bpf.Verdict{host: bpf.Host, web: bpf.Container, db: bpf.Container | bpf.OwnCgroup},
		},
	} {
		t.Run(name, func(t *testing.T) {
			sink, registry := &shownEvents{}, &cgroups{known: containers()}
			kernel := &table{verdicts: make(map[uint64]bpf.Verdict)}
			a, err := New(sink, kernel, registry.open, c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			for cgroup := range uint64(stranger) {
				if err := a.Record(call(t, cgroup+1)); err != nil {
					t.Fatal(err)
				}
			}
			got := strings.Join(sink.events, " ")
			if got != c.want || int(a.Filtered())+len(sink.events) != stranger {
				t.Errorf("shown are %s, want %s; %d filtered", got, c.want, a.Filtered())
			}
			if len(kernel.verdicts)+len(c.verdicts) > 0 && !reflect.DeepEqual(kernel.verdicts, c.verdicts) {
				t.Errorf("the kernel has %v, want %v", kernel.verdicts, c.verdicts)
			}
			waited := reflect.DeepEqual(registry.did, []string{"settled"})
			if waited != (c.cfg.Names && c.cfg.Choose != nil) || !kernel.complete || registry.cfg.NoNames == c.cfg.Names {
				t.Errorf("did %v, complete %t, %+v", registry.did, kernel.complete, registry.cfg)
			}
			if a.Close(); !registry.closed {
				t.Error("the registry is not closed")
			}
		})
	}
}

// A name that is learnt later decides then, for the kernel and here.
func TestNameThatComesLater(t *testing.T) {
	sink, registry := &shownEvents{}, &cgroups{known: containers()}
	kernel := &table{verdicts: make(map[uint64]bpf.Verdict)}
	a, err := New(sink, kernel, registry.open, Config{Choose: choose("late")})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "late", "other"} {
		registry.changed(nameless, &stream.Container{Label: name, Name: name})
		if err := a.Record(call(t, nameless)); err != nil {
			t.Fatal(err)
		}
		want := map[string]bpf.Verdict{"": bpf.UnknownCgroup, "late": bpf.Chosen, "other": bpf.Container}[name]
		if got := kernel.verdicts[nameless]; got != want {
			t.Errorf("called %q, the kernel has %v, want %v", name, got, want)
		}
	}
	if got := strings.Join(sink.events, " "); got != "late" || a.Filtered() != 2 {
		t.Errorf("shown are %q, %d filtered", got, a.Filtered())
	}
	registry.cfg.Removed(nameless)
	if _, ok := kernel.verdicts[nameless]; ok {
		t.Error("the verdict of a removed cgroup is not forgotten")
	}
}

func TestPeer(t *testing.T) {
	sink, registry := &shownEvents{}, &cgroups{known: containers()}
	a, err := New(sink, &table{}, registry.open, Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, peer := range []uint64{0, web, host, stranger} {
		r := record(t, bpf.Draft{
			Event:   bpf.Event{CgroupID: db},
			Details: &bpf.Details{Target: bpf.TargetSocket},
			Socket:  &bpf.Socket{Family: 1, PeerPID: 9, PeerCgroup: peer},
		})
		if err := a.Record(r); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(sink.events, " "); got != "db db<-web db<-host db<-unknown" {
		t.Errorf("shown are %s", got)
	}
}

// What happens to cgroups is noted and is no event.
func TestCgroups(t *testing.T) {
	long := strings.Repeat("x", bpf.TextMax-1)
	sink, registry := &shownEvents{}, &cgroups{known: containers()}
	a, err := New(sink, &table{}, registry.open, Config{})
	if err != nil {
		t.Fatal(err)
	}
	pass := Pass(sink)
	for _, path := range []string{"/docker/1", long} {
		for _, stage := range []*Attributor{a, pass} {
			if err := stage.Record(record(t, cgroupRecord(bpf.CgroupCreated, path))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := a.Record(record(t, cgroupRecord(bpf.CgroupRemoved, ""))); err != nil {
		t.Fatal(err)
	}
	if want := []string{"made 7 /docker/1", "made 7 ", "removed 7"}; !reflect.DeepEqual(registry.did, want) || len(sink.events) > 0 {
		t.Errorf("did %q, want %q; shown are %v", registry.did, want, sink.events)
	}
}

// Without containers everything is shown as the host's.
func TestPass(t *testing.T) {
	sink := &shownEvents{}
	a := Pass(sink)
	for _, cgroup := range []uint64{host, web} {
		if err := a.Record(call(t, cgroup)); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Flush(); err != nil || sink.flushed != 1 || len(sink.events) != 2 || a.Filtered() != 0 {
		t.Errorf("%v, %+v", err, sink)
	}
	sink.err = stream.ErrEnough
	if err := a.Record(call(t, web)); err != stream.ErrEnough {
		t.Errorf("the sink's error became %v", err)
	}
	a.Close()
}

// Where not all cgroups are seen, the kernel must not take an unknown one for new.
func TestPartialView(t *testing.T) {
	var notes []string
	registry, kernel := &cgroups{known: containers(), warning: errors.New("a part only")}, &table{verdicts: make(map[uint64]bpf.Verdict)}
	_, err := New(&shownEvents{}, kernel, registry.open, Config{Note: func(n string) { notes = append(notes, n) }})
	if err != nil || kernel.complete || !reflect.DeepEqual(notes, []string{"a part only"}) {
		t.Errorf("%v, complete %t, %q", err, kernel.complete, notes)
	}
}

func TestNoCgroups(t *testing.T) {
	broken := errors.New("no cgroups")
	open := func(container.Config) (Registry, error) { return nil, broken }
	if a, err := New(&shownEvents{}, &table{}, open, Config{}); a != nil || !errors.Is(err, broken) {
		t.Errorf("%v, %v", a, err)
	}
}

func TestRecordAllocatesNothing(t *testing.T) {
	sink := &countedEvents{}
	a, err := New(sink, &table{}, (&cgroups{known: containers()}).open, Config{})
	if err != nil {
		t.Fatal(err)
	}
	r := call(t, web)
	if n := testing.AllocsPerRun(100, func() { _ = a.Record(r) }); n != 0 || sink.n == 0 {
		t.Errorf("%v allocations an event, %d events", n, sink.n)
	}
}

type countedEvents struct {
	shownEvents
	n int
}

func (c *countedEvents) Event(*stream.Event) error { c.n++; return nil }

// ran is Programs that have what a test says, and keep what they are given.
type ran struct {
	program *stream.Program
	noted   []bpf.Kind
}

func (p *ran) Note(r *bpf.Record) { p.noted = append(p.noted, r.Kind) }
func (p *ran) Of(r *bpf.Record) *stream.Program {
	return map[uint32]*stream.Program{7: p.program}[r.PID]
}

// programsOf is a Sink that keeps what each event has.
type programsOf struct {
	shownEvents
	programs []*stream.Program
}

func (s *programsOf) Event(e *stream.Event) error {
	s.programs = append(s.programs, e.Program)
	return nil
}

// What happens to processes goes to who knows their programs, and each event has its own.
func TestPrograms(t *testing.T) {
	sink, programs := &programsOf{}, &ran{program: &stream.Program{Exe: "/a"}}
	a := Pass(sink)
	all := []bpf.Draft{
		{Event: bpf.Event{Kind: bpf.Forked}, Details: &bpf.Details{}},
		{Event: bpf.Event{PID: 7}},
		{Event: bpf.Event{Kind: bpf.Executed}, Details: &bpf.Details{}},
		{Event: bpf.Event{PID: 8}},
		{Event: bpf.Event{Kind: bpf.Ended}, Details: &bpf.Details{}},
	}
	for _, asked := range []bool{false, true} {
		if asked {
			a.Programs = programs
		}
		for _, d := range all {
			if err := a.Record(record(t, d)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if want := []bpf.Kind{bpf.Forked, bpf.Executed, bpf.Ended}; !reflect.DeepEqual(programs.noted, want) {
		t.Errorf("noted %v, want %v", programs.noted, want)
	}
	if want := []*stream.Program{nil, nil, programs.program, nil}; !reflect.DeepEqual(sink.programs, want) {
		t.Errorf("shown %v, want %v", sink.programs, want)
	}
}
