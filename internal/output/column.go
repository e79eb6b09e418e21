package output

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/copenclose/copenclose/bpf"
)

// Needs is what must be sent, and found out, for an output.
type Needs struct{ Hostname, Details, Latency, Containers bool }

// facet is what a cell depends on. As long as that is as it was for the event
// before, the cell is, too.
type facet uint8

const (
	ofTime facet = 1 << iota
	ofCaller
	ofContainer
	ofSyscall // and its ABI
	ofResult
	ofCall // anything else, which counts as different each time
)

// A Column is one entry for the header, the rows, and the help of every table.
type Column struct {
	Name  string // as --columns has it; the header is the same in capitals
	About string
	width int
	right bool
	needs Needs
	facet facet
	// append appends the cell. Text of a traced program may have spaces only
	// where no other column can follow.
	append func(b []byte, r *bpf.Record, t *table, last bool) []byte
}

var hostname, details, latency = Needs{Hostname: true}, Needs{Details: true}, Needs{Details: true, Latency: true}

// Columns are those there are.
var Columns = []Column{
	{"time", "when the call returned; see --time", 20, false, Needs{}, ofTime, func(b []byte, r *bpf.Record, t *table, _ bool) []byte {
		return t.clock.append(b, r.Time)
	}},
	{"hostname", "UTS node name, a container's hostname", 16, false, hostname, ofCaller, func(b []byte, r *bpf.Record, _ *table, last bool) []byte {
		return appendText(b, r.Hostname(), last)
	}},
	{"container", "pod/name, name or id of the container, - for the host", 16, false, Needs{Containers: true}, ofContainer, func(b []byte, _ *bpf.Record, t *table, last bool) []byte {
		if t.container == nil {
			return append(b, '-')
		}
		return appendText(b, []byte(t.container.Label), last)
	}},
	{"cgroupid", "cgroup v2 id, the inode number of its directory", 8, true, Needs{}, ofCaller, func(b []byte, r *bpf.Record, _ *table, _ bool) []byte {
		return strconv.AppendUint(b, r.CgroupID, 10)
	}},
	{"pid", "process, in the initial PID namespace", 6, false, Needs{}, ofCaller, func(b []byte, r *bpf.Record, _ *table, _ bool) []byte {
		return strconv.AppendUint(b, uint64(r.PID), 10)
	}},
	{"tid", "thread, in the initial PID namespace", 6, false, Needs{}, ofCaller, func(b []byte, r *bpf.Record, _ *table, _ bool) []byte {
		return strconv.AppendUint(b, uint64(r.TID), 10)
	}},
	{"ppid", "parent process", 6, false, details, ofCall, func(b []byte, r *bpf.Record, _ *table, _ bool) []byte {
		return strconv.AppendUint(b, uint64(r.Details.PPID), 10)
	}},
	{"uid", "user, in the initial user namespace", 6, false, Needs{}, ofCaller, func(b []byte, r *bpf.Record, _ *table, _ bool) []byte {
		return strconv.AppendUint(b, uint64(r.UID), 10)
	}},
	{"gid", "group, in the initial user namespace", 6, false, Needs{}, ofCaller, func(b []byte, r *bpf.Record, _ *table, _ bool) []byte {
		return strconv.AppendUint(b, uint64(r.GID), 10)
	}},
	{"syscall", "system call", 8, false, Needs{}, ofSyscall, func(b []byte, r *bpf.Record, _ *table, _ bool) []byte {
		return append(b, bpf.Syscalls[r.Syscall].Name...)
	}},
	{"comm", "name of the thread", 15, false, Needs{}, ofCaller, func(b []byte, r *bpf.Record, _ *table, last bool) []byte {
		return appendText(b, r.Comm(), last)
	}},
	{"abi", "x86_64 or i386, aarch64 or arm: how the call was made", 7, false, Needs{}, ofSyscall, func(b []byte, r *bpf.Record, _ *table, _ bool) []byte {
		return append(b, abis[r.ABI]...)
	}},
	{"fd", "fd that was opened, closed, connected, or that listens", 4, true, details, ofCall, func(b []byte, r *bpf.Record, _ *table, _ bool) []byte {
		if fd, ok := callFD(r); ok {
			return strconv.AppendInt(b, int64(fd), 10)
		}
		return append(b, '-')
	}},
	{"ret", "what the call returned, or the errno by name", 7, false, Needs{}, ofResult, func(b []byte, r *bpf.Record, _ *table, _ bool) []byte {
		if name := ErrorName(r.Ret); name != "" {
			return append(b, name...)
		}
		return strconv.AppendInt(b, int64(r.Ret), 10)
	}},
	{"lat", "how long the call took, in microseconds; see --latency", 9, true, latency, ofCall, func(b []byte, r *bpf.Record, _ *table, _ bool) []byte {
		if r.Details.Latency == 0 {
			return append(b, '-')
		}
		b = strconv.AppendUint(b, r.Details.Latency/1000, 10)
		return appendFraction(b, int64(r.Details.Latency%1000)*1_000_000, 3)
	}},
	{"detail", "path, or address, of what was opened, closed, connected or accepted", 16, false, details, ofCall, func(b []byte, r *bpf.Record, _ *table, last bool) []byte {
		return appendDetail(b, r, last)
	}},
}

