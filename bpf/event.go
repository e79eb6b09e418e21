package bpf

import (
	"bytes"
	"errors"
	"net/netip"
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
	// InInitialPIDNS is only told where the host is left out.
	InInitialPIDNS bool
	_              uint8
	comm           [16]byte
	hostname       [64]byte
}

// Target is enum target of event.h: what a call was about.
type Target uint8

// The values of enum target.
const (
	TargetUnknown   Target = iota
	TargetPath             // a path as the caller gave it
	TargetFile             // the absolute path of an open file
	TargetSocket           //
	TargetPipe             //
	TargetAnonymous        // what has a name like [eventfd]
	TargetMemfd            // what has a name like memfd:name
)

// Details is struct details of event.h, which comes behind an Event where it was
// asked for.
type Details struct {
	Latency   uint64 // ns, 0 if not asked for
	Resolve   uint64 // of openat2(2)
	PPID      uint32
	FD        int32  // the call's own: what is closed, connected, or listens; or a dirfd
	LastFD    uint32 // of close_range(2)
	Flags     uint32 // of the call
	Mode      uint32
	FileMode  uint16 // st_mode of the target
	Family    uint16 // AF_*, 0 if there is no socket address
	Target    Target
	Truncated bool // the text is not all of it
	_         uint16
	peer      address
	local     address
	textLen   uint32
}

// address is struct address of event.h.
type address struct {
	ip      [16]byte
	scopeID uint32
	port    uint16
	textLen uint16
}

// Record is an Event and what came with it, where they lie in the buffer.
type Record struct {
	*Event
	// Details is nil where none were asked for.
	Details *Details
	text    []byte
}

// ErrRecord is returned for a record that is none: shorter than it says, or of a
// syscall that Syscalls does not have.
var ErrRecord = errors.New("malformed record in the event buffer")

const (
	eventSize   = int(unsafe.Sizeof(Event{}))
	detailsSize = int(unsafe.Sizeof(Details{}))
	// RecordMax is the size of the longest record, with a path of PATH_MAX.
	RecordMax = eventSize + detailsSize + 4096
)

// View makes r the record at the start of b, without copying it; it is valid for
// as long as b is. b must be aligned to 8 bytes, as records in a BPF ring buffer
// are. It may be longer than the record.
func (r *Record) View(b []byte) error {
	if len(b) < eventSize {
		return ErrRecord
	}
	r.Event = (*Event)(unsafe.Pointer(unsafe.SliceData(b)))
	r.Details, r.text = nil, nil
	if int(r.Syscall) >= len(Syscalls) && (!r.IsCgroupNews() || len(b) < eventSize+detailsSize) {
		return ErrRecord
	}
	if len(b) < eventSize+detailsSize {
		return nil
	}
	d := (*Details)(unsafe.Pointer(unsafe.SliceData(b[eventSize:])))
	text := b[eventSize+detailsSize:]
	if uint64(d.textLen) > uint64(len(text)) || uint32(d.peer.textLen)+uint32(d.local.textLen) > d.textLen {
		return ErrRecord
	}
	r.Details, r.text = d, text[:d.textLen]
	return nil
}

// IsCgroupNews tells that a record is no syscall's, but says that a cgroup of the
// v2 hierarchy was made, or removed if Removed says so. Its id is CgroupID and its
// path Path.
func (e *Event) IsCgroupNews() bool { return e.Syscall >= cgroupMade }

// Removed: see IsCgroupNews.
func (e *Event) Removed() bool { return e.Syscall == cgroupRemoved }

// Comm is the name of the thread, at most 15 bytes that may be anything but 0.
func (e *Event) Comm() []byte { return beforeNUL(e.comm[:]) }

// Hostname is the UTS node name, at most 64 bytes that may be anything but 0.
// It is empty where it was not asked for.
func (e *Event) Hostname() []byte { return beforeNUL(e.hostname[:]) }

// SameCaller tells whether both are of one thread under one name.
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

// Path is what a path or a name the target has; any bytes.
func (r *Record) Path() []byte {
	if r.Details == nil || r.Details.Target == TargetSocket {
		return nil
	}
	return r.text
}

