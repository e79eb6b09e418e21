// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/copenclose/copenclose/internal/stream"
)

// A Filter says which processes and which of their descriptors are shown. Its zero
// value lets all pass.
type Filter struct {
	// Of processes.
	Containers func(*stream.Container) bool
	IgnoreHost bool
	PIDs       []uint32
	Comms      []string // names of processes; one that ends with a * is a beginning

	// Of descriptors.
	Kinds     []string // see Descriptor.IsKind
	States    []string // see StateNames
	Paths     []string // beginnings
	Deleted   bool
	Inherited bool
}

// ofDescriptors reports whether the filter looks at descriptors.
func (f *Filter) ofDescriptors() bool {
	return len(f.Kinds)+len(f.States)+len(f.Paths) > 0 || f.Deleted || f.Inherited
}

func (f *Filter) table(t *Table) bool {
	switch {
	case f.Containers != nil && !f.Containers(t.Container):
		return false
	case f.IgnoreHost && t.IsKnown && t.Container == nil:
		return false
	}
	if len(f.Comms) > 0 && !slices.ContainsFunc(f.Comms, t.isCalled) {
		return false
	}
	return len(f.PIDs) == 0 || slices.Contains(f.PIDs, t.PID) ||
		slices.ContainsFunc(t.Shares, func(pid uint32) bool { return slices.Contains(f.PIDs, pid) })
}

// isCalled reports whether the process has that name, or begins so.
func (t *Table) isCalled(name string) bool {
	if beginning, ok := strings.CutSuffix(name, "*"); ok {
		return bytes.HasPrefix(t.Comm(), []byte(beginning))
	}
	return string(t.Comm()) == name
}

func (f *Filter) descriptor(d *Descriptor) bool {
	switch {
	case len(f.Kinds) > 0 && !slices.ContainsFunc(f.Kinds, d.IsKind):
		return false
	case len(f.States) > 0 && !slices.Contains(f.States, d.State()):
		return false
	case len(f.Paths) > 0 && !slices.ContainsFunc(f.Paths, func(path string) bool { return bytes.HasPrefix(d.Of.Name(), []byte(path)) }):
		return false
	case f.Deleted && !d.IsDeleted:
		return false
	case f.Inherited && !d.isInherited():
		return false
	}
	return true
}

// isInherited reports whether a process that is older has the same file open, from
// which fork(2) made this descriptor, or which passed it by SCM_RIGHTS.
func (d *Descriptor) isInherited() bool {
	return slices.ContainsFunc(d.shared, func(other *Descriptor) bool { return other.Started < d.Started })
}

// A Holding is what one table has of what a filter lets pass.
type Holding struct {
	*Table
	Matching []*Descriptor
	Groups   []*Group // the largest first
}

// Select returns what f lets pass, the table that has used most of its limit first.
func (s *Snapshot) Select(f *Filter) []*Holding {
	if f.Inherited {
		s.join()
	}
	var holdings []*Holding
	groups := newGrouper(s)
	for _, t := range s.Tables {
		if !f.table(t) {
			continue
		}
		h := &Holding{Table: t, Matching: t.Descriptors}
		if f.ofDescriptors() {
			h.Matching = slices.Collect(func(yield func(*Descriptor) bool) {
				for _, d := range t.Descriptors {
					if f.descriptor(d) && !yield(d) {
						return
					}
				}
			})
			if len(h.Matching) == 0 {
				continue
			}
		}
		h.Groups = groups.group(h.Matching)
		holdings = append(holdings, h)
	}
	slices.SortStableFunc(holdings, func(a, b *Holding) int {
		return cmp.Or(cmp.Compare(b.Use(), a.Use()), cmp.Compare(len(b.Descriptors), len(a.Descriptors)))
	})
	return holdings
}
