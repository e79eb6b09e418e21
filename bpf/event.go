package bpf

import (
	"bytes"
	"errors"
	"unsafe"
)

// ABI says what kind of call it was: that of a 64-bit program, or of a 32-bit
// one on a 64-bit kernel, which goes by other numbers and registers.
type ABI uint8

// The values of enum abi.
const (
	ABI64 ABI = iota
	ABI32
)

// Event is struct event of event.h, one returned syscall, as it lies in the
// buffer that the kernel wrote.
type Event struct {
	Time     uint64 // CLOCK_MONOTONIC in ns, when the call returned
	CgroupID uint64 // cgroup v2: the inode number of the cgroup's directory
	PID      uint32 // thread group; like TID, in the initial PID namespace
	TID      uint32
	UID      uint32 // like GID, in the initial user namespace
	GID      uint32
	Ret      int32 // what the call returned: a result, or a negative errno
	Syscall  uint8 // index into Syscalls
	ABI      ABI
	_        uint16
	comm     [16]byte
	hostname [64]byte
}

// ErrRecord is returned for a record that is none: too short, or of a syscall
// that Syscalls does not have.
var ErrRecord = errors.New("malformed record in the event buffer")

// View returns the event at the start of record without copying it; it is valid
// for as long as record is. record must be aligned to 8 bytes, as records in a
// BPF ring buffer are.
func View(record []byte) (*Event, error) {
	if len(record) < int(unsafe.Sizeof(Event{})) {
		return nil, ErrRecord
	}
	e := (*Event)(unsafe.Pointer(unsafe.SliceData(record)))
	if int(e.Syscall) >= len(Syscalls) {
		return nil, ErrRecord
	}
	return e, nil
}

// Comm is the name of the thread, at most 15 bytes that may be anything but 0.
func (e *Event) Comm() []byte { return beforeNUL(e.comm[:]) }

// Hostname is the UTS node name, at most 64 bytes that may be anything but 0.
// It is empty where it was not asked for.
func (e *Event) Hostname() []byte { return beforeNUL(e.hostname[:]) }

func beforeNUL(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

// Shared is struct shared of event.h, which lies in SharedMap. Both sides write
// it while tracing runs.
type Shared struct {
	ReaderWaits uint32 // set by the reader before it sleeps, cleared by the first event
	Tool        uint32 // thread group of the tool, 0 before it knocked
	Heard       uint32 // a bit for each syscall whose program heard the knock
}

// Counters is struct counters of event.h, which CountersMap holds for each CPU.
type Counters struct {
	Filtered uint64 // calls that a filter left out
	Lost     uint64 // calls whose record found no room in the buffer
}
