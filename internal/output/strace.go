// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"bytes"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/escape"
	"github.com/copenclose/copenclose/internal/names"
	"github.com/copenclose/copenclose/internal/stream"
)

var straceFormat = registered{
	name: "strace", about: "calls as strace -f -ttt -T -yy -o FILE writes them, for what reads that; on a terminal after [container] comm[pid]",
	takes:  []string{"latency"},
	format: newStrace,
}

// strace is a format: a line is a call as strace(1) writes it, with the thread, the time
// when it began, and how long it took. What is no call, like the outcome of a connect
// that had returned, is a line that readers skip as they skip exits.
type strace struct {
	clock     *clock
	forPeople bool // who instead of the thread and the time
}

func newStrace(o *Options) (format, stream.Needs) {
	lines := Options{Time: Unix, zone: o.zone, realtimeOffset: o.realtimeOffset}
	s := &strace{clock: newClock(&lines, Microseconds), forPeople: o.Screen != nil}
	return s, stream.Needs{Details: true, Latency: true, Containers: s.forPeople}
}

func (s *strace) header(b []byte) []byte { return b }

func (s *strace) longest() int { return textMax + shortMax }

func (s *strace) begin(b []byte) []byte {
	s.clock.adjust()
	return b
}

func (s *strace) event(b []byte, e *stream.Event) []byte {
	b = s.appendWho(b, e)
	if e.Details.Remarks&bpf.Outcome != 0 {
		b = strconv.AppendInt(append(b, "+++ connect of "...), int64(e.Details.FD), 10)
		b = appendSockets(b, e.Record)
		b = appendResult(append(b, " returned "...), e.Ret)
		return append(b, " +++\n"...)
	}
	switch s := bpf.Syscalls[e.Syscall]; {
	case e.Flags&bpf.ViaExec != 0:
		return appendOpened(b, e.Record)
	case e.Details.By != bpf.ClosedByCall:
		return appendImplied(b, e.Record)
	case e.Details.Remarks&bpf.Further != 0:
		return append(appendReceived(append(b, "+++ received "...), e.Record), " +++\n"...)
	case executes(s):
		return appendExec(b, e.Record)
	case exits(s):
		return appendExit(b, e.Record)
	}
	b = appendCall(b, e.Record)
	if b = append(b, " = "...); e.Flags&bpf.NoResult != 0 {
		b = append(b, '?')
	} else {
		b = appendResult(b, e.Ret)
	}
	if e.Details.Latency > 0 {
		b = strconv.AppendUint(append(b, " <"...), e.Details.Latency/uint64(time.Second), 10)
		b = append(appendFraction(b, int64(e.Details.Latency%uint64(time.Second)), Microseconds.digits()), '>')
	}
	return append(b, '\n')
}

// appendImplied appends what was closed by no call, as a line that readers skip.
func appendImplied(b []byte, r *bpf.Record) []byte {
	b = append(b, "+++ closed "...)
	if r.HasClosed() {
		b = append(strconv.AppendUint(b, uint64(r.Details.NumClosed), 10), " more"...)
	} else {
		b = appendTargetOf(strconv.AppendInt(b, int64(r.Details.FD), 10), r)
	}
	return append(append(append(b, " by "...), closers[r.Details.By]...), " +++\n"...)
}

// appendOpened appends what execve opened by itself, as a line that readers skip.
func appendOpened(b []byte, r *bpf.Record) []byte {
	b = append(b, "+++ opened "...)
	if len(r.Given()) > 0 {
		b = appendGiven(b, r)
	} else {
		b = append(escape.AppendC(append(b, '"'), r.Name(), ""), '"')
	}
	return append(b, " by exec +++\n"...)
}

// appendWho appends the thread and the time when the call began, or for people the
// container, the name of the thread, and the process.
func (s *strace) appendWho(b []byte, e *stream.Event) []byte {
	if !s.forPeople {
		b = append(strconv.AppendUint(b, uint64(e.TID), 10), ' ')
		return append(s.clock.append(b, e.Time-e.Details.Latency), ' ')
	}
	if e.Container != nil {
		b = append(appendText(append(b, '['), textOf(e.Container.Label), false), "] "...)
	}
	b = append(escape.Append(b, e.Comm(), false), '[')
	return append(strconv.AppendUint(b, uint64(e.PID), 10), "] "...)
}

// appendResult appends what a call returned.
func appendResult(b []byte, ret int32) []byte {
	name, message := names.Error(ret), names.Message(ret)
	switch {
	case name == "":
		return strconv.AppendInt(b, int64(ret), 10)
	case message == "": // what only a tracer sees
		return append(append(b, "? "...), name...)
	}
	b = append(append(append(b, "-1 "...), name...), " ("...)
	return append(append(b, message...), ')')
}

