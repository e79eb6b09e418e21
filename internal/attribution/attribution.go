// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package attribution finds out which container each event belongs to, and whether
// it is one of those to be shown. It is the one stage between a stream.Source, which
// gives it records, and a stream.Sink, which takes events.
//
// The kernel decides as far as it knows the cgroup (bpf.Verdict, kept up to date
// from here); what it does not know passes and is decided here.
package attribution

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/container"
	"github.com/copenclose/copenclose/internal/stream"
)

// Config says what is to be known and shown.
type Config struct {
	IgnoreHost bool
	ByOwner    bool                         // the kernel counts by container
	Choose     func(*stream.Container) bool // nil to show all; asked of nil for the host
	Names      bool                         // ask the runtimes for names
	Sockets    []string                     // of the runtimes, none for those that are found
	Note       func(string)                 // is given what the user should know, a line each
}

// Verdicts is what the kernel knows of cgroups. A source without a kernel has none
// and does nothing.
type Verdicts interface {
	// SetVerdict may be called by any goroutine, but for one cgroup only by one at
	// a time, as ForgetVerdict.
	SetVerdict(cgroup uint64, v bpf.Verdict)
	ForgetVerdict(cgroup uint64)
	// VerdictsComplete: every cgroup that exists has its verdict.
	VerdictsComplete()
}

// Registry knows the container of each cgroup; see container.Registry.
type Registry interface {
	Lookup(cgroup uint64) (c *stream.Container, known bool)
	Made(cgroup uint64, path string)
	Removed(cgroup uint64)
	WaitForNames(context.Context) error
	Warning() error
	Close()
}

// Programs knows what each process runs; see program.Table.
type Programs interface {
	// Note takes what happens to a process.
	Note(*bpf.Record)
	// Of returns what the process ran that a record of a call is about, which has Details,
	// nil where that is not known.
	Of(*bpf.Record) *stream.Program
}

// Open makes a Registry; it is OpenRegistry but for tests.
type Open func(container.Config) (Registry, error)

// OpenRegistry makes the Registry of this machine's containers.
func OpenRegistry(cfg container.Config) (Registry, error) {
	registry, err := container.New(cfg)
	if err != nil {
		return nil, err // not a Registry with no registry in it
	}
	return registry, nil
}

// Attributor turns records into events. It is a stream.Records.
type Attributor struct {
	Programs Programs // to be set before the first record; nil where nothing asks for them

	sink       stream.Sink
	event      stream.Event // the one that the sink is given
	registry   Registry     // nil where nothing asks for containers
	ignoreHost bool
	byOwner    bool
	choose     bool // events are chosen by their containers,
	hostChosen bool // and the host is chosen, too
	filtered   atomic.Uint64
}

// Pass returns an Attributor that finds no containers and shows all events.
func Pass(sink stream.Sink) *Attributor { return &Attributor{sink: sink} }

// namesTimeout bounds how long the start waits for the names to choose by.
const namesTimeout = 2 * time.Second

// New returns an Attributor that finds containers, and sets the kernel's verdicts.
// When it returns, every cgroup that exists has its verdict and, where containers
// are chosen, the runtimes have answered or had namesTimeout. The kernel must be
// recording already which cgroups are made.
func New(sink stream.Sink, v Verdicts, open Open, cfg Config) (*Attributor, error) {
	a := &Attributor{sink: sink, ignoreHost: cfg.IgnoreHost, byOwner: cfg.ByOwner, choose: cfg.Choose != nil}
	a.hostChosen = a.choose && cfg.Choose(nil)
	found := container.Config{Sockets: cfg.Sockets, NoNames: !cfg.Names, Follow: true, Note: cfg.Note, Choose: cfg.Choose}
	if a.ignoreHost || a.choose || a.byOwner {
		// Only the registry sets and forgets verdicts, in the order of what happens
		// to a cgroup.
		found.Changed = func(cgroup uint64, c *stream.Container) {
			verdict := a.verdict(c)
			if c != nil && c.CgroupID == cgroup {
				verdict |= bpf.OwnCgroup
			}
			if verdict != bpf.UnknownCgroup {
				v.SetVerdict(cgroup, verdict)
			}
		}
		found.Removed = v.ForgetVerdict
	}
	registry, err := open(found)
	if err != nil {
		return nil, err
	}
	a.registry = registry
	if cfg.Names && a.choose {
		// What a container does before its name is known is not shown. A runtime
		// that does not answer is noted by the registry.
		ctx, cancel := context.WithTimeout(context.Background(), namesTimeout)
		defer cancel()
		_ = registry.WaitForNames(ctx)
	}
	if warning := registry.Warning(); warning != nil {
		cfg.Note(warning.Error())
		return a, nil
	}
	v.VerdictsComplete()
	return a, nil
}

