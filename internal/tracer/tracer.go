// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package tracer puts the programs of package bpf into the kernel and reads
// what they send. It is the only importer of libbpfgo.
//
// How an event gets from the syscall to the line:
//
//	syscall returns
//	   -> program: filter, reserve a record, fill it        (bpf/copenclose.bpf.c)
//	   -> ring or perf buffer, mapped into this process     (ring.go, perf.go)
//	   -> whose it is                                       (internal/attribution)
//	   -> one row appended to one byte slice                (internal/output)
//	   -> one write when the ring was emptied
//
// All of it on one goroutine, without an allocation or a copy.
package tracer

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stream"
)

const (
	// perfInterval is how long a record can stay unseen in a perf buffer, which
	// rings no doorbell for a single event. A delay below 100 ms feels immediate.
	perfInterval = 90 * time.Millisecond
	// The reader lets records gather before it looks for more, for it costs more
	// to wake up than to read some thousands: first for gatherMin, and twice as
	// long each time, up to gatherMax, as long as little of the buffer fills.
	gatherMin = 2 * time.Millisecond
	gatherMax = 16 * time.Millisecond
)

// A BufferKind is what carries the records.
type BufferKind string

// The buffers there are. AutoBuffer takes Ring where the kernel has it (5.8).
const (
	AutoBuffer BufferKind = "auto"
	Ring       BufferKind = "ring"
	Perf       BufferKind = "perf"
)

// Config says what to trace and how.
type Config struct {
	Attach     AttachMode
	Buffer     BufferKind
	BufferSize int      // bytes, a power of two; for Perf per CPU
	Syscalls   []string // names in bpf.Syscalls
	// OnlyCloses are those of them of which only calls are recorded that close something.
	OnlyCloses []string
	Hostname   bool // fill in Event.Hostname
	Details    bool // send Details with each event
	Latency    bool // and in them how long the call took
	Lifetime   bool // and of what is closed how long it was open, from Births
	Births     int  // the descriptor of the map of births, see descriptor.Kernel
	File       bool // and of opens also the absolute path of the file
	AllCloses  bool // also closes that no call is for, by exit and exec; needs Details
	AllOpens   bool // also the files that execve opens by itself; needs Details
	Programs   bool // record what happens to processes: Forked, Executed and Ended
	Filter     Filter
	Rate       Rate // needs ByContainer
	// ByContainer has what is dropped counted by container, see Dropped; those are
	// known by SetVerdict.
	ByContainer bool
	Cgroups     bool        // tell the Sink of cgroups that are made and removed
	Counting    *Counting   // count calls in the kernel; nil to record them
	Log         *log.Logger // libbpf's words and our own; nil for silence
}

// Rate is how many records there may be of the calls of one container, or one service
// or user of the host.
type Rate struct {
	PerSecond uint32 // 0 for any number
	Burst     uint32 // how many at once, at least 1
}

func (cfg *Config) usesVerdicts() bool {
	return cfg.Filter.IgnoreHost || cfg.Filter.OnlyChosen || cfg.ByContainer
}

// usesSlots reports whether records of calls are put together in slots: where they have
// details, or details decide whether they are sent.
func (cfg *Config) usesSlots() bool { return cfg.Details || cfg.Filter.Paths.Len() > 0 }

// freeSlots is how many slots there must be for an instant: a program can interrupt
// another one on each CPU.
func (cfg *Config) freeSlots(cpus int) int {
	if !cfg.usesSlots() && !cfg.Cgroups && !cfg.Programs && cfg.Counting == nil && !cfg.receives() {
		return 0
	}
	perCPU := 2
	if cfg.AllCloses {
		perCPU += 2
	}
	if cfg.AllOpens {
		perCPU++
	}
	return max(bpf.FreeSlots, perCPU*cpus)
}

// receives reports whether descriptors that come with messages are recorded.
func (cfg *Config) receives() bool {
	return slices.ContainsFunc(bpf.Syscalls[:], func(s bpf.Syscall) bool {
		return s.Makes == bpf.Receives && slices.Contains(cfg.Syscalls, s.Name)
	})
}

// closingSlots is how many there must be for calls under way that close something.
func (cfg *Config) closingSlots() int {
	if !cfg.usesSlots() {
		return 0
	}
	return bpf.ClosingSlots
}

