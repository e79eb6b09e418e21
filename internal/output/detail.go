// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/escape"
	"github.com/copenclose/copenclose/internal/names"
)

// detailStyle is how DETAIL says what a call was about.
type detailStyle struct {
	fullPath bool // of opens the file's own path where it is known, not the path as given
	arrows   *arrows
	// short leaves out this end of a socket where the other one is known, and the protocol
	// where it is TCP or of unix sockets, which have paths.
	short bool
}

// arrows stand between this end of a socket and the other one. They point to who was
// called.
type arrows struct{ connect, accept, close string }

var (
	asciiArrows   = &arrows{"->", "<-", "<->"}
	unicodeArrows = &arrows{"→", "←", "↔"}
)

// of returns the arrow for a syscall.
func (a *arrows) of(s bpf.Syscall) string {
	switch {
	case connects(s):
		return a.connect
	case accepts(s):
		return a.accept
	}
	return a.close
}

// append appends what the call was about, and what is remarkable about it. If spaces is
// false, it is one word.
func (s *detailStyle) append(b []byte, r *bpf.Record, spaces bool) []byte {
	start := len(b)
	b = s.appendWords(b, r, spaces)
	if !spaces {
		joinWords(b[start:])
	}
	return b
}

// AppendDetail appends what the call was about in words, as the column DETAIL has it.
func AppendDetail(b []byte, r *bpf.Record) []byte { return plainDetail.append(b, r, true) }

var plainDetail = &detailStyle{arrows: asciiArrows}

// joinWords replaces the spaces between the words of a cell by colons. Text that a
// traced program chose has none where another column follows.
func joinWords(cell []byte) {
	for i, c := range cell {
		if c == ' ' {
			cell[i] = ':'
		}
	}
}

func (s *detailStyle) appendWords(b []byte, r *bpf.Record, spaces bool) []byte {
	d := r.Details
	if d.Target == bpf.TargetUnknown && closesRange(bpf.Syscalls[r.Syscall]) {
		return s.appendClosed(appendFDRange(b, d), r, spaces)
	}
	if bpf.Syscalls[r.Syscall].Event {
		return s.appendEvent(b, r, spaces)
	}
	if d.By != bpf.ClosedByCall {
		return s.appendImplied(b, r, spaces)
	}
	if !saysMore[r.Syscall] {
		b = s.appendTarget(b, r, spaces)
	} else {
		before := len(b)
		if b = appendBefore(b, r); len(b) > before && d.Target == bpf.TargetUnknown && len(r.Given()) == 0 {
			b = b[:len(b)-1]
		} else {
			b = s.appendTarget(b, r, spaces)
		}
		b = appendAfter(b, r)
	}
	if d.Remarks&bpf.FastOpen != 0 {
		b = append(b, " (fast open)"...)
	}
	if d.Remarks&bpf.Outcome != 0 {
		b = appendDuration(append(b, " after "...), d.Latency)
	}
	return appendVia(appendLimit(b, r), r)
}

// appendImplied appends what was closed, or how many more files were, and by what.
func (s *detailStyle) appendImplied(b []byte, r *bpf.Record, spaces bool) []byte {
	if r.HasClosed() {
		b = append(strconv.AppendUint(b, uint64(r.Details.NumClosed), 10), " more"...)
	} else {
		b = s.appendTarget(b, r, spaces)
	}
	return append(append(append(b, " (by "...), closers[r.Details.By]...), ')')
}

// appendVia appends that it was no syscall, the direct descriptor that it was about,
// and that its result is not known.
func appendVia(b []byte, r *bpf.Record) []byte {
	switch {
	case r.Flags&bpf.ViaExec != 0:
		return append(b, " (exec)"...)
	case r.Flags&bpf.ViaIOUring == 0:
		return b
	}
	b = append(b, " (io_uring"...)
	if slot, direct := r.Slot(); direct {
		b = strconv.AppendUint(append(b, " slot "...), uint64(slot), 10)
	}
	if r.Flags&bpf.NoResult != 0 {
		b = append(b, ", result unknown"...)
	}
	return append(b, ')')
}