// columns finds columns by name.
func columns(names ...string) (found []Column, err error) {
	for _, name := range names {
		i := slices.IndexFunc(Columns, func(c Column) bool { return c.Name == strings.ToLower(name) })
		if i < 0 {
			return nil, fmt.Errorf("no column %q; --columns help lists them", name)
		}
		found = append(found, Columns[i])
	}
	return found, nil
}

// appendText appends what a traced program chose, or - for nothing, so that a
// column is never empty.
func appendText(b, text []byte, spaces bool) []byte {
	if len(text) == 0 {
		return append(b, '-')
	}
	return appendEscaped(b, text, spaces)
}

// callFD is the fd that a call was about: the new one of an open, the call's own
// else.
func callFD(r *bpf.Record) (fd int32, ok bool) {
	if bpf.Syscalls[r.Syscall].Group == "open" {
		fd = r.NewFD()
		return fd, fd >= 0
	}
	return r.Details.FD, true
}

// appendDetail appends what the call was about: a path, addresses, or what kind
// of thing it is.
func appendDetail(b []byte, r *bpf.Record, spaces bool) []byte {
	switch r.Details.Target {
	case bpf.TargetPath, bpf.TargetFile, bpf.TargetMemfd:
		if b = appendText(b, r.Path(), spaces); r.Details.Truncated {
			b = append(b, "..."...)
		}
		return b
	case bpf.TargetPipe:
		return append(b, "pipe"...)
	case bpf.TargetAnonymous:
		return appendText(b, anonymousName(r), spaces)
	case bpf.TargetSocket:
		return appendEnds(b, r, spaces)
	}
	if bpf.Syscalls[r.Syscall].Name == "close_range" {
		return appendFDRange(b, r.Details)
	}
	return append(b, '-')
}

func appendFDRange(b []byte, d *bpf.Details) []byte {
	b = strconv.AppendUint(b, uint64(uint32(d.FD)), 10)
	b = append(b, '-')
	if d.LastFD == ^uint32(0) {
		return b
	}
	return strconv.AppendUint(b, uint64(d.LastFD), 10)
}

// anonymousName is the name of an anonymous inode, eventfd for [eventfd].
func anonymousName(r *bpf.Record) []byte {
	name := r.Path()
	if n := len(name); n > 2 && name[0] == '[' && name[n-1] == ']' {
		return name[1 : n-1]
	}
	return name
}

// appendEnds appends the ends of a socket: where connect(2) went, who was
// accepted where, and of a closed one this end and the other.
func appendEnds(b []byte, r *bpf.Record, spaces bool) []byte {
	peer, local := r.Peer(), r.Local()
	first, second := peer, local
	switch bpf.Syscalls[r.Syscall].Group {
	case "connect":
		second = bpf.Address{}
	case "close":
		first, second = local, peer
	}
	start := len(b)
	if !first.IsZero() {
		b = appendAddress(b, first, spaces)
	}
	if !second.IsZero() {
		if len(b) > start {
			b = append(b, "->"...)
		}
		b = appendAddress(b, second, spaces)
	}
	if len(b) == start {
		return appendFamily(b, r.Details.Family)
	}
	return b
}

func appendAddress(b []byte, a bpf.Address, spaces bool) []byte {
	switch {
	case a.IP.Is4():
		b = append(a.IP.AppendTo(b), ':')
	case a.IP.IsValid():
		b = append(appendIP(append(b, '['), a), "]:"...)
	default:
		return appendUnix(b, a.Unix, spaces)
	}
	return strconv.AppendUint(b, uint64(a.Port), 10)
}

// appendIP appends an IP address, with the number of its zone if it has one.
func appendIP(b []byte, a bpf.Address) []byte {
	b = a.IP.AppendTo(b)
	if a.Zone != 0 {
		b = strconv.AppendUint(append(b, '%'), uint64(a.Zone), 10)
	}
	return b
}

// appendUnix appends a path, or an abstract name behind an @.
func appendUnix(b, name []byte, spaces bool) []byte {
	if len(name) > 0 && name[0] == 0 {
		b = append(b, '@')
		name = name[1:]
	}
	return appendEscaped(b, name, spaces)
}