// appendCall appends a call and its arguments.
func appendCall(b []byte, r *bpf.Record) []byte {
	s := &bpf.Syscalls[r.Syscall]
	b = append(append(b, s.Name...), '(')
	start := len(b)
	for i, role := range s.Arguments {
		before := len(b)
		switch {
		case role != bpf.Unused:
			b = appendArgument(b, s, r, role)
		case i == 0 && s.Arguments != bpf.Arguments{}: // one that is not recorded
			b = append(b, '?')
		}
		if len(b) > before {
			b = append(b, ", "...)
		}
	}
	if len(b) > start {
		b = b[:len(b)-len(", ")]
	}
	return append(b, ')')
}

// appendArgument appends an argument, or nothing if the call does not have it.
func appendArgument(b []byte, s *bpf.Syscall, r *bpf.Record, role bpf.Role) []byte {
	d := r.Details
	switch role {
	case bpf.ArgFD:
		b = strconv.AppendInt(b, int64(d.FD), 10)
		if s.Closes {
			b = appendTargetOf(b, r)
		}
		if accepts(*s) {
			b = appendSockaddr(append(b, ", "...), r, r.Peer(), "[", "]")
		}
		return b
	case bpf.ArgMessages:
		return append(appendReceived(append(b, "{msg_control=[{cmsg_data=["...), r), "]}]}"...)
	case bpf.ArgOldFD, bpf.ArgSocket, bpf.ArgPID:
		return strconv.AppendInt(b, int64(d.Other), 10)
	case bpf.ArgPIDFD, bpf.ArgValue:
		return strconv.AppendInt(b, int64(int32(d.Mode)), 10)
	case bpf.ArgFDs:
		second, ok := r.Second()
		if !ok {
			return append(b, '?')
		}
		b = strconv.AppendInt(append(b, '['), int64(d.FD), 10)
		return append(strconv.AppendInt(append(b, ", "...), int64(second), 10), ']')
	case bpf.ArgFamily, bpf.ArgType, bpf.ArgProtocol:
		return appendSocketArgument(b, r, role)
	case bpf.ArgRequest:
		return appendRequest(b, r)
	case bpf.ArgEvent:
		return append(appendRequest(append(b, "{type="...), r), ", ...}"...)
	case bpf.ArgRing:
		return append(appendFlagsOr0(append(b, "{flags="...), r), ", ...}"...)
	case bpf.ArgSignals:
		return append(names.AppendSignals(append(b, '['), d.Signals()), ']')
	case bpf.ArgDirFD:
		if d.FD == unix.AT_FDCWD {
			return append(b, "AT_FDCWD"...)
		}
		return strconv.AppendInt(b, int64(d.FD), 10)
	case bpf.ArgLastFD:
		return strconv.AppendUint(b, uint64(d.LastFD), 10)
	case bpf.ArgPath, bpf.ArgName:
		return appendGiven(b, r)
	case bpf.ArgFlags:
		return appendFlagsOr0(b, r)
	case bpf.ArgMode:
		if !names.HasMode(d.Flags) {
			return b
		}
		return appendMode(b, d.Mode)
	case bpf.ArgHow:
		return appendHow(b, d)
	case bpf.ArgOwnAddress:
		return appendSockaddr(b, r, localEnd(r), "", "")
	case bpf.ArgAddress: // and its length
		asked := r.Asked()
		if !isShown(asked) {
			asked = r.Peer()
		}
		return appendSockaddr(b, r, asked, "", "")
	}
	return b
}

// appendReceived appends a descriptor that a call received, or how many more.
func appendReceived(b []byte, r *bpf.Record) []byte {
	if n := r.MoreReceived(); n > 0 {
		return append(strconv.AppendUint(b, uint64(n), 10), " more"...)
	}
	return appendTargetOf(strconv.AppendInt(b, int64(r.Details.FD), 10), r)
}

// appendSocketArgument appends an argument of socket(2), as the kernel has it.
func appendSocketArgument(b []byte, r *bpf.Record, role bpf.Role) []byte {
	if r.Socket == nil {
		return append(b, '?')
	}
	switch role {
	case bpf.ArgFamily:
		return names.AppendFamily(b, r.Socket.Family)
	case bpf.ArgType:
		b = names.AppendSocketType(b, r.Socket.Type)
		if r.Details.Flags != 0 {
			b = appendFlags(append(b, '|'), r)
		}
		return b
	}
	return strconv.AppendUint(b, uint64(r.Socket.Protocol), 10)
}

// appendGiven appends the path that a call was given, with three dots if it is cut.
func appendGiven(b []byte, r *bpf.Record) []byte {
	if r.Details.Remarks&bpf.Unreadable != 0 {
		return append(b, '?')
	}
	b = append(escape.AppendC(append(b, '"'), r.Given(), ""), '"')
	if r.Details.Remarks&bpf.Truncated != 0 && len(r.Name()) == 0 {
		b = append(b, "..."...)
	}
	return b
}

func appendFlagsOr0(b []byte, r *bpf.Record) []byte {
	before := len(b)
	if b = appendFlags(b, r); len(b) == before {
		return append(b, '0')
	}
	return b
}

// sizeOfHow is the size of struct open_how; linux/openat2.h.
const sizeOfHow = 24