// saysMore says of each syscall whether there is more to say than what its target is.
var saysMore = func() (is [1 << 8]bool) {
	more := has(bpf.ArgOldFD, bpf.ArgSocket, bpf.ArgFamily, bpf.ArgFDs, bpf.ArgRequest, bpf.ArgEvent, bpf.ArgPID, bpf.ArgSignals)
	for i, s := range bpf.Syscalls {
		is[i] = more(s)
	}
	return is
}()

// appendBefore appends what a call that makes descriptors was given, and a space, as far
// as it goes before what it made.
func appendBefore(b []byte, r *bpf.Record) []byte {
	s, d := bpf.Syscalls[r.Syscall], r.Details
	before := len(b)
	switch {
	case s.Makes == bpf.CopiesOne || s.Makes == bpf.CopiesOnto || s.Makes == bpf.CopiesByCommand:
		b = strconv.AppendInt(b, int64(d.Other), 10)
		if fd, ok := r.FD(); ok {
			b = strconv.AppendInt(append(b, "->"...), int64(fd), 10)
		}
		if d.Remarks&bpf.Replaced != 0 {
			b = append(b, " replaced"...)
		}
	case r.MoreReceived() > 0:
		b = append(strconv.AppendUint(b, uint64(r.MoreReceived()), 10), " more"...)
	case s.Has(bpf.ArgFamily) && r.Socket != nil:
		b = names.AppendFamily(b, r.Socket.Family)
	}
	if len(b) > before {
		b = append(b, ' ')
	}
	return b
}

// appendAfter appends the rest of that.
func appendAfter(b []byte, r *bpf.Record) []byte {
	s, d := bpf.Syscalls[r.Syscall], r.Details
	if fd, ok := r.Second(); ok {
		b = strconv.AppendInt(append(b, " ("...), int64(d.FD), 10)
		b = strconv.AppendInt(append(b, ", "...), int64(fd), 10)
		b = append(b, ')')
	}
	if has(bpf.ArgRequest, bpf.ArgEvent)(s) && s.Makes != bpf.CopiesByCommand {
		b = appendRequest(append(b, ' '), r)
	}
	if s.Has(bpf.ArgSocket) {
		b = strconv.AppendInt(append(b, " (through "...), int64(d.Other), 10)
		b = append(b, ')')
	}
	if s.Has(bpf.ArgPID) {
		b = strconv.AppendInt(append(b, " pid "...), int64(d.Other), 10)
	}
	if s.Has(bpf.ArgSignals) {
		b = names.AppendSignals(append(b, ' '), d.Signals())
	}
	return b
}

// appendLimit appends which limit let a call fail.
func appendLimit(b []byte, r *bpf.Record) []byte {
	open, limit, known := r.Limit()
	switch {
	case known:
		b = strconv.AppendUint(append(b, " (fds "...), uint64(open), 10)
		b = strconv.AppendUint(append(b, " of "...), uint64(limit), 10)
		return append(b, ')')
	case r.Ret == -int32(unix.ENFILE):
		return append(b, " (files of the host)"...)
	}
	return b
}

// appendTarget appends a path, the ends of a socket, or what kind of thing it is.
func (s *detailStyle) appendTarget(b []byte, r *bpf.Record, spaces bool) []byte {
	d, given, name := r.Details, r.Given(), r.Name()
	cut := d.Remarks&bpf.Truncated != 0
	if len(given) > 0 && !(s.fullPath && len(name) > 0) {
		return appendPath(b, given, cut && len(name) == 0, spaces)
	}
	switch d.Target {
	case bpf.TargetFile, bpf.TargetMemfd:
		return appendPath(b, name, cut, spaces)
	case bpf.TargetPipe:
		return append(b, "pipe"...)
	case bpf.TargetAnonymous:
		return appendPath(b, anonymousName(r), false, spaces)
	case bpf.TargetNamespace:
		return appendInode(escape.Append(b, name, spaces), d.Inode)
	case bpf.TargetSocket:
		if r.Socket == nil {
			return append(b, "socket"...)
		}
		return s.appendSocket(b, r, spaces)
	}
	if d.Remarks&bpf.Unreadable != 0 {
		return append(b, '?')
	}
	return append(b, '-')
}

// appendPath appends a path, or - for none, with three dots if it is cut.
func appendPath(b, path []byte, cut, spaces bool) []byte {
	if len(path) == 0 {
		b = append(b, '-')
	}
	if b = escape.Append(b, path, spaces); cut {
		b = append(b, "..."...)
	}
	return b
}

