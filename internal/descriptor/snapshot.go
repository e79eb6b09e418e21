// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"math"
	"slices"
	"time"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stream"
)

// A Snapshot has every descriptor that was open at one time.
type Snapshot struct {
	Time   uint64   // when it was begun, CLOCK_MONOTONIC in ns
	Tables []*Table // in the order of the kernel, which is that of PIDs

	byAddress map[uint64]*Table
	last      *Table // to which the row before belongs
	isJoined  bool
	isDated   bool // its descriptors have an origin
	hasGrowth bool // and its tables have PerMinute
}

// A Table is what the descriptors of a process are in. Threads share it, unless they
// took one of their own by unshare(2); so do processes that were made with
// clone(CLONE_FILES).
type Table struct {
	// Row is the first of Descriptors, which has what is known of the process.
	*bpf.Descriptor
	// Shares are the PIDs of other processes that have the same table.
	Shares      []uint32
	Descriptors []*Descriptor
	PerMinute   float64 // growth, in a snapshot that was dated by an earlier one

	// Container is nil for the host. Neither is known if IsKnown is false.
	Container *stream.Container
	IsKnown   bool
}

// A Descriptor is one that is open.
type Descriptor struct {
	bpf.DescriptorRow
	Table *Table

	shared []*Descriptor // of the same open file, this one among them; set by join
	kind   string
	origin Origin // set by Date
}

func newSnapshot(now uint64) *Snapshot {
	return &Snapshot{Time: now, byAddress: make(map[uint64]*Table)}
}

// addRows adds the whole rows in b, of which they are views, and returns how many
// bytes they are.
func (s *Snapshot) addRows(b []byte) (used int, err error) {
	for {
		var row bpf.DescriptorRow
		size, err := row.View(b[used:])
		switch {
		case err != nil:
			return used, err
		case size == 0:
			return used, nil
		}
		used += size
		s.add(row)
	}
}

// add takes a row. The kernel leaves out threads that share the table of their
// process's first thread; where that has ended, it has the table once for each of
// the others.
func (s *Snapshot) add(row bpf.DescriptorRow) {
	t := s.last
	if t == nil || t.Table != row.Table {
		if t = s.byAddress[row.Table]; t == nil {
			t = &Table{Descriptor: row.Descriptor}
			s.byAddress[row.Table] = t
			s.Tables = append(s.Tables, t)
		}
		s.last = t
	}
	switch {
	case row.TID == t.TID:
		t.Descriptors = append(t.Descriptors, &Descriptor{DescriptorRow: row, Table: t})
	case row.PID != t.PID && !slices.Contains(t.Shares, row.PID):
		t.Shares = append(t.Shares, row.PID)
	}
}

// join finds which descriptors are of the same open file, for those who ask for it.
func (s *Snapshot) join() {
	if s.isJoined {
		return
	}
	s.isJoined = true
	first := make(map[uint64]*Descriptor)
	for d := range s.All() {
		other := first[d.File]
		if other == nil {
			first[d.File] = d
			continue
		}
		if other.shared == nil {
			other.shared = []*Descriptor{other}
		}
		other.shared = append(other.shared, d)
	}
	for _, d := range first {
		for _, other := range d.shared {
			other.shared = d.shared
		}
	}
}

// All are the descriptors of all tables.
func (s *Snapshot) All() func(yield func(*Descriptor) bool) {
	return func(yield func(*Descriptor) bool) {
		for _, t := range s.Tables {
			for _, d := range t.Descriptors {
				if !yield(d) {
					return
				}
			}
		}
	}
}

// Containers is what Attribute asks: container.Registry has it.
type Containers interface {
	Lookup(cgroup uint64) (c *stream.Container, known bool)
}

// Attribute notes the container of each table.
func (s *Snapshot) Attribute(containers Containers) {
	for _, t := range s.Tables {
		t.Container, t.IsKnown = containers.Lookup(t.CgroupID)
	}
}

// FullIn returns when the table is at its limit if it goes on growing so, 0 if that does
// not come.
func (t *Table) FullIn(perMinute float64) time.Duration {
	if perMinute <= 0 || t.Limit == math.MaxUint64 {
		return 0
	}
	full := max(float64(t.Limit)-float64(len(t.Descriptors)), 0) / perMinute * float64(time.Minute)
	return time.Duration(min(full, math.MaxInt64))
}

// Use is how much of its limit the table has used, 1 for all, 0 without a limit.
func (t *Table) Use() float64 {
	switch t.Limit {
	case 0:
		return 1
	case math.MaxUint64:
		return 0
	}
	return float64(len(t.Descriptors)) / float64(t.Limit)
}
