// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package counting

import (
	"time"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stream"
)

// A Source counts calls; tracer.Tracer does, in the kernel.
type Source interface {
	Totals(yield func(bpf.TotalKey, *bpf.Total)) error
	OtherTotals() ([len(bpf.Syscalls)]bpf.OtherTotal, error)
	ForgetTotals([]bpf.TotalKey) error
	TakeExecutables(yield func(bpf.Executable, *bpf.ExecutablePath)) error
	Counts() (stream.Counts, error)
}

// Containers knows the container of each cgroup; attribution.Attributor does.
type Containers interface {
	// Find returns the container of a cgroup, nil for the host, stream.Unknown
	// where that is not known, and whether calls from there with these flags are
	// to be shown.
	Find(cgroup uint64, flags bpf.Flags) (c *stream.Container, shown bool)
}

// A Book keeps what a Source counted. Its methods, those of its Containers and those
// of Samples that use it must not be called at the same time.
type Book struct {
	source     Source
	containers Containers
	programs   programs
	origins    map[string]*Origin
	last       map[Cell]Count       // what was counted in cgroups that are gone
	gone       map[uint64]time.Time // cgroups that are, and whose totals the source still has
	latency    bool
	size       int // of the last snapshot
}

const (
	// goneGrace is after how long all that a cgroup's tasks did is counted.
	goneGrace = 2 * time.Second
	// lastMax bounds what is told apart of cgroups that are gone.
	lastMax = 1 << 16
	// originsMax bounds the containers that are told apart.
	originsMax = 1 << 16
)

// NewBook returns a Book of what source counts from now on. latency says that it
// measures how long calls take.
func NewBook(source Source, containers Containers, latency bool) *Book {
	return &Book{
		source: source, containers: containers, latency: latency, programs: newPrograms(),
		origins: make(map[string]*Origin), last: make(map[Cell]Count), gone: make(map[uint64]time.Time),
	}
}

// A Snapshot is what was counted up to a time, or between two.
type Snapshot struct {
	Time    time.Time
	Seconds float64 // between two snapshots; 0 of one alone
	Cells   map[Cell]Count
	Account Account
}

// Account is what became of every call that was traced.
type Account struct {
	Counted    uint64 // in the cells
	Other      uint64 // counted, but the table had no room to tell it apart
	OtherSum   Sum    // what Other is
	Filtered   uint64
	Lost       uint64
	Missed     uint64 // at most, see stream.Counts
	Unfollowed uint64
}

// All returns how many calls there were.
func (a *Account) All() uint64 { return a.Counted + a.Other + a.Filtered + a.Lost }

// Removed notes that a cgroup is gone, so that the source can have its room back.
func (b *Book) Removed(cgroup uint64, now time.Time) {
	b.gone[cgroup] = now
	if c, _ := b.containers.Find(cgroup, 0); c != nil && c.CgroupID == cgroup {
		b.origin(c).gone.Store(true)
	}
}

// tend takes from the source what it has no room to keep.
func (b *Book) tend(now time.Time) error {
	for _, at := range b.gone {
		if now.Sub(at) > goneGrace {
			_, err := b.Take(now)
			return err
		}
	}
	return b.source.TakeExecutables(b.programs.name)
}

// Take returns all that was counted so far.
func (b *Book) Take(now time.Time) (*Snapshot, error) {
	if err := b.source.TakeExecutables(b.programs.name); err != nil {
		return nil, err
	}
	s := &Snapshot{Time: now, Cells: make(map[Cell]Count, b.size)}
	for cell, n := range b.last {
		s.Cells[cell] = n
	}
	var forgotten []bpf.TotalKey
	finder := finder{book: b}
	err := b.source.Totals(func(key bpf.TotalKey, total *bpf.Total) {
		origin, shown := finder.origin(&key)
		if !shown {
			s.Account.Filtered += total.Calls
			return
		}
		cell := Cell{Origin: origin, Program: b.programs.of(key.Executable), UID: key.UID, Error: key.Error, Syscall: key.Syscall}
		n := b.count(total)
		sum := s.Cells[cell]
		sum.add(n)
		s.Cells[cell] = sum
		if at, ok := b.gone[key.CgroupID]; ok && now.Sub(at) > goneGrace {
			forgotten = append(forgotten, key)
			b.keep(cell, n)
		}
	})
	if err != nil {
		return nil, err
	}
	b.size = len(s.Cells)
	if err := b.forget(forgotten, now); err != nil {
		return nil, err
	}
	return s, b.account(s)
}

