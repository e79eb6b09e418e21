// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package bpf

import "unsafe"

// The programs of WriteDescriptorsObject: the iterator, and those that note births.
const (
	DescriptorsProgram       = "descriptors"
	BirthSysExitProgram      = "birth_sys_exit"
	BirthPerfSysExitProgram  = "birth_perf_sys_exit"
	BirthSysEnterProgram     = "birth_sys_enter" // looks at closes
	BirthPerfSysEnterProgram = "birth_perf_sys_enter"
	UsageProgram             = "count_usage" // an iterator that counts, without rows
)

// The maps of WriteDescriptorsObject, and the variables that say which of them there are.
const (
	BirthsMap      = "births"
	MadeMap        = "made"
	CountsMap      = ".data.births"
	BirthsVariable = "has_births"
	MakersVariable = "counts_makers" // in MadeMap
	UsagesMap      = "usages"
)

// The maps of stacks, and the variable that says that they are taken.
const (
	StacksMap      = "stacks" // a ring of CallStack
	SuspectsMap    = "suspects"
	StacksLostMap  = ".data.stacks"
	StacksVariable = "has_stacks"
)

// Creators are the calls that make descriptors, in the order of enum creator of syscalls.h.
var Creators = func() (names []string) {
	for _, s := range creators() {
		names = append(names, s.Name)
	}
	return names
}()

func creators() (all []Syscall) {
	for _, s := range Syscalls {
		if s.Makes != MakesNone {
			all = append(all, s)
		}
	}
	return all
}

// BirthKey is struct birth_key of descriptor.h, a key of BirthsMap.
type BirthKey struct {
	Address uint64 // of a file, or of a table
	FD      uint32 // BirthOfFile for a file
	_       uint32
}

// BirthOfFile is OF_FILE of descriptor.h.
const BirthOfFile = ^uint32(0)

// Birth is struct birth of descriptor.h.
type Birth struct {
	Time     uint64 // CLOCK_MONOTONIC in ns
	Identity uint64
	Table    uint64
	PID      uint32
	FD       uint32
	Creator  uint32 // index into Creators, or Before
	_        uint32
}

// Before is BEFORE of descriptor.h: the Creator of a descriptor that was open when births
// began to be noted.
var Before = uint32(len(Creators))

// BirthCounts is struct birth_counts of descriptor.h, the value of CountsMap.
type BirthCounts struct {
	Noted uint64
	Lost  uint64 // of these, those that found no room
	// What the tool writes.
	NotedAtPrune uint64
	KeptByPrune  uint64
	Since        uint64 // CLOCK_MONOTONIC in ns; of a ledger that is kept
}

// Maker is struct maker of descriptor.h, a key of MadeMap.
type Maker struct {
	PID     uint32
	Creator uint32 // index into Creators
}

// Made is struct made of descriptor.h: what became of the descriptors that a process
// made by one call.
type Made struct {
	Made    uint64
	Refused uint64 // calls that failed with EMFILE or ENFILE
	Closed  uint64 // by close(2), where closes are looked at
	Lived   uint64 // those, in all, in ns
	Longest uint64 // and the one that did longest
}

// Suspect is struct suspect of descriptor.h, a value of SuspectsMap: calls of a Maker of
// which stacks are taken.
type Suspect struct {
	Since  uint64
	Copied uint32
	_      uint32
}

// How much of a stack there can be.
const (
	FramesMax    = 64
	RegistersMax = 34
	StackMax     = 16 << 10
)

// CallStack is struct call_stack of descriptor.h: where in its program a descriptor was
// made.
type CallStack struct {
	Time       uint64 // of the birth, CLOCK_MONOTONIC in ns
	Table      uint64
	File       uint64
	PID        uint32
	FD         uint32
	Creator    uint32 // index into Creators
	Is32Bit    bool   // a 32-bit call, of which there are frames only
	_          [3]byte
	StartStack uint64               // as /proc/PID/stat has them: others after exec
	StartCode  uint64               //
	Registers  [RegistersMax]uint64 // by their numbers in DWARF
	StackAt    uint64               // the address that Stack begins at
	StackLen   uint32               // of Stack
	FramesNum  uint32               // of Frames
	Frames     [FramesMax]uint64    // what the kernel finds by frame pointers, innermost first
	Stack      [StackMax]byte
}

