// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import "github.com/copenclose/copenclose/bpf"

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

// Origin returns what the births say that were noted since began. wasThere says that
// the descriptor was open in the first snapshot after that.
func (d *Descriptor) Origin(began uint64, wasThere bool) Origin {
	switch {
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

// creator returns the name of a call, of which n is 1 and its index.
func creator(n uint32) string {
	if n == 0 || int(n) > len(bpf.Creators) {
		return Unknown
	}
	return bpf.Creators[n-1]
}
