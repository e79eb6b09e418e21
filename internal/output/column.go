// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/escape"
	"github.com/copenclose/copenclose/internal/names"
	"github.com/copenclose/copenclose/internal/stream"
)

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
	needs stream.Needs
	facet facet
	// append appends the cell. Text of a traced program may have spaces only
	// where no other column can follow.
	append func(b []byte, r *bpf.Record, t *table, last bool) []byte
}

var hostname, details, latency = stream.Needs{Hostname: true}, stream.Needs{Details: true}, stream.Needs{Details: true, Latency: true}

// Columns are those there are.
var Columns = []Column{
	{"time", "when the call returned; see --time", 20, false, stream.Needs{}, ofTime, func(b []byte, r *bpf.Record, t *table, _ bool) []byte {
		return t.clock.append(b, r.Time)
	}},
	{"hostname", "UTS node name, a container's hostname", 16, false, hostname, ofCaller, func(b []byte, r *bpf.Record, _ *table, last bool) []byte {
		return appendText(b, r.Hostname(), last)
	}},
	{"container", "pod/name, name or id of the container, - for the host", 16, false, stream.Needs{Containers: true}, ofContainer, func(b []byte, _ *bpf.Record, t *table, last bool) []byte {
		if t.container == nil {
			return append(b, '-')
		}
		return appendText(b, []byte(t.container.Label), last)
	}},
	{"cgroupid", "cgroup v2 id, the inode number of its directory", 8, true, stream.Needs{}, ofCaller, func(b []byte, r *bpf.Record, _ *table, _ bool) []byte {
		return strconv.AppendUint(b, r.CgroupID, 10)
	}},
	{"pid", "process, in the initial PID namespace", 6, false, stream.Needs{}, ofCaller, func(b []byte, r *bpf.Record, _ *table, _ bool) []byte {
		return strconv.AppendUint(b, uint64(r.PID), 10)
	}},
	{"tid", "thread, in the initial PID namespace", 6, false, stream.Needs{}, ofCaller, func(b []byte, r *bpf.Record, _ *table, _ bool) []byte {
		return strconv.AppendUint(b, uint64(r.TID), 10)
	}},
	{"ppid", "parent process", 6, false, details, ofCall, func(b []byte, r *bpf.Record, _ *table, _ bool) []byte {
		return strconv.AppendUint(b, uint64(r.Details.PPID), 10)
	}},
	{"uid", "user, in the initial user namespace", 6, false, stream.Needs{}, ofCaller, func(b []byte, r *bpf.Record, _ *table, _ bool) []byte {
		return strconv.AppendUint(b, uint64(r.UID), 10)
	}},
	{"gid", "group, in the initial user namespace", 6, false, stream.Needs{}, ofCaller, func(b []byte, r *bpf.Record, _ *table, _ bool) []byte {
		return strconv.AppendUint(b, uint64(r.GID), 10)
	}},
	{"syscall", "system call", 8, false, stream.Needs{}, ofSyscall, func(b []byte, r *bpf.Record, _ *table, _ bool) []byte {
		return append(b, bpf.Syscalls[r.Syscall].Name...)
	}},
	{"comm", "name of the thread", 15, false, stream.Needs{}, ofCaller, func(b []byte, r *bpf.Record, _ *table, last bool) []byte {
		return appendText(b, r.Comm(), last)
	}},
	{"abi", "x86_64 or i386, aarch64 or arm: how the call was made", 7, false, stream.Needs{}, ofSyscall, func(b []byte, r *bpf.Record, _ *table, _ bool) []byte {
		return append(b, names.ABIs[r.ABI]...)
	}},
	{"fd", "fd that was opened, closed (also by dup2 and dup3), connected, or that listens", 4, true, details, ofCall, func(b []byte, r *bpf.Record, _ *table, _ bool) []byte {
		if fd, ok := r.FD(); ok {
			return strconv.AppendInt(b, int64(fd), 10)
		}
		return append(b, '-')
	}},
	{"ret", "what the call returned, or the errno by name", 7, false, stream.Needs{}, ofResult, func(b []byte, r *bpf.Record, _ *table, _ bool) []byte {
		if name := names.Error(r.Ret); name != "" {
			return append(b, name...)
		}
		return strconv.AppendInt(b, int64(r.Ret), 10)
	}},
	{"lat", "how long the call took, in microseconds; see --latency", 9, true, latency, ofCall, func(b []byte, r *bpf.Record, _ *table, _ bool) []byte {
		if r.Details.Latency == 0 {
			return append(b, '-')
		}
		return appendIn(b, r.Details.Latency, time.Microsecond)
	}},
	{"detail", "path, or protocol and addresses, of what was opened, closed, connected or accepted", 16, false, details, ofCall, func(b []byte, r *bpf.Record, t *table, last bool) []byte {
		start := len(b)
		b = appendDetail(b, r, t.fullPath, last)
		if !last {
			joinWords(b[start:])
		}
		return b
	}},
}