func (b *Book) count(total *bpf.Total) Count {
	n := Count{Calls: total.Calls}
	if b.latency {
		l := Latencies(total.Latencies)
		n.Latencies = &l
	}
	return n
}

// keep adds to what was counted in cgroups that are gone.
func (b *Book) keep(cell Cell, n Count) {
	if _, ok := b.last[cell]; !ok && len(b.last) >= lastMax {
		cell = Cell{Origin: Rest, Program: otherPrograms, Syscall: cell.Syscall, Error: cell.Error}
	}
	sum := b.last[cell]
	if sum.Latencies != nil { // a snapshot has it
		copied := *sum.Latencies
		sum.Latencies = &copied
	}
	sum.add(n)
	b.last[cell] = sum
}

func (b *Book) forget(keys []bpf.TotalKey, now time.Time) error {
	for cgroup, at := range b.gone {
		if now.Sub(at) > goneGrace {
			delete(b.gone, cgroup)
		}
	}
	return b.source.ForgetTotals(keys)
}

func (b *Book) account(s *Snapshot) error {
	for _, n := range s.Cells {
		s.Account.Counted += n.Calls
	}
	others, err := b.source.OtherTotals()
	if err != nil {
		return err
	}
	for i, other := range others {
		o := operationOf[i]
		s.Account.OtherSum.Operations[o].Calls += other.Succeeded + other.Failed
		s.Account.OtherSum.Failures[o] += other.Failed
	}
	s.Account.Other = s.Account.OtherSum.Calls()
	counts, err := b.source.Counts()
	s.Account.Filtered += counts.Filtered
	s.Account.Lost, s.Account.Missed, s.Account.Unfollowed = counts.Lost, counts.Missed, counts.Unfollowed
	return err
}

// finder finds origins. Totals of a cgroup often follow each other.
type finder struct {
	book   *Book
	cgroup uint64
	flags  bpf.Flags
	found  *Origin
	shown  bool
}

func (f *finder) origin(key *bpf.TotalKey) (*Origin, bool) {
	if f.found == nil || key.CgroupID != f.cgroup || key.Flags != f.flags {
		f.cgroup, f.flags = key.CgroupID, key.Flags
		var c *stream.Container
		c, f.shown = f.book.containers.Find(f.cgroup, f.flags)
		f.found = f.book.origin(c)
	}
	return f.found, f.shown
}

// origin returns the origin of a container, and notes what is known of that now.
func (b *Book) origin(c *stream.Container) *Origin {
	switch c {
	case nil:
		return Host
	case stream.Unknown:
		return Unknown
	}
	o := b.origins[c.ID]
	if o == nil {
		if len(b.origins) >= originsMax {
			return Rest
		}
		o = newOrigin(c)
		b.origins[c.ID] = o
	}
	if before := o.container.Swap(c); before.CgroupID != c.CgroupID {
		o.gone.Store(false) // it was started again
	}
	return o
}

// Since returns what was counted between before and s.
func (s *Snapshot) Since(before *Snapshot) *Snapshot {
	d := &Snapshot{Time: s.Time, Seconds: s.Time.Sub(before.Time).Seconds(), Cells: make(map[Cell]Count, len(s.Cells))}
	for cell, n := range s.Cells {
		// What was counted of an unknown cgroup can become a container's.
		if n = n.since(before.Cells[cell]); n.Calls > 0 {
			d.Cells[cell] = n
		}
	}
	a, b := &s.Account, &before.Account
	d.Account = Account{
		Counted: less(a.Counted, b.Counted), Other: less(a.Other, b.Other), Filtered: less(a.Filtered, b.Filtered),
		Lost: less(a.Lost, b.Lost), Missed: less(a.Missed, b.Missed), Unfollowed: less(a.Unfollowed, b.Unfollowed),
	}
	for o := range Operations {
		d.Account.OtherSum.Operations[o] = a.OtherSum.Operations[o].since(b.OtherSum.Operations[o])
		d.Account.OtherSum.Failures[o] = less(a.OtherSum.Failures[o], b.OtherSum.Failures[o])
	}
	return d
}

func (c Count) since(before Count) Count {
	d := Count{Calls: less(c.Calls, before.Calls)}
	if c.Latencies == nil || before.Latencies == nil {
		d.Latencies = c.Latencies
		return d
	}
	d.Latencies = new(Latencies)
	for i, n := range c.Latencies {
		d.Latencies[i] = less(n, before.Latencies[i])
	}
	return d
}

// less returns a-b, and 0 where that is below 0.
func less(a, b uint64) uint64 { return max(a, b) - b }
