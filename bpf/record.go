// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package bpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"iter"
	"net/netip"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Kind is enum kind of record.h: what a Record is about.
type Kind uint8

// The values of enum kind.
const (
	Call          Kind = iota // a syscall that returned
	CgroupCreated             // a cgroup of the v2 hierarchy, its path is the Name
	CgroupRemoved             // likewise
	Forked                    // PID is a new process, see Details.Forker and Details.PPID
	Executed                  // a process runs another program; the Details are those of an exec
	Ended                     // the last thread of PID
)

// Flags is a set of the bits of enum flag of record.h.
type Flags uint8

// The bits of enum flag.
const (
	InInitialPIDNS Flags = 1 << iota // the caller is; only set where the host is left out
	HasDetails                       // Details follow
	ViaIOUring                       // a request of io_uring(7), not a syscall
	NoResult                         // what the call returned is not known
	ViaExec                          // what execve(2) did by itself, and is no call
)

// ABI says what kind of call it was: that of a 64-bit program, or of a 32-bit
// one on a 64-bit kernel, which goes by other numbers and registers.
type ABI uint8

// The values of enum abi.
const (
	ABI64 ABI = iota
	ABI32
)

// Event is struct event of record.h, the beginning of each record, as it lies in the
// buffer that the kernel wrote.
type Event struct {
	Time     uint64 // CLOCK_MONOTONIC in ns, when the call returned
	CgroupID uint64 // cgroup v2: the inode number of the cgroup's directory
	PID      uint32 // thread group; like TID, in the initial PID namespace
	TID      uint32
	UID      uint32 // like GID, in the initial user namespace
	GID      uint32
	Ret      int32 // what the call returned: a result, or a negative errno
	Kind     Kind
	Flags    Flags
	Syscall  uint8 // of a Call, index into Syscalls
	ABI      ABI
	comm     [16]byte
	hostname [64]byte
}

// Target is enum target of record.h: what a call was about.
type Target uint8

// The values of enum target.
const (
	TargetUnknown   Target = iota
	TargetPath             // only the path as the caller gave it is known
	TargetFile             // the absolute path of an open file
	TargetSocket           //
	TargetPipe             //
	TargetAnonymous        // an anonymous inode with a name like [eventfd]
	TargetMemfd            // a memfd with a name like memfd:name
	TargetNamespace        // a namespace; its name is its kind, like mnt
)

// Remark is a set of the bits of enum remark of record.h.
type Remark uint8

// The bits of enum remark.
const (
	Truncated  Remark = 1 << iota // the name, or without one the given path, is cut
	Unreadable                    // the given path was not in memory when the call returned
	Outcome                       // what became of a connect that returned EINPROGRESS
	FastOpen                      // a connect that a send made, see tcp(7) TCP_FASTOPEN
	Replaced                      // the file is what a dup2 or dup3 closed
	ArgsCut                       // the arguments of a program are not all there
	Further                       // of a call that has a record before, as it received more descriptors
)

// Closer is enum closer of record.h: what closed a file, of a row that is no call's.
type Closer uint8

// The values of enum closer.
const (
	ClosedByCall  Closer = iota // the one that the row is of
	ClosedByExit                //
	ClosedByExec                // because of FD_CLOEXEC
	ClosedByRange               // one of those that a close_range closed
)

// Parts is a set of the bits of enum part of record.h: what follows Details.
type Parts uint8

// The bits of enum part.
const (
	HasSocket Parts = 1 << iota
	HasLifetime
	allParts = HasSocket | HasLifetime
)

// Details is struct details of record.h, which follows an Event when details were
// requested.
type Details struct {
	Latency uint64 // ns, 0 if not asked for
	Request uint32 // a command, a clock or the type of an event; see also Resolve and Signals
	Other   int32  // what is copied, the second of two fds, a pid, or the socket of a receipt; see also Resolve and Signals
	Inode   uint64 // of a namespace; see also ParentProgramID
	// ProgramID tells apart all programs that are ever run under a PID, and grows with
	// time; 0 if not asked for.
	ProgramID uint64
	PPID      uint32
	FD        int32  // the call's own: what is closed, connected, or listens; a dirfd; the first of two; one that was received
	LastFD    uint32 // of close_range(2); see also Record.Limit
	Flags     uint32 // of the call
	Mode      uint32 // or another number, see ArgValue
	NumClosed uint32 // files that a close_range closed; with By and an FD of -1, files that have no record each; see also Record.Limit and MoreReceived
	FileMode  uint16 // st_mode of the target
	givenLen  uint16
	Target    Target
	Remarks   Remark
	Parts     Parts
	By        Closer
	SlotAfter uint32 // 1 + a direct descriptor of io_uring; see Record.Slot
	textLen   uint32
}