// appendClosed appends the files that a close_range closed, or in one word how many
// there were. Their names have no spaces, so that none passes for two.
func (s *detailStyle) appendClosed(b []byte, r *bpf.Record, spaces bool) []byte {
	n := r.Details.NumClosed
	if n == 0 {
		return b
	}
	if !spaces {
		return append(strconv.AppendUint(append(b, '('), uint64(n), 10), ')')
	}
	as := detailStyle{arrows: s.arrows}
	sep := ": "
	for closed := range r.Closed() {
		b = append(b, sep...)
		b = strconv.AppendInt(b, int64(closed.Details.FD), 10)
		b = as.appendTarget(append(b, ' '), &closed, false)
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

// appendSocket appends the protocol and the ends of a socket: this one, an arrow that
// says who called whom, and the other one. Names there have no spaces, so that none
// passes for what follows.
func (s *detailStyle) appendSocket(b []byte, r *bpf.Record, spaces bool) []byte {
	socket, local := r.Socket, localEnd(r)
	peer, asked := peerAndAsked(r)
	hasLocal, hasPeer := isShown(local), isShown(peer) || socket.PeerPID != 0 && !makesPair(bpf.Syscalls[r.Syscall])
	start := len(b)
	if b = socketOf(socket).AppendProtocol(b); s.short && (string(b[start:]) == "tcp" || bytes.HasPrefix(b[start:], []byte("unix-"))) && (hasLocal || hasPeer) {
		b = b[:start]
	}
	if hasLocal && !(s.short && hasPeer) {
		b = names.AppendAddress(separate(b, start), local)
	}
	if hasPeer {
		if spaces || !hasLocal {
			b = separate(b, start)
		}
		b = append(b, s.arrows.of(bpf.Syscalls[r.Syscall])...)
		if spaces {
			b = append(b, ' ')
		}
		b = appendPeer(b, socket, peer)
	}
	if len(b) == start {
		b = names.AppendFamily(b, socket.Family)
	}
	if isShown(asked) {
		b = names.AppendAddress(append(b, " (asked "...), asked)
		b = append(b, ')')
	}
	return b
}

// separate appends a space, unless b ends at start.
func separate(b []byte, start int) []byte {
	if len(b) == start {
		return b
	}
	return append(b, ' ')
}

// appendPeer appends the address of the other end, and its process where it is known.
func appendPeer(b []byte, s *bpf.Socket, peer bpf.Address) []byte {
	if isShown(peer) {
		b = names.AppendAddress(b, peer)
		if s.PeerPID != 0 {
			b = append(b, ' ')
		}
	}
	if s.PeerPID == 0 {
		return b
	}
	return strconv.AppendUint(append(b, "pid "...), uint64(s.PeerPID), 10)
}

// peerAndAsked returns the other end of a socket, and what was asked for if it is
// another address; the zero Address where there is none to be shown. The peer of a
// connect that the socket has none of is what was asked.
func peerAndAsked(r *bpf.Record) (peer, asked bpf.Address) {
	if peer = r.Peer(); peer.IsZero() {
		peer = bpf.Address{}
	}
	if !connects(bpf.Syscalls[r.Syscall]) {
		return peer, bpf.Address{}
	}
	asked = r.Asked()
	switch {
	case isShown(peer) && !asked.IsZero() && !asked.Equal(peer):
		return peer, asked
	case !isShown(peer) && (asked.IP.IsValid() || !asked.IsZero()):
		peer = asked
	}
	return peer, bpf.Address{}
}

// localEnd returns this end of a socket, the zero Address if there is none to be shown. Of
// a bind that failed it is the one that was asked for.
func localEnd(r *bpf.Record) bpf.Address {
	local := r.Local()
	if binds(bpf.Syscalls[r.Syscall]) && r.Ret < 0 {
		local = r.Asked()
	}
	if local.IsZero() {
		return bpf.Address{}
	}
	return local
}

func isShown(a bpf.Address) bool { return a.IP.IsValid() || a.IsVsock || len(a.Unix) > 0 }

// appendUnixName appends a path, or an @ and an abstract name, as it is.
func appendUnixName(b, name []byte) []byte {
	if len(name) > 0 && name[0] == 0 {
		return append(append(b, '@'), name[1:]...)
	}
	return append(b, name...)
}