// A Tracer is attached to the kernel. It is a stream.Source.
type Tracer struct {
	mode   AttachMode
	misses string // why it can miss calls, "" if it cannot
	kind   BufferKind
	object *object
	buffer buffer
	poll   *poll
	// capacity is how many records of usualRecord the buffer holds.
	capacity int
	samples  int // a second, of what is counted
	unread   atomic.Uint64
}

// buffer is where the kernel leaves records for us.
type buffer interface {
	// drain hands the records that are there to event, in the order of their
	// times, until event returns an error.
	drain(event func(*bpf.Record) error) (n int, err error)
	// arm asks for a wakeup at the next record, and returns how long one can stay
	// unseen all the same; 0 when one is there already.
	arm() (maxDelay time.Duration)
	disarm()
	close()
}

// New loads and attaches the programs. From then on created and removed cgroups are
// recorded, and what Config.Programs asks for, and calls from Start on. Where Config
// leaves the choice, and the kernel refuses a mode of attaching, the next one is tried.
func New(cfg Config) (*Tracer, error) {
	k, err := checkKernel()
	if err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = discard
	}

	if cfg.Buffer == AutoBuffer {
		cfg.Buffer = bestBuffer()
	}
	cfg.Log.Printf("the kernel can preempt its own code: %t, because %s", k.preemption.possible, k.preemption.because)
	modes, err := chooseModes(cfg.Attach, k, refusesFentry)
	if err != nil {
		return nil, err
	}
	var refused error
	for _, m := range modes {
		cfg.Log.Printf("%s: trying it; on this kernel it can miss calls: %t", m.mode, m.misses(k))
		t, err := attach(cfg, m.mode)
		if err == nil {
			if m.misses(k) {
				t.misses = k.preemption.because
			}
			trim()
			return t, nil
		}
		cfg.Log.Printf("%s: %v", m.mode, err)
		err = fmt.Errorf("%s: %w", m.mode, err)
		if refused != nil {
			err = fmt.Errorf("%w; %w", refused, err)
		}
		refused = err
	}
	return nil, k.explain(refused)
}

// attach takes the phases in libbpf's order: open, configure, load, attach.
func attach(cfg Config, mode AttachMode) (_ *Tracer, err error) {
	t := &Tracer{mode: mode, kind: cfg.Buffer, capacity: cfg.BufferSize / usualRecord}
	if cfg.Counting != nil {
		t.samples = cfg.Counting.Samples
	}
	defer func() {
		if err != nil {
			t.Close()
		}
	}()

	if t.object, err = openObject(cfg.Log); err != nil {
		return nil, err
	}
	if err = t.object.configure(cfg, mode); err != nil {
		return nil, err
	}
	if err = t.object.load(cfg); err != nil {
		return nil, err
	}
	if err = t.object.fill(cfg); err != nil {
		return nil, err
	}
	if t.poll, err = newPoll(); err != nil {
		return nil, err
	}
	if t.buffer, err = openBuffer(cfg, t.object, t.poll); err != nil {
		return nil, err
	}
	if err = t.object.attach(); err != nil {
		return nil, err
	}
	return t, nil
}

// Start opens the gate: what happens from now on is recorded.
func (t *Tracer) Start() error { return t.object.handshake() }

// SetVerdict tells the kernel what a cgroup is, for Filter.IgnoreHost,
// Filter.OnlyChosen and Config.ByContainer; without them nobody asks. Where there is no room, the cgroup
// stays unknown. Any goroutine may call it.
func (t *Tracer) SetVerdict(cgroup uint64, v bpf.Verdict) { t.object.verdicts.set(cgroup, v) }

// ForgetVerdict tells the kernel that a cgroup is not known.
func (t *Tracer) ForgetVerdict(cgroup uint64) { t.object.verdicts.set(cgroup, bpf.UnknownCgroup) }

// VerdictsComplete tells the kernel that it knows every cgroup of the host: one
// without a verdict is new then. Otherwise it counts as the host's.
func (t *Tracer) VerdictsComplete() { atomic.StoreUint32(&t.object.shared.VerdictsComplete, 1) }

func openBuffer(cfg Config, o *object, p *poll) (buffer, error) {
	if cfg.Buffer == Perf {
		return openPerf(o, cfg.BufferSize, p)
	}
	return openRing(o, cfg.BufferSize, p)
}

// AttachMode is how the programs are attached, never AutoAttach.
func (t *Tracer) AttachMode() AttachMode { return t.mode }

