// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/copenclose/copenclose/internal/selection"
	"github.com/copenclose/copenclose/internal/stream"
)

// A Filter says which processes and which of their descriptors are shown. Its zero
// value lets all pass.
type Filter struct {
	// Of processes.
	Containers func(*stream.Container) bool
	IgnoreHost bool
	PIDs       selection.List[uint32]
	Family     *Family
	Comms      selection.List[string] // names of processes; one that ends with a * is a beginning

	// Of descriptors.
	Kinds     []string               // see Descriptor.IsKind
	States    []string               // see StateNames
	Paths     selection.List[string] // beginnings
	Deleted   bool
	Inherited bool
	Older     time.Duration // in a snapshot that has dates: surely
}

// ofDescriptors reports whether the filter looks at descriptors.
func (f *Filter) ofDescriptors() bool {
	return len(f.Kinds)+len(f.States)+f.Paths.Len() > 0 || f.Deleted || f.Inherited || f.Older > 0
}

func (f *Filter) table(t *Table) bool {
	switch {
	case f.Containers != nil && !f.Containers(t.Container):
		return false
	case f.IgnoreHost && t.IsKnown && t.Container == nil:
		return false
	}
	if f.Family != nil && !f.Family.has(t) {
		return false
	}
	return f.Comms.Passes(t.matchesName) && f.PIDs.Passes(func(pid uint32) int {
		if t.PID == pid || slices.Contains(t.Shares, pid) {
			return 1
		}
		return 0
	})
}

// matchesName returns how long the part of name is that the process is called, or that
// its name begins with, 0 for none.
func (t *Table) matchesName(name string) int {
	beginning, isBeginning := strings.CutSuffix(name, "*")
	if isBeginning && bytes.HasPrefix(t.Comm(), []byte(beginning)) || string(t.Comm()) == name {
		return len(name)
	}
	return 0
}

func (f *Filter) descriptor(s *Snapshot, d *Descriptor) bool {
	switch {
	case len(f.Kinds) > 0 && !slices.ContainsFunc(f.Kinds, d.IsKind):
		return false
	case len(f.States) > 0 && !slices.Contains(f.States, d.State()):
		return false
	case !f.Paths.Passes(d.beginsWith):
		return false
	case f.Deleted && !d.IsDeleted:
		return false
	case f.Inherited && !d.isInherited(), f.Older > 0 && !d.isOlder(s, f.Older):
		return false
	}
	return true
}

// beginsWith returns the length of path, 0 if the descriptor's does not begin so.
func (d *Descriptor) beginsWith(path string) int {
	if bytes.HasPrefix(d.Of.Name(), []byte(path)) {
		return len(path)
	}
	return 0
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
	holdings := s.holdings(f)
	groups := newGrouper(s)
	for _, h := range holdings {
		h.Groups = groups.group(h.Matching)
	}
	slices.SortStableFunc(holdings, func(a, b *Holding) int {
		return cmp.Or(cmp.Compare(b.Use(), a.Use()), cmp.Compare(len(b.Descriptors), len(a.Descriptors)))
	})
	return holdings
}

// holdings returns what f lets pass, without groups.
func (s *Snapshot) holdings(f *Filter) (holdings []*Holding) {
	if f.Inherited {
		s.join()
	}
	if f.Family != nil {
		f.Family.update(s)
	}
	for _, t := range s.Tables {
		if !f.table(t) {
			continue
		}
		h := &Holding{Table: t, Matching: t.Descriptors}
		if f.ofDescriptors() {
			h.Matching = nil
			for _, d := range t.Descriptors {
				if f.descriptor(s, d) {
					h.Matching = append(h.Matching, d)
				}
			}
			if len(h.Matching) == 0 {
				continue
			}
		}
		holdings = append(holdings, h)
	}
	return holdings
}