// Resolve is that of openat2(2).
func (d *Details) Resolve() uint64 { return uint64(d.Request) | uint64(uint32(d.Other))<<32 }

// Started is when the process of an exec or exit was forked, CLOCK_MONOTONIC in ns.
func (d *Details) Started() uint64 { return d.Resolve() }

// Forker is the process that forked the one that a record of Forked is about, and which
// is not its parent where that was done with CLONE_PARENT; clone(2).
func (d *Details) Forker() uint32 { return uint32(d.Other) }

// ParentProgramID is the ProgramID of Forker, or where a program was executed of PPID, at that
// time.
func (d *Details) ParentProgramID() uint64 { return d.Inode }

// Status is what wait(2) returns of a process that ended; wait(2).
func (d *Details) Status() syscall.WaitStatus { return syscall.WaitStatus(d.Flags) }

// Signals is the set that signalfd(2) is given, a bit for each signal.
func (d *Details) Signals() uint64 { return d.Resolve() }

// address is struct address of record.h.
type address struct {
	ip      [16]byte
	scopeID uint32
	port    uint16
	textLen uint16
}

// Socket is struct socket_part of record.h: a socket that a call is about. Its
// addresses are Record.Peer, Local and Asked.
type Socket struct {
	PeerCgroup uint64 // of who is at the other end of a unix socket, 0 if not known
	PeerPID    uint32 // of who is at the other end of a unix socket, 0 if not known
	PeerUID    uint32 // where there is a PeerPID
	Family     uint16 // AF_*
	Protocol   uint16 // IPPROTO_*, NETLINK_*, with Type
	Type       uint8  // SOCK_*, 0 if the socket is not known
	_          [3]uint8
	peer       address
	local      address
	asked      address
}

// How a descriptor was made, where that is no call.
const (
	HowUnknown   = 0 // before it was noted, or by a call that is not seen
	HowInherited = 255
)

// Lifetime is struct lifetime_part of record.h: how long a descriptor that was closed was
// open, and its file.
type Lifetime struct {
	Lived     uint64 // ns, where How is known
	FileLived uint64 // ns, where FileHow is known
	OpenerPID uint32 // who opened the file, and as what, where FileHow is known
	OpenerFD  uint32
	How       uint8 // 1 + index into Creators, HowUnknown or HowInherited
	FileHow   uint8 // 1 + index into Creators, or HowUnknown
	IsLast    bool  // nobody else had the file
	_         [5]uint8
}

// Record is an Event and what came with it, where they lie in the buffer.
type Record struct {
	*Event
	// Details is nil where none were asked for. Where only programs were, it has the
	// ProgramID alone.
	Details *Details
	// Socket is nil where the call is about none, or none is known.
	Socket *Socket
	// Lifetime is nil where nothing was closed, or it was not asked for.
	Lifetime *Lifetime
	text     []byte
}

// ErrRecord is returned for a malformed record: one that is shorter than it says, or
// of a kind or a syscall that this package does not know.
var ErrRecord = errors.New("malformed record in the event buffer")

const (
	eventSize    = int(unsafe.Sizeof(Event{}))
	detailsSize  = int(unsafe.Sizeof(Details{}))
	socketSize   = int(unsafe.Sizeof(Socket{}))
	lifetimeSize = int(unsafe.Sizeof(Lifetime{}))
	// TextMax is TEXT_MAX of record.h, PATH_MAX.
	TextMax = 4096
	// ArgsMax is ARGS_MAX of record.h: bytes of the arguments of a program.
	ArgsMax = 1024
	// textsMax is the size of all text of a record: two paths of PATH_MAX.
	textsMax = 2 * TextMax
	// RecordMax is the size of the longest record.
	RecordMax = eventSize + detailsSize + textsMax + socketSize + lifetimeSize
)