// View returns the CallStack that b is, without copying it; nil if b is none.
func ViewCallStack(b []byte) *CallStack {
	if len(b) < int(unsafe.Sizeof(CallStack{})) || uintptr(unsafe.Pointer(unsafe.SliceData(b)))%8 != 0 {
		return nil
	}
	s := (*CallStack)(unsafe.Pointer(unsafe.SliceData(b)))
	if s.StackLen > StackMax || s.FramesNum > FramesMax {
		return nil
	}
	return s
}

// Usage is struct usage of descriptor.h, a value of UsagesMap: what a process has open,
// and may have.
type Usage struct {
	CgroupID uint64 // in the v2 hierarchy
	Limit    uint64 // RLIMIT_NOFILE, soft
	Open     uint32
	PID      uint32
}

// Descriptor is struct descriptor of descriptor.h: a descriptor that is open, as
// the kernel's table has it.
type Descriptor struct {
	Table     uint64 // address of the table, which all threads of a process share
	File      uint64 // address of the open file, which dup, fork and SCM_RIGHTS share
	Object    uint64 // address of a socket, or of the inode
	Peer      uint64 // address of the unix socket at the other end, 0 if there is none
	Inode     uint64 // its number
	Size      uint64 // of the file, in bytes
	Held      uint64 // bytes that a deleted file still takes on its file system
	CgroupID  uint64 // of the process, in the v2 hierarchy
	Started   uint64 // when the process started, CLOCK_MONOTONIC in ns
	Limit     uint64 // RLIMIT_NOFILE of the process, soft
	HardLimit uint64 // and hard
	// From the births that were noted, 0 for what is not: CLOCK_MONOTONIC in ns.
	Time        uint64 // when this descriptor was made by a call of its own, like dup
	FileTime    uint64 // when the file was opened
	OpenerTable uint64 // where, and as what
	PID         uint32 // thread group; like TID, in the initial PID namespace
	TID         uint32
	PPID        uint32
	UID         uint32 // real, in the initial user namespace
	FD          uint32
	Device      uint32 // of the file system; the kernel's dev_t, 12 bits major, 20 minor
	OpenFlags   uint32 // O_*, as F_GETFL has them
	IsCloexec   bool
	IsDeleted   bool
	State       uint8  // of an IP socket, net/tcp_states.h
	Creator     uint8  // 1 + index into Creators, where there is a Time
	OpenerPID   uint32 // where there is a FileTime
	OpenerFD    uint32
	FileCreator uint32 // 1 + index into Creators
	comm        [16]byte
	// Of an inotify instance: the user that it counts for, and what the kernel has
	// counted for that user.
	Owner        uint32
	Instances    uint32
	InstancesMax uint32
	Watches      uint32
	WatchesMax   uint32
	NetNS        uint32 // of a socket: the inode number of its network namespace
}

// Comm is the name of the process, at most 15 bytes that may be anything but 0.
func (d *Descriptor) Comm() []byte { return beforeNUL(d.comm[:]) }

// A DescriptorRow is a Descriptor and what it is of, where they lie in the buffer.
type DescriptorRow struct {
	*Descriptor
	Of Record // without an Event
}

// View makes r the row at the start of b, without copying it, and returns the size
// of the row, 0 if b has not all of it; r is valid for as long as b is. b must be
// aligned to 8 bytes, and so are the rows that follow.
func (r *DescriptorRow) View(b []byte) (size int, err error) {
	const head = int(unsafe.Sizeof(Descriptor{}))
	*r = DescriptorRow{}
	if len(b) < head+detailsSize {
		return 0, nil
	}
	details := (*Details)(unsafe.Pointer(unsafe.SliceData(b[head:])))
	if details.textLen > textsMax {
		return 0, ErrRecord
	}
	size = head + align(detailsSize+int(details.textLen))
	if details.Parts&HasSocket != 0 {
		size += socketSize
	}
	if details.Parts&HasLifetime != 0 {
		return 0, ErrRecord // nothing is closed
	}
	if len(b) < size {
		return 0, nil
	}
	r.Descriptor = (*Descriptor)(unsafe.Pointer(unsafe.SliceData(b)))
	_, err = r.Of.viewDetails(b[head:size])
	return size, err
}
