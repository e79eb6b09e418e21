// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package names

import (
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Flags are names of bits. Where one's bits include another's, it goes first.
type Flags []flag

type flag struct {
	bits uint64
	name string
}

// Append appends the names of the bits in value, and what has no name as a number,
// with a | between them.
func (f Flags) Append(b []byte, value uint64) []byte {
	start := len(b)
	for _, s := range f {
		if value&s.bits == s.bits {
			b = append(append(b, s.name...), '|')
			value &^= s.bits
		}
	}
	if value != 0 || len(b) == start {
		b = append(b, "0x"...)
		return strconv.AppendUint(b, value, 16)
	}
	return b[:len(b)-1]
}

var accessModes = [...]string{"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"}

// openFlags are those of open(2) but the access mode; x/sys/unix has the numbers
// of this architecture.
var openFlags = Flags{
	{unix.O_CREAT, "O_CREAT"},
	{unix.O_EXCL, "O_EXCL"},
	{unix.O_NOCTTY, "O_NOCTTY"},
	{unix.O_TRUNC, "O_TRUNC"},
	{unix.O_APPEND, "O_APPEND"},
	{unix.O_NONBLOCK, "O_NONBLOCK"},
	{unix.O_SYNC, "O_SYNC"},
	{unix.O_DSYNC, "O_DSYNC"},
	{unix.O_ASYNC, "O_ASYNC"},
	{unix.O_DIRECT, "O_DIRECT"},
	{largeFile(), "O_LARGEFILE"},
	{unix.O_TMPFILE, "O_TMPFILE"},
	{unix.O_DIRECTORY, "O_DIRECTORY"},
	{unix.O_NOFOLLOW, "O_NOFOLLOW"},
	{unix.O_NOATIME, "O_NOATIME"},
	{unix.O_CLOEXEC, "O_CLOEXEC"},
	{unix.O_PATH, "O_PATH"},
}

// largeFile is O_LARGEFILE as 32-bit programs pass it; for 64-bit ones libc and
// x/sys/unix have it as 0. asm-generic/fcntl.h, arch/arm64/include/uapi/asm/fcntl.h.
func largeFile() uint64 {
	if runtime.GOARCH == "arm64" {
		return 0o400000
	}
	return 0o100000
}

// AppendOpenFlags appends the names of open(2)'s flags, the access mode first.
func AppendOpenFlags(b []byte, flags uint32) []byte {
	b = append(b, accessModes[flags&unix.O_ACCMODE]...)
	if flags &^= unix.O_ACCMODE; flags == 0 {
		return b
	}
	return openFlags.Append(append(b, '|'), uint64(flags))
}

// HasMode reports whether a call of open(2) with these flags reads its mode.
func HasMode(flags uint32) bool {
	return flags&unix.O_CREAT != 0 || flags&unix.O_TMPFILE == unix.O_TMPFILE
}

// The flags of accept4(2), dup3(2), close_range(2), and openat2(2)'s resolve.
var (
	AcceptFlags     = Flags{{unix.SOCK_CLOEXEC, "SOCK_CLOEXEC"}, {unix.SOCK_NONBLOCK, "SOCK_NONBLOCK"}}
	Dup3Flags       = Flags{{unix.O_CLOEXEC, "O_CLOEXEC"}}
	CloseRangeFlags = Flags{{unix.CLOSE_RANGE_UNSHARE, "CLOSE_RANGE_UNSHARE"}, {unix.CLOSE_RANGE_CLOEXEC, "CLOSE_RANGE_CLOEXEC"}}
	ResolveFlags    = Flags{
		{unix.RESOLVE_NO_XDEV, "RESOLVE_NO_XDEV"},
		{unix.RESOLVE_NO_MAGICLINKS, "RESOLVE_NO_MAGICLINKS"},
		{unix.RESOLVE_NO_SYMLINKS, "RESOLVE_NO_SYMLINKS"},
		{unix.RESOLVE_BENEATH, "RESOLVE_BENEATH"},
		{unix.RESOLVE_IN_ROOT, "RESOLVE_IN_ROOT"},
		{0x20, "RESOLVE_CACHED"},
	}
)