// View makes r the record at the start of b, without copying it; it is valid for
// as long as b is. b must be aligned to 8 bytes, as records in a BPF ring buffer
// are. It may be longer than the record.
func (r *Record) View(b []byte) error {
	if len(b) < eventSize {
		return ErrRecord
	}
	*r = Record{Event: (*Event)(unsafe.Pointer(unsafe.SliceData(b)))}
	switch r.Kind {
	case Call:
		if int(r.Syscall) >= len(Syscalls) || r.ABI > ABI32 {
			return ErrRecord
		}
	case CgroupCreated, CgroupRemoved, Forked, Executed, Ended:
		if r.Flags&HasDetails == 0 {
			return ErrRecord
		}
	default:
		return ErrRecord
	}
	if r.Flags&HasDetails == 0 {
		return nil
	}
	_, err := r.viewDetails(b[eventSize:])
	return err
}

// viewDetails makes the details, text and parts at the start of b those of r, and
// returns how long they are.
func (r *Record) viewDetails(b []byte) (size int, err error) {
	if len(b) < detailsSize {
		return 0, ErrRecord
	}
	d := (*Details)(unsafe.Pointer(unsafe.SliceData(b)))
	size = detailsSize + int(d.textLen)
	if d.textLen > textsMax || size > len(b) || uint32(d.givenLen) > d.textLen || d.Parts&^allParts != 0 {
		return 0, ErrRecord
	}
	r.Details, r.text = d, b[detailsSize:size]
	if d.Parts&HasSocket != 0 {
		at := align(size)
		if size = at + socketSize; size > len(b) {
			return 0, ErrRecord
		}
		r.Socket = (*Socket)(unsafe.Pointer(unsafe.SliceData(b[at:])))
		if s := r.Socket; uint32(s.peer.textLen)+uint32(s.local.textLen)+uint32(s.asked.textLen) > d.textLen {
			return 0, ErrRecord
		}
	}
	if d.Parts&HasLifetime != 0 {
		at := align(size)
		if size = at + lifetimeSize; size > len(b) {
			return 0, ErrRecord
		}
		r.Lifetime = (*Lifetime)(unsafe.Pointer(unsafe.SliceData(b[at:])))
	}
	return size, nil
}

// align rounds a size up to a multiple of 8.
func align(size int) int { return (size + 7) &^ 7 }

// Comm is the name of the thread, at most 15 bytes that may be anything but 0.
func (e *Event) Comm() []byte { return beforeNUL(e.comm[:]) }

// Hostname is the UTS node name, at most 64 bytes that may be anything but 0.
// It is empty where it was not asked for.
func (e *Event) Hostname() []byte { return beforeNUL(e.hostname[:]) }

// Now is the time as records have it: CLOCK_MONOTONIC in ns.
func Now() uint64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // it cannot fail
	return uint64(now.Nano())
}

// SameCaller reports whether both have the same thread, credentials, comm and hostname.
func (e *Event) SameCaller(other *Event) bool {
	return e.TID == other.TID && e.PID == other.PID && e.UID == other.UID && e.GID == other.GID &&
		e.CgroupID == other.CgroupID && e.comm == other.comm && e.hostname == other.hostname
}

func beforeNUL(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

// Given is the path as the caller gave it, or of an exec the arguments of the program,
// each with a NUL behind it; arbitrary bytes. It is empty where the call has none, or where Details.Remarks has Unreadable.
func (r *Record) Given() []byte {
	if r.Details == nil {
		return nil
	}
	return r.text[:r.Details.givenLen]
}

// Name is what the target is called: the absolute path of a file, or a name as
// Details.Target says; arbitrary bytes. Of a cgroup it is the path.
func (r *Record) Name() []byte {
	if r.Details == nil {
		return nil
	}
	switch r.Details.Target {
	case TargetSocket, TargetPipe:
		return nil
	}
	return r.text[r.Details.givenLen:]
}

// HasClosed reports whether files were closed that Details.NumClosed counts. Closed has
// those of a close_range.
func (r *Record) HasClosed() bool {
	return r.Details != nil && r.Details.NumClosed > 0 && r.Ret != noMoreFDs && Syscalls[r.Syscall].Makes != Receives
}

// MoreReceived is how many descriptors a call received that have no record each, of a
// record that is of no descriptor, else 0.
func (r *Record) MoreReceived() uint32 {
	if r.Details == nil || Syscalls[r.Syscall].Makes != Receives {
		return 0
	}
	return r.Details.NumClosed
}

const noMoreFDs = -int32(syscall.EMFILE)

// Limit returns how many fds a process had open, and how many it may have (its soft
// RLIMIT_NOFILE), when a call that makes one failed with EMFILE. Where it had fewer than it
// may have, something else has a limit.
func (r *Record) Limit() (open, limit uint32, known bool) {
	if r.Details == nil || r.Ret != noMoreFDs || Syscalls[r.Syscall].Makes == MakesNone {
		return 0, 0, false
	}
	return r.Details.NumClosed, r.Details.LastFD, true
}

// Closed are the files that a close_range closed, each as the record of a close, as
// far as there was room for them in the record; Details.NumClosed is how many there
// were.
func (r *Record) Closed() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		if !r.HasClosed() {
			return
		}
		for rest := r.text; len(rest) >= detailsSize; {
			closed := Record{Event: r.Event}
			size, err := closed.viewDetails(rest)
			if err != nil || !yield(closed) {
				return
			}
			rest = rest[min(align(size), len(rest)):]
		}
	}
}

