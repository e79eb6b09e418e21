// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package bpf

import "unsafe"

// Executable is struct executable of record.h: an executable file. The zero value
// stands for the kernel's own threads.
type Executable struct {
	Inode  uint64
	Device uint32 // of its file system, as the kernel has it: 20 bits are the minor number
	_      uint32
}

// TotalKey is struct total_key of record.h: what calls are counted by.
type TotalKey struct {
	Executable Executable
	CgroupID   uint64
	UID        uint32 // 0 where users are not counted
	Error      uint16 // errno, 0 of a call that did not fail
	Syscall    uint8  // index into Syscalls
	Flags      Flags
}

// Total is struct total of record.h. A counter of Latencies has the calls that took from
// 1<<(LatencyShift+i) ns up to twice that, the first also those that took less, and the
// last those that took more.
type Total struct {
	Calls     uint64
	Latencies [Latencies]uint64
}

// LATENCY_SHIFT and LATENCIES of record.h.
const (
	LatencyShift = 8
	Latencies    = 28
)

// Add adds what another CPU counted.
func (t *Total) Add(u *Total) {
	t.Calls += u.Calls
	for i, n := range u.Latencies {
		t.Latencies[i] += n
	}
}

// OtherTotal is how many calls of a syscall found no room in TotalsMap.
type OtherTotal struct{ Succeeded, Failed uint64 }

// ExecutablePath is struct executable_path of record.h, which ExecutablesMap has for
// each Executable.
type ExecutablePath struct {
	textLen uint32
	text    [252]byte
}

// Bytes returns the path as who runs it sees it, arbitrary bytes, and whether it is
// longer than that.
func (p *ExecutablePath) Bytes() (path []byte, cut bool) {
	n := int(p.textLen)
	return p.text[:min(n, len(p.text))], n > len(p.text)
}

// NewExecutablePath is the inverse of Bytes.
func NewExecutablePath(path string) (p ExecutablePath) {
	p.textLen = uint32(len(path))
	copy(p.text[:], path)
	return p
}

// Sampled is struct sampled of record.h, which a record of a call has that was also
// counted.
type Sampled struct {
	Executable Executable
	Weight     uint32 // for how many calls of its like it stands
	_          uint32
}

// Sampled returns what a record has that was made where calls are counted, and nothing
// that means anything elsewhere.
func (r *Record) Sampled() Sampled {
	return *(*Sampled)(unsafe.Pointer(&r.hostname))
}