func appendHow(b []byte, d *bpf.Details) []byte {
	b = names.AppendOpenFlags(append(b, "{flags="...), d.Flags)
	if names.HasMode(d.Flags) {
		b = appendMode(append(b, ", mode="...), d.Mode)
	}
	b = append(b, ", resolve="...)
	if d.Resolve() == 0 {
		b = append(b, '0')
	} else {
		b = names.ResolveFlags.Append(b, d.Resolve())
	}
	return strconv.AppendInt(append(b, "}, "...), sizeOfHow, 10)
}

// The sizes of struct sockaddr_in, sockaddr_in6, sockaddr_vm, and of sockaddr_un before
// its path; ip(7), ipv6(7), vsock(7), unix(7).
const (
	sizeOfIPv4  = 16
	sizeOfIPv6  = 28
	sizeOfVsock = 16
	sizeOfUnix  = 2
)

// appendSockaddr appends an address as C has it, and its length between open and end.
func appendSockaddr(b []byte, r *bpf.Record, a bpf.Address, open, end string) []byte {
	if r.Socket == nil || r.Ret < 0 && !isShown(a) {
		return append(b, "?, ?"...)
	}
	size := sizeOfUnix
	b = names.AppendFamily(append(b, "{sa_family="...), r.Socket.Family)
	switch {
	case a.IsVsock:
		b = strconv.AppendUint(append(b, ", svm_cid="...), uint64(a.CID), 10)
		b = strconv.AppendUint(append(b, ", svm_port="...), uint64(a.Port), 10)
		size = sizeOfVsock
	case a.IP.Is4():
		b = strconv.AppendUint(append(b, ", sin_port=htons("...), uint64(a.Port), 10)
		b = append(a.IP.AppendTo(append(b, `), sin_addr=inet_addr("`...)), `")`...)
		size = sizeOfIPv4
	case a.IP.IsValid():
		b = strconv.AppendUint(append(b, ", sin6_port=htons("...), uint64(a.Port), 10)
		b = a.IP.AppendTo(append(b, `), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "`...))
		b = strconv.AppendUint(append(b, `", &sin6_addr), sin6_scope_id=`...), uint64(a.Zone), 10)
		size = sizeOfIPv6
	case len(a.Unix) > 0:
		b = appendSunPath(append(b, ", sun_path="...), a.Unix)
		size += len(a.Unix)
		if a.Unix[0] != 0 {
			size++ // its NUL
		}
	}
	b = append(append(b, "}, "...), open...)
	return append(strconv.AppendInt(b, int64(size), 10), end...)
}

// appendSunPath appends a path, or an @ and an abstract name.
func appendSunPath(b, path []byte) []byte {
	if path[0] == 0 {
		b, path = append(b, '@'), path[1:]
	}
	return append(escape.AppendC(append(b, '"'), path, ""), '"')
}

// appendTargetOf appends what a file descriptor stands for, as -yy has it, if it is
// known.
func appendTargetOf(b []byte, r *bpf.Record) []byte {
	switch r.Details.Target {
	case bpf.TargetFile, bpf.TargetMemfd:
		b = escape.AppendC(append(b, '<'), r.Name(), "<>")
	case bpf.TargetPipe:
		b = append(b, "<pipe"...)
	case bpf.TargetAnonymous:
		b = escape.AppendC(append(b, "<anon_inode:"...), r.Name(), "<>")
	case bpf.TargetNamespace:
		b = appendInode(escape.AppendC(append(b, '<'), r.Name(), "<>"), r.Details.Inode)
	case bpf.TargetSocket:
		return appendSockets(b, r)
	default:
		return b
	}
	return append(b, '>')
}

// appendSockets appends the ends of a socket, as -yy has them.
func appendSockets(b []byte, r *bpf.Record) []byte {
	if r.Socket == nil {
		return append(b, "<socket>"...)
	}
	b = append(b, '<')
	start := len(b)
	if b = socketOf(r.Socket).AppendProtocol(b); len(b) == start {
		b = names.AppendFamily(b, r.Socket.Family)
	}
	for i, c := range b[start:] {
		if c >= 'a' && c <= 'z' {
			b[start+i] = c - 'a' + 'A'
		}
	}
	if r.Socket.Family == unix.AF_INET6 && !bytes.HasSuffix(b, []byte("V6")) {
		b = append(b, "v6"...)
	}
	peer, _ := peerAndAsked(r)
	if local := localEnd(r); isShown(local) || isShown(peer) {
		b = appendEnd(append(b, ":["...), local)
		if isShown(peer) {
			b = appendEnd(append(b, "->"...), peer)
		}
		b = append(b, ']')
	}
	return append(b, '>')
}

func appendEnd(b []byte, a bpf.Address) []byte {
	switch {
	case a.IP.Is6(): // also one that is mapped, unlike in tables
		b = append(a.IP.AppendTo(append(b, '[')), "]:"...)
	case a.IP.IsValid():
		b = append(a.IP.AppendTo(b), ':')
	case a.IsVsock:
		b = append(strconv.AppendUint(b, uint64(a.CID), 10), ':')
	case len(a.Unix) > 0:
		return appendSunPath(b, a.Unix)
	default:
		return b
	}
	return strconv.AppendUint(b, uint64(a.Port), 10)
}