// An Address is one end of a socket.
type Address struct {
	IP   netip.Addr // invalid if it is none of IPv4 or IPv6
	Zone uint32     // of an IPv6 address, 0 if it has none
	// CID is the context id of a vsock, which IsVsock says it is; vsock(7).
	CID     uint32
	IsVsock bool
	Port    uint32
	// Unix is the path that a unix socket is bound to, or its abstract name
	// after a first byte of 0; arbitrary bytes.
	Unix []byte
}

// vsockAny is VMADDR_CID_ANY and VMADDR_PORT_ANY; linux/vm_sockets.h.
const vsockAny = ^uint32(0)

// IsZero reports whether there is no address: that of a socket that is not bound or
// not connected.
func (a Address) IsZero() bool {
	if a.IsVsock {
		return (a.CID == 0 || a.CID == vsockAny) && (a.Port == 0 || a.Port == vsockAny)
	}
	return a.Port == 0 && len(a.Unix) == 0 && (!a.IP.IsValid() || a.IP.IsUnspecified())
}

// Equal reports whether both are the same end.
func (a Address) Equal(b Address) bool {
	return a.IP == b.IP && a.Zone == b.Zone && a.CID == b.CID && a.Port == b.Port && bytes.Equal(a.Unix, b.Unix)
}

// Peer is the other end as the socket has it when the call returns.
func (r *Record) Peer() Address {
	if r.Socket == nil {
		return Address{}
	}
	return r.address(&r.Socket.peer, 0)
}

// Local is this end.
func (r *Record) Local() Address {
	if r.Socket == nil {
		return Address{}
	}
	return r.address(&r.Socket.local, r.Socket.peer.textLen)
}

// Asked is the address that connect(2), or a bind(2) that failed, was given.
func (r *Record) Asked() Address {
	if r.Socket == nil {
		return Address{}
	}
	return r.address(&r.Socket.asked, r.Socket.peer.textLen+r.Socket.local.textLen)
}

// The address families that have an Address; linux/socket.h.
const (
	familyUnix  = 1
	familyIPv4  = 2
	familyIPv6  = 10
	familyVsock = 40
)

func (r *Record) address(a *address, textAt uint16) Address {
	switch r.Socket.Family {
	case familyIPv4:
		return Address{IP: netip.AddrFrom4([4]byte(a.ip[:4])), Port: uint32(a.port)}
	case familyIPv6:
		return Address{IP: netip.AddrFrom16(a.ip), Zone: a.scopeID, Port: uint32(a.port)}
	case familyVsock:
		return Address{IsVsock: true, CID: binary.NativeEndian.Uint32(a.ip[:]), Port: a.scopeID}
	case familyUnix:
		name := r.text[textAt : textAt+a.textLen]
		if len(name) > 0 && name[0] != 0 {
			name = beforeNUL(name)
		}
		return Address{Unix: name}
	}
	return Address{}
}

// FD is the file descriptor that the call was about: its argument, or else the one
// that it made. ok is false if there is none.
func (r *Record) FD() (fd int32, ok bool) {
	s := &Syscalls[r.Syscall]
	if r.Details != nil && slices.Contains(s.Arguments[:], ArgFD) {
		_, direct := r.Slot()
		return r.Details.FD, !direct && r.Details.By == ClosedByCall || r.Details.FD >= 0
	}
	fd = r.NewFD()
	return fd, fd >= 0
}

