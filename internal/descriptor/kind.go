// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"bytes"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/escape"
	"github.com/copenclose/copenclose/internal/names"
)

// Kinds that more than one kind of descriptor is.
const (
	anySocket    = "socket"
	anyAnonymous = "anon"
)

// fileKinds are the kinds of what has a path, by the type in st_mode.
var fileKinds = map[uint16]string{
	unix.S_IFREG:  "file",
	unix.S_IFDIR:  "directory",
	unix.S_IFCHR:  "device",
	unix.S_IFBLK:  "device",
	unix.S_IFIFO:  "fifo",
	unix.S_IFLNK:  "symlink", // with O_PATH only
	unix.S_IFSOCK: "path",    // the same: of a unix socket's name, no socket
}

// Kind is one word for what the descriptor is of: file, directory, device, fifo, pipe,
// memfd, namespace; the protocol of a socket, like tcp, udp, unix or netlink; or the
// name of an anonymous inode, like eventfd, epoll or inotify.
func (d *Descriptor) Kind() string {
	if d.kind == "" {
		d.kind = d.findKind()
	}
	return d.kind
}

func (d *Descriptor) findKind() string {
	switch d.Of.Details.Target {
	case bpf.TargetFile:
		if kind := fileKinds[d.Of.Details.FileMode&unix.S_IFMT]; kind != "" {
			return kind
		}
		return "file"
	case bpf.TargetSocket:
		return d.socketKind()
	case bpf.TargetPipe:
		return "pipe"
	case bpf.TargetMemfd:
		return "memfd"
	case bpf.TargetNamespace:
		return "namespace"
	case bpf.TargetAnonymous:
		return anonymousKind(d.Of.Name())
	}
	return "unknown"
}

// socketKind returns the protocol without what makes it finer, like unix of
// unix-stream; of a socket without a known protocol it is the family.
func (d *Descriptor) socketKind() string {
	var b [64]byte
	name := d.appendProtocol(b[:0])
	if len(name) == 0 {
		name = bytes.TrimPrefix(names.AppendFamily(name, d.family()), []byte("AF_"))
		return strings.ToLower(string(name))
	}
	kind, _, _ := bytes.Cut(name, []byte("-"))
	return string(kind)
}

func (d *Descriptor) appendProtocol(b []byte) []byte {
	return names.Socket{Family: d.family(), Type: d.socketType(), Protocol: d.protocol()}.AppendProtocol(b)
}

// The socket's own, 0 of what is no socket.

func (d *Descriptor) family() uint16 {
	if d.Of.Socket == nil {
		return 0
	}
	return d.Of.Socket.Family
}

func (d *Descriptor) socketType() uint8 {
	if d.Of.Socket == nil {
		return 0
	}
	return d.Of.Socket.Type
}

func (d *Descriptor) protocol() uint16 {
	if d.Of.Socket == nil {
		return 0
	}
	return d.Of.Socket.Protocol
}

// anonymousKind returns the name of an anonymous inode without its brackets.
func anonymousKind(name []byte) string {
	switch kind := string(bytes.Trim(name, "[]")); kind {
	case "eventpoll":
		return "epoll"
	case "":
		return anyAnonymous
	default:
		return kind
	}
}

// IsKind reports whether the descriptor is of the kind that word names: Kind's own, or
// socket or anon for all that are one.
func (d *Descriptor) IsKind(word string) bool {
	switch word {
	case anySocket:
		return d.Of.Details.Target == bpf.TargetSocket
	case anyAnonymous:
		return d.Of.Details.Target == bpf.TargetAnonymous
	}
	return d.Kind() == word
}

// states are the states of TCP sockets as netstat(8) calls them;
// include/net/tcp_states.h.
var states = [...]string{
	1:  "ESTABLISHED",
	2:  "SYN_SENT",
	3:  "SYN_RECV",
	4:  "FIN_WAIT1",
	5:  "FIN_WAIT2",
	6:  "TIME_WAIT",
	7:  "CLOSE",
	8:  "CLOSE_WAIT",
	9:  "LAST_ACK",
	10: "LISTEN",
	11: "CLOSING",
	12: "NEW-SYN_RECV",
	13: "BOUND_INACTIVE",
}

const (
	stateEstablished = 1
	stateListen      = 10
)

// StateNames are the names that State returns.
func StateNames() []string { return states[1:] }

// State is the state of a socket that has connections, like CLOSE_WAIT; "" if it is
// none.
func (d *Descriptor) State() string {
	if d.socketType() != unix.SOCK_STREAM || int(d.DescriptorRow.State) >= len(states) {
		return ""
	}
	return states[d.DescriptorRow.State]
}

// Access is r, w or rw, or - for a descriptor that can do neither (O_PATH).
func (d *Descriptor) Access() string {
	switch {
	case d.OpenFlags&unix.O_PATH != 0:
		return "-"
	case d.OpenFlags&unix.O_ACCMODE == unix.O_RDONLY:
		return "r"
	case d.OpenFlags&unix.O_ACCMODE == unix.O_WRONLY:
		return "w"
	}
	return "rw"
}

// Target is what the descriptor is of: a path, the ends of a socket, the number of a
// pipe, the name of an anonymous inode. It is escaped, see package escape.
func (d *Descriptor) Target() string {
	var buffer [128]byte
	b := buffer[:0]
	switch d.Of.Details.Target {
	case bpf.TargetSocket:
		b = d.appendEnds(b)
	case bpf.TargetPipe:
		b = appendInode(append(b, "pipe"...), d.Inode)
	case bpf.TargetNamespace:
		b = appendInode(escape.Append(b, d.Of.Name(), true), d.Inode)
	default:
		b = d.appendName(b)
	}
	return string(b)
}

func appendInode(b []byte, inode uint64) []byte {
	return append(strconv.AppendUint(append(b, ":["...), inode, 10), ']')
}

// deletedMark follows the path that a deleted file had, as in /proc/PID/fd.
const deletedMark = " (deleted)"

// appendName appends the name of a file. A path that was cut begins with three dots.
func (d *Descriptor) appendName(b []byte) []byte {
	if d.Of.Details.Remarks&bpf.Truncated != 0 {
		b = append(b, "..."...)
	}
	b = escape.Append(b, d.Of.Name(), true)
	if d.IsDeleted {
		b = append(b, deletedMark...)
	}
	return b
}

// ends are the addresses of a socket, the zero Address where there is none.
func (d *Descriptor) ends() (local, peer bpf.Address) {
	if local = d.Of.Local(); local.IsZero() {
		local = bpf.Address{}
	}
	if peer = d.Of.Peer(); peer.IsZero() || d.DescriptorRow.State == stateListen {
		peer = bpf.Address{}
	}
	return local, peer
}

func isShown(a bpf.Address) bool { return a.IP.IsValid() || a.IsVsock || len(a.Unix) > 0 }

func (d *Descriptor) appendEnds(b []byte) []byte {
	local, peer := d.ends()
	if isShown(local) {
		b = names.AppendAddress(b, local)
	}
	if isShown(peer) {
		b = names.AppendAddress(append(b, "->"...), peer)
	}
	if len(b) == 0 {
		b = d.appendProtocol(b)
	}
	if len(b) == 0 {
		b = names.AppendFamily(b, d.family())
	}
	return b
}
