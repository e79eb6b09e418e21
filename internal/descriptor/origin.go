// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"time"

	"github.com/copenclose/copenclose/bpf"
)

// How a descriptor can have been made, where it was by no call that was seen.
const (
	Inherited = "inherited" // of a file that was opened as another descriptor
	Before    = "before"    // births were noted
	Unknown   = "unknown"   // by a call that is not seen, like one through io_uring
)

// A Bound says how near a time is to what it stands for.
type Bound string

// The bounds of an age.
const (
	Exactly Bound = ""
	AtLeast Bound = ">"
	AtMost  Bound = "<"
)

// An Origin is how and when a descriptor was made, as far as that is known.
type Origin struct {
	How   string // the name of a call, or Inherited, Before or Unknown
	Since uint64 // CLOCK_MONOTONIC in ns, 0 if it is not known
	Age   Bound  // of the age that comes of Since
}

// isBefore reports whether the one is older than the other. Births are noted a moment
// before the first snapshot is taken, but what was there before is older than they are.
func (o *Origin) isBefore(other *Origin) bool {
	noted := func(o *Origin) bool { return o.Age == Exactly && o.How != Inherited }
	switch {
	case o.How == Before && noted(other):
		return true
	case other.How == Before && noted(o):
		return false
	}
	return o.Since < other.Since
}

// Origin returns what the births say that were noted since began. wasThere says that
// the descriptor was open in the first snapshot after that.
func (d *Descriptor) Origin(began uint64, wasThere bool) Origin {
	switch {
	case d.Time != 0 && uint32(d.Creator) == 1+bpf.Before:
		return Origin{How: Before, Since: d.Time, Age: AtLeast}
	case d.Time != 0:
		return Origin{How: creator(uint32(d.Creator)), Since: d.Time}
	case d.FileTime != 0 && d.OpenerTable == d.DescriptorRow.Table && d.OpenerFD == d.FD && d.FileTime >= d.Started:
		return Origin{How: creator(d.FileCreator), Since: d.FileTime}
	case d.FileTime != 0 && d.FileTime < d.Started:
		return Origin{How: Inherited, Since: d.Started} // at the fork
	case d.FileTime != 0:
		return Origin{How: Inherited, Since: d.FileTime, Age: AtMost}
	case wasThere:
		return Origin{How: Before, Since: began, Age: AtLeast}
	case d.Started >= began:
		return Origin{How: Unknown, Since: d.Started, Age: AtMost}
	}
	return Origin{How: Unknown, Since: began, Age: AtMost}
}

// Ages knows what was open when births began to be noted. Those of a ledger that is kept
// have no first snapshot: what was open then is noted there.
type Ages struct {
	began  uint64
	first  map[identity]bool
	counts map[processKey]int // of descriptors
}

// NewAges returns the Ages that the first snapshot after Open gives.
func NewAges(first *Snapshot) *Ages {
	a := &Ages{first.Time, make(map[identity]bool), make(map[processKey]int)}
	for d := range first.All() {
		a.first[d.identity()] = true
	}
	for _, t := range first.Tables {
		a.counts[processKey{t.Descriptor.Table, t.Started}] = len(t.Descriptors)
	}
	return a
}

// growth returns by how many descriptors a minute a table has grown since then, or since
// its process started.
func (a *Ages) growth(t *Table, now uint64) float64 {
	minutes := time.Duration(now - min(now, max(a.began, t.Started))).Minutes()
	if minutes == 0 {
		return 0
	}
	return float64(len(t.Descriptors)-a.counts[processKey{t.Descriptor.Table, t.Started}]) / minutes
}

func (d *Descriptor) identity() identity { return identity{d.DescriptorRow.Table, d.File, d.FD} }

// Date notes in a later snapshot how and when its descriptors were made. One of a file
// that an older process has open, too, came from there, though by which call that was
// opened is not known.
func (s *Snapshot) Date(a *Ages) {
	s.isDated = true
	s.join()
	if s.hasGrowth = a.counts != nil; s.hasGrowth {
		for _, t := range s.Tables {
			t.PerMinute = a.growth(t, s.Time)
		}
	}
	for d := range s.All() {
		d.origin = d.Origin(a.began, a.first[d.identity()])
		if d.origin.How == Unknown && d.isInherited() {
			d.origin.How = Inherited
		}
	}
}

// age returns how long the descriptor has been open, in a snapshot that has dates.
func (d *Descriptor) age(s *Snapshot) time.Duration {
	return time.Duration(s.Time - min(s.Time, d.origin.Since))
}

// oldest returns the one that has been open for longest, of descriptors that have dates.
func oldest(list []*Descriptor) (oldest *Descriptor) {
	for _, d := range list {
		if oldest == nil || d.origin.isBefore(&oldest.origin) {
			oldest = d
		}
	}
	return oldest
}

// isOlder reports whether the descriptor has surely been open for a time.
func (d *Descriptor) isOlder(s *Snapshot, than time.Duration) bool {
	return d.origin.Age != AtMost && d.age(s) >= than
}

// opener returns who opened the file, where that is known.
func (d *Descriptor) opener() (pid, fd uint32, call string, known bool) {
	if d.FileTime == 0 {
		return 0, 0, "", false
	}
	return d.OpenerPID, d.OpenerFD, creator(d.FileCreator), true
}

// openedElsewhere returns in words who opened the file, unless it was the descriptor's
// own call.
func (d *Descriptor) openedElsewhere() string {
	pid, fd, call, known := d.opener()
	if !known || d.OpenerTable == d.DescriptorRow.Table && fd == d.FD && d.Time == 0 {
		return ""
	}
	return number(pid) + " fd " + number(fd) + " " + call
}

// creator returns the name of a call, of which n is 1 and its index.
func creator(n uint32) string {
	if n == 0 || int(n) > len(bpf.Creators) {
		return Unknown
	}
	return bpf.Creators[n-1]
}