// NewFD is the file descriptor that the call made, of two the first, of those that it
// received the one that the record is of, or -1.
func (r *Record) NewFD() int32 {
	_, direct := r.Slot()
	switch makes := Syscalls[r.Syscall].Makes; {
	case direct || r.Ret < 0 || r.Flags&NoResult != 0 || makes == MakesNone:
		return -1
	case makes != MakesPair && makes != Receives:
		return r.Ret
	case r.Details != nil:
		return r.Details.FD
	}
	return -1
}

// Slot is the number of the direct descriptor of io_uring that the call opened, closed,
// connected or accepted, or that listens. ok is false if it was about none.
func (r *Record) Slot() (number uint32, ok bool) {
	if r.Details == nil || r.Details.SlotAfter == 0 {
		return 0, false
	}
	return r.Details.SlotAfter - 1, true
}

// Second is the other one of two file descriptors that the call made; ok is false if
// there is none.
func (r *Record) Second() (fd int32, ok bool) {
	if r.Ret < 0 || r.Details == nil || Syscalls[r.Syscall].Makes != MakesPair {
		return 0, false
	}
	return r.Details.Other, true
}

// Shared is struct shared of record.h, which lies in SharedMap. Both sides write
// it while tracing runs.
type Shared struct {
	Answered    uint64 // a bit for each syscall whose program has answered the handshake
	ReaderWaits uint32 // set by the reader before it sleeps, cleared by the first event
	Tool        uint32 // thread group of the tool, 0 before the handshake
	// VerdictsComplete says that VerdictsMap has every cgroup of the host.
	VerdictsComplete uint32
	Interrupted      uint32 // how many entries InterruptedMap has
	ProcessesLost    uint32 // records of Forked and Executed that found no room
	_                uint32
}

// Verdict is enum verdict of record.h: what the tool knows of a cgroup.
type Verdict uint8

// The values of enum verdict.
const (
	UnknownCgroup Verdict = iota
	Host                  // no container's
	Container             // a container's, but none that was chosen
	Chosen

	// OwnCgroup is or-ed to one of these: it is a container's own cgroup, to which those
	// inside are counted where Config.ByContainer is set.
	OwnCgroup
)

// VerdictSet is struct verdict_set of record.h: a set of the table VerdictsMap, the
// verdicts of the cgroups with this remainder of their ids.
type VerdictSet struct{ Ways [4]uint64 }

// VerdictSets is how many sets the table has, and KnownBits how many bits of a way
// are the verdict and OwnCgroup; above them is the cgroup's id.
const (
	VerdictSets = 32768
	KnownBits   = 3
)

// Counters is struct counters of record.h, which CountersMap holds for each CPU.
type Counters struct {
	Filtered uint64 // calls that a filter left out
	Lost     uint64 // calls whose record found no room in the buffer
	Limited  uint64 // calls over Config.RateInterval
	// Unfollowed is children that found no room in IDsMap, so that nothing that
	// they do is shown.
	Unfollowed uint64
}

// CgroupCounts is struct cgroup_counts of record.h: what was dropped of the calls of a
// container or a part of the host. CgroupCountsMap has it by the id of their cgroup, and
// under 0 that of all that found no room.
type CgroupCounts struct {
	Lost    uint64
	Limited uint64
}

// IDKind is enum id_kind of record.h: what a number in IDsMap is.
type IDKind uint32

// The values of enum id_kind.
const (
	PID IDKind = iota
	TID
	UID
	GID
	Errno
	IDKinds // how many there are
)

// ID is struct id of record.h, a key of IDsMap: one entry of a filter's list.
type ID struct {
	Kind  IDKind
	Value uint32
}

// Listing is enum listing of record.h: what an entry of a filter says of what it
// matches.
type Listing uint8

// The values of enum listing.
const (
	ListingNone Listing = iota // there is no entry
	ListingOnly
	ListingExcept
)

// PrefixMax is how long a path in PathsMap can be, in bytes.
const PrefixMax = 255

// CommPrefix and PathPrefix are struct comm_prefix and struct path_prefix of
// record.h, keys of CommsMap and PathsMap.
type CommPrefix struct {
	Bits uint32
	Comm [16]byte
}

// PathPrefix: see CommPrefix.
type PathPrefix struct {
	Bits uint32
	Path [PrefixMax]byte
}