// columns finds columns by name.
func columns(wanted ...string) (found []Column, err error) {
	for _, name := range wanted {
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
	return escape.Append(b, text, spaces)
}

// joinWords replaces the spaces between the words of a cell. Text of a traced program
// has none where another column follows.
func joinWords(cell []byte) {
	for i, c := range cell {
		if c == ' ' {
			cell[i] = ':'
		}
	}
}

// appendDetail appends what the call was about, and what is remarkable about it.
func appendDetail(b []byte, r *bpf.Record, fullPath, spaces bool) []byte {
	d := r.Details
	if d.Target == bpf.TargetUnknown && bpf.Syscalls[r.Syscall].Name == "close_range" {
		return appendClosed(appendFDRange(b, d), r, spaces)
	}
	b = appendTarget(b, r, fullPath, spaces)
	if d.Remarks&bpf.FastOpen != 0 {
		b = append(b, " (fast open)"...)
	}
	if d.Remarks&bpf.Outcome != 0 {
		b = appendDuration(append(b, " after "...), d.Latency)
	}
	return b
}

// appendTarget appends what the call was about: a path, addresses, or what kind of
// thing it is.
func appendTarget(b []byte, r *bpf.Record, fullPath, spaces bool) []byte {
	d, given, name := r.Details, r.Given(), r.Name()
	cut := d.Remarks&bpf.Truncated != 0
	if len(given) > 0 && !(fullPath && len(name) > 0) {
		return appendPath(b, given, cut && len(name) == 0, spaces)
	}
	switch d.Target {
	case bpf.TargetFile, bpf.TargetMemfd:
		return appendPath(b, name, cut, spaces)
	case bpf.TargetPipe:
		return append(b, "pipe"...)
	case bpf.TargetAnonymous:
		return appendText(b, anonymousName(r), spaces)
	case bpf.TargetNamespace:
		return appendInode(escape.Append(b, name, spaces), d.Inode)
	case bpf.TargetSocket:
		if r.Socket == nil {
			return append(b, "socket"...)
		}
		return appendSocket(b, r)
	}
	if d.Remarks&bpf.Unreadable != 0 {
		return append(b, '?')
	}
	return append(b, '-')
}

// appendPath appends a path, with three dots if it is cut.
func appendPath(b, path []byte, cut, spaces bool) []byte {
	if b = appendText(b, path, spaces); cut {
		b = append(b, "..."...)
	}
	return b
}

// appendInode appends the number of a namespace as it is behind its kind.
func appendInode(b []byte, inode uint64) []byte {
	return append(strconv.AppendUint(append(b, ":["...), inode, 10), ']')
}

// appendClosed appends the files that a close_range closed, or in one word how many
// there were. Their names have no spaces, so that none passes for two.
func appendClosed(b []byte, r *bpf.Record, spaces bool) []byte {
	n := r.Details.NumClosed
	if n == 0 {
		return b
	}
	if !spaces {
		return append(strconv.AppendUint(append(b, '('), uint64(n), 10), ')')
	}
	sep := ": "
	for closed := range r.Closed() {
		b = append(b, sep...)
		b = strconv.AppendInt(b, int64(closed.Details.FD), 10)
		b = appendTarget(append(b, ' '), &closed, false, false)
		sep = ", "
		n--
	}
	if n > 0 {
		b = strconv.AppendUint(append(b, sep...), uint64(n), 10)
		b = append(b, " more"...)
	}
	return b
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
	name := r.Name()
	if n := len(name); n > 2 && name[0] == '[' && name[n-1] == ']' {
		return name[1 : n-1]
	}
	return name
}

// ends are the addresses of a socket that are to be shown; the others are the zero
// Address. The peer of a connect that the socket has none of is what was asked; else
// asked is what was asked for if it is another address.
func ends(r *bpf.Record) (peer, local, asked bpf.Address) {
	if peer = r.Peer(); peer.IsZero() {
		peer = bpf.Address{}
	}
	if local = r.Local(); local.IsZero() {
		local = bpf.Address{}
	}
	if bpf.Syscalls[r.Syscall].Group != "connect" {
		return peer, local, asked
	}
	asked = r.Asked()
	switch {
	case isShown(peer) && !asked.IsZero() && !asked.Equal(peer):
		return peer, local, asked
	case !isShown(peer) && (asked.IP.IsValid() || !asked.IsZero()):
		peer = asked
	}
	return peer, local, bpf.Address{}
}

func isShown(a bpf.Address) bool { return a.IP.IsValid() || a.IsVsock || len(a.Unix) > 0 }

// appendSocket appends the protocol and the ends of a socket: who was accepted where,
// and of another one this end and the other. Names there have no spaces, so that none
// passes for what follows.
func appendSocket(b []byte, r *bpf.Record) []byte {
	s := r.Socket
	peer, local, asked := ends(r)
	from, to := local, peer
	if bpf.Syscalls[r.Syscall].Group == "accept" {
		from, to = peer, local
	}
	start := len(b)
	b = socketOf(s).AppendProtocol(b)
	switch hasFrom, hasTo := isShown(from), isShown(to); {
	case hasFrom || hasTo:
		if len(b) > start {
			b = append(b, ' ')
		}
		if hasFrom {
			b = appendAddress(b, from)
		}
		if hasFrom && hasTo {
			b = append(b, "->"...)
		}
		if hasTo {
			b = appendAddress(b, to)
		}
	case len(b) == start:
		b = names.AppendFamily(b, s.Family)
	}
	if s.PeerPID != 0 {
		b = strconv.AppendUint(append(b, " pid "...), uint64(s.PeerPID), 10)
	}
	if isShown(asked) {
		b = appendAddress(append(b, " (asked "...), asked)
		b = append(b, ')')
	}
	return b
}

func appendAddress(b []byte, a bpf.Address) []byte {
	switch {
	case a.IsVsock:
		b = append(strconv.AppendUint(b, uint64(a.CID), 10), ':')
	case a.IP.Is4():
		b = append(a.IP.AppendTo(b), ':')
	case a.IP.IsValid():
		b = append(appendIP(append(b, '['), a), "]:"...)
	default:
		return appendUnix(b, a.Unix)
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
func appendUnix(b, name []byte) []byte {
	if len(name) > 0 && name[0] == 0 {
		b = append(b, '@')
		name = name[1:]
	}
	return escape.Append(b, name, false)
}
