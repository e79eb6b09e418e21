// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package bpf

import "unsafe"

// DescriptorsProgram is the iterator in DescriptorsObject.
const DescriptorsProgram = "descriptors"

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
	PID       uint32 // thread group; like TID, in the initial PID namespace
	TID       uint32
	PPID      uint32
	UID       uint32 // real, in the initial user namespace
	FD        uint32
	Device    uint32 // of the file system; the kernel's dev_t, 12 bits major, 20 minor
	OpenFlags uint32 // O_*, as F_GETFL has them
	IsCloexec bool
	IsDeleted bool
	State     uint8 // of an IP socket, net/tcp_states.h
	_         uint8
	comm      [16]byte
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
	if len(b) < size {
		return 0, nil
	}
	r.Descriptor = (*Descriptor)(unsafe.Pointer(unsafe.SliceData(b)))
	_, err = r.Of.viewDetails(b[head:size])
	return size, err
}