// Misses is why this mode can miss calls on this kernel, "" if it cannot.
func (t *Tracer) Misses() string { return t.misses }

// Buffer is what carries the records, never AutoBuffer.
func (t *Tracer) Buffer() BufferKind { return t.kind }

// HidesExecCloses reports whether what an exec closes was to be recorded, and this kernel
// has nothing to see it by.
func (t *Tracer) HidesExecCloses() bool { return t.object.hidesExecCloses }

// Syscalls are those that are traced: what was asked for, as far as the kernel
// has it.
func (t *Tracer) Syscalls() []bpf.Syscall { return t.object.traced() }

// WakeOn makes Run return EPIPE as soon as nobody reads from the pipe or socket fd
// any more. Of other files that is never known, and they are ignored.
func (t *Tracer) WakeOn(fd int) { t.poll.watchClosed(fd) }

// Run hands records to to until ctx is done or to returns an error, which it returns.
// Then the programs are detached and, unless it was to's error, what they recorded
// before is handed over as well.
func (t *Tracer) Run(ctx context.Context, to stream.Records) error {
	stopWaking := context.AfterFunc(ctx, t.poll.wake)
	defer stopWaking()

	gather, _ := t.gathers()
	for ctx.Err() == nil {
		n, err := t.drain(to)
		if err != nil {
			return t.stopEarly(err)
		}
		gather = t.gather(gather, n)
		timeout := gather
		if n == 0 {
			timeout = max(timeout, t.buffer.arm())
		}
		closed, err := t.poll.wait(timeout)
		t.buffer.disarm()
		if closed {
			err = unix.EPIPE
		}
		if err != nil {
			return t.stopEarly(err)
		}
	}

	err := t.object.detach()
	_, drainErr := t.drain(to)
	return errors.Join(err, drainErr)
}

// usualRecord is what a record with details takes.
const usualRecord = 256

// gathers is how long records are let gather. Samples of what is counted, if they are few,
// are in no hurry.
func (t *Tracer) gathers() (least, most time.Duration) {
	if t.samples > 0 && int(float64(t.samples)*perfInterval.Seconds()) < t.capacity/8 {
		return perfInterval, perfInterval
	}
	return gatherMin, gatherMax
}

// gather is how long to let records gather, when n did in the time before.
func (t *Tracer) gather(before time.Duration, n int) time.Duration {
	least, most := t.gathers()
	switch {
	case n == 0:
		return least
	case n < t.capacity/8:
		return min(2*before, most)
	case n > t.capacity/4:
		return max(before/2, least)
	}
	return before
}

func (t *Tracer) drain(to stream.Records) (int, error) {
	n, err := t.buffer.drain(to.Record)
	if n > 0 || err != nil {
		err = errors.Join(err, to.Flush())
	}
	return n, err
}

// stopEarly ends the tracing with records unread, because of err.
func (t *Tracer) stopEarly(err error) error {
	err = errors.Join(err, t.object.detach())
	_, _ = t.buffer.drain(func(r *bpf.Record) error {
		if r.Kind == bpf.Call {
			t.unread.Add(1)
		}
		return nil
	})
	return err
}

// ProcessesLost returns how many forks and execs Config.Programs has no record of, because
// there was no room, or the kernel did not show them to a program. Like Counts it may be
// called at any time and from any goroutine, but not after Close.
func (t *Tracer) ProcessesLost() uint32 {
	return atomic.LoadUint32(&t.object.shared.ProcessesLost) + uint32(t.object.processesMissed())
}

// Counts: see stream.Source. It must not be called after Close.
func (t *Tracer) Counts() (stream.Counts, error) {
	counts, err := t.object.counts()
	counts.Unread = t.unread.Load()
	return counts, err
}

// Dropped returns how many calls Counts has as Lost and Limited, by the id of a
// container's own cgroup, or of that of a service or a user of the host; those of 0 are of
// all for which there was no room. There are none without Config.ByContainer. Like Counts it may be called at any
// time and from any goroutine, but not after Close.
func (t *Tracer) Dropped() (map[uint64]stream.Dropped, error) { return t.object.dropped() }

// Close detaches what is attached and gives everything back. Nothing of it
// stays in the kernel.
func (t *Tracer) Close() {
	if t.buffer != nil {
		t.buffer.close()
	}
	if t.poll != nil {
		t.poll.close()
	}
	if t.object != nil {
		t.object.close()
	}
}