// verdict is what the kernel is to know of a cgroup of c, nil for the host. It is not
// known as long as the name that decides may still come, or if nothing is left out.
func (a *Attributor) verdict(c *stream.Container) bpf.Verdict {
	switch {
	case !a.ignoreHost && !a.choose:
		return bpf.UnknownCgroup
	case c == nil:
		return bpf.Host
	case c.Chosen:
		return bpf.Chosen
	case a.choose && c.Name == "":
		return bpf.UnknownCgroup
	}
	return bpf.Container
}

// Close ends finding containers, and then nothing sets verdicts any more.
func (a *Attributor) Close() {
	if a.registry != nil {
		a.registry.Close()
	}
}

// Filtered is how many events were left out here. It may be called at any time and
// from any goroutine.
func (a *Attributor) Filtered() uint64 { return a.filtered.Load() }

// Record gives the event of a call to the sink, if it is to be shown, and notes what
// happens to cgroups and processes.
func (a *Attributor) Record(r *bpf.Record) error {
	switch r.Kind {
	case bpf.Call:
	case bpf.CgroupCreated, bpf.CgroupRemoved:
		a.cgroup(r)
		return nil
	default:
		if a.Programs != nil {
			a.Programs.Note(r)
		}
		return nil
	}
	a.event.Record = r
	if a.registry == nil {
		return a.give(r)
	}
	c, known := a.registry.Lookup(r.CgroupID)
	if !a.shows(r.Flags, c, known) {
		a.filtered.Add(1)
		return nil
	}
	a.event.Container, a.event.Peer = shown(c, known), nil
	if r.Socket != nil && r.Socket.PeerCgroup != 0 {
		a.event.Peer = shown(a.registry.Lookup(r.Socket.PeerCgroup))
	}
	return a.give(r)
}

// give gives the event of a call to the sink.
func (a *Attributor) give(r *bpf.Record) error {
	if a.Programs != nil {
		a.event.Program = a.Programs.Of(r)
	}
	return a.sink.Event(&a.event)
}

// Find returns the container of a cgroup, nil for the host, and whether calls from
// there with these flags are to be shown. It must not be called while Record is.
func (a *Attributor) Find(cgroup uint64, flags bpf.Flags) (c *stream.Container, show bool) {
	if a.registry == nil {
		return stream.Unknown, true
	}
	c, known := a.registry.Lookup(cgroup)
	return shown(c, known), a.shows(flags, c, known)
}

// shows reports whether calls of c, nil for the host, are to be shown.
func (a *Attributor) shows(flags bpf.Flags, c *stream.Container, known bool) bool {
	if a.ignoreHost && flags&bpf.InInitialPIDNS != 0 && known && c == nil {
		return false
	}
	if c == nil {
		return !a.choose || a.hostChosen
	}
	return !a.choose || c.Chosen
}

// shown is what the event says of what Lookup found.
func shown(c *stream.Container, known bool) *stream.Container {
	if !known {
		return stream.Unknown
	}
	return c
}

// Container returns whose a cgroup is: nil for the host, stream.Unknown where that is not
// known.
func (a *Attributor) Container(cgroup uint64) *stream.Container {
	if a.registry == nil {
		return stream.Unknown
	}
	return shown(a.registry.Lookup(cgroup))
}

// Flush: see stream.Records.
func (a *Attributor) Flush() error { return a.sink.Flush() }

// cgroup notes that a cgroup was made or removed.
func (a *Attributor) cgroup(r *bpf.Record) {
	if a.registry == nil {
		return
	}
	if r.Kind == bpf.CgroupRemoved {
		a.registry.Removed(r.CgroupID)
		return
	}
	path := string(r.Name())
	if len(path) >= bpf.TextMax-1 {
		path = "" // cut, so that the registry looks for it
	}
	a.registry.Made(r.CgroupID, path)
}