// An Address is one end of a socket.
type Address struct {
	IP   netip.Addr // invalid if it is none of IPv4 or IPv6
	Zone uint32     // of an IPv6 address, 0 if it has none
	Port uint16
	// Unix is the path that a unix socket is bound to, or its abstract name
	// behind a first byte of 0; any bytes.
	Unix []byte
}

// IsZero tells whether there is no address. One without a port is that of a
// socket that was not bound or is not connected.
func (a Address) IsZero() bool { return a.Port == 0 && len(a.Unix) == 0 }

// Peer is the other end: where connect(2) went, who was accepted.
func (r *Record) Peer() Address {
	if r.Details == nil {
		return Address{}
	}
	return r.address(&r.Details.peer, 0)
}

// Local is this end.
func (r *Record) Local() Address {
	if r.Details == nil {
		return Address{}
	}
	return r.address(&r.Details.local, r.Details.peer.textLen)
}

// The address families that have an Address; linux/socket.h.
const (
	familyUnix = 1
	familyIPv4 = 2
	familyIPv6 = 10
)

func (r *Record) address(a *address, textAt uint16) Address {
	switch r.Details.Family {
	case familyIPv4:
		return Address{IP: netip.AddrFrom4([4]byte(a.ip[:4])), Port: a.port}
	case familyIPv6:
		return Address{IP: netip.AddrFrom16(a.ip), Zone: a.scopeID, Port: a.port}
	case familyUnix:
		name := r.text[textAt : textAt+a.textLen]
		if len(name) > 0 && name[0] != 0 {
			name = beforeNUL(name)
		}
		return Address{Unix: name}
	}
	return Address{}
}

// NewFD is the file descriptor that the call made, or -1.
func (r *Record) NewFD() int32 {
	if r.Ret >= 0 && Syscalls[r.Syscall].MakesFD {
		return r.Ret
	}
	return -1
}

// Shared is struct shared of event.h, which lies in SharedMap. Both sides write
// it while tracing runs.
type Shared struct {
	ReaderWaits uint32 // set by the reader before it sleeps, cleared by the first event
	Tool        uint32 // thread group of the tool, 0 before it knocked
	Heard       uint32 // a bit for each syscall whose program heard the knock
	// VerdictsComplete says that VerdictsMap has every cgroup of the host.
	VerdictsComplete uint32
}

// Verdict is enum verdict of event.h: what the tool knows of a cgroup.
type Verdict uint8

// The values of enum verdict.
const (
	UnknownCgroup Verdict = iota
	Host                  // no container's
	Container             // a container's, but none that was chosen
	Chosen
)

// VerdictSet is struct verdict_set of event.h: a set of the table VerdictsMap, the
// verdicts of the cgroups with this remainder of their ids.
type VerdictSet struct{ Ways [4]uint64 }

// VerdictSets is how many sets the table has, and VerdictBits how many bits of a
// way are the verdict; above them is the cgroup's id.
const (
	VerdictSets = 32768
	VerdictBits = 2
)

// The values of enum cgroup_news.
const (
	cgroupMade    = 254
	cgroupRemoved = 255
)

// Counters is struct counters of event.h, which CountersMap holds for each CPU.
type Counters struct {
	Filtered uint64 // calls that a filter left out
	Lost     uint64 // calls whose record found no room in the buffer
}

// IDKind is enum id_kind of event.h: what a number in IDsMap is.
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

// ID is struct id of event.h, a key of IDsMap: one entry of a filter's list.
type ID struct {
	Kind  IDKind
	Value uint32
}

// PrefixMax is how long a path in PathsMap can be, in bytes.
const PrefixMax = 255

// CommPrefix and PathPrefix are struct comm_prefix and struct path_prefix of
// event.h, keys of CommsMap and PathsMap.
type CommPrefix struct {
	Bits uint32
	Comm [16]byte
}

// PathPrefix: see CommPrefix.
type PathPrefix struct {
	Bits uint32
	Path [PrefixMax]byte
}
