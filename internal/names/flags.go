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

// CallFlags are the flags of the syscalls that have some other than those of open(2).
var CallFlags = map[string]Flags{
	"accept4":        socketFlags,
	"socket":         socketFlags,
	"socketpair":     socketFlags,
	"close_range":    {{unix.CLOSE_RANGE_UNSHARE, "CLOSE_RANGE_UNSHARE"}, {unix.CLOSE_RANGE_CLOEXEC, "CLOSE_RANGE_CLOEXEC"}},
	"dup3":           {{unix.O_CLOEXEC, "O_CLOEXEC"}},
	"pipe2":          {{unix.O_DIRECT, "O_DIRECT"}, {unix.O_NONBLOCK, "O_NONBLOCK"}, {unix.O_CLOEXEC, "O_CLOEXEC"}, {unix.O_EXCL, "O_NOTIFICATION_PIPE"}},
	"eventfd2":       {{unix.EFD_SEMAPHORE, "EFD_SEMAPHORE"}, {unix.EFD_NONBLOCK, "EFD_NONBLOCK"}, {unix.EFD_CLOEXEC, "EFD_CLOEXEC"}},
	"timerfd_create": {{unix.TFD_NONBLOCK, "TFD_NONBLOCK"}, {unix.TFD_CLOEXEC, "TFD_CLOEXEC"}},
	"signalfd4":      {{unix.SFD_NONBLOCK, "SFD_NONBLOCK"}, {unix.SFD_CLOEXEC, "SFD_CLOEXEC"}},
	"epoll_create1":  {{unix.EPOLL_CLOEXEC, "EPOLL_CLOEXEC"}},
	"inotify_init1":  {{unix.IN_NONBLOCK, "IN_NONBLOCK"}, {unix.IN_CLOEXEC, "IN_CLOEXEC"}},
	"fanotify_init":  fanotifyFlags,
	"memfd_create":   {{unix.MFD_CLOEXEC, "MFD_CLOEXEC"}, {unix.MFD_ALLOW_SEALING, "MFD_ALLOW_SEALING"}, {unix.MFD_HUGETLB, "MFD_HUGETLB"}, {unix.MFD_NOEXEC_SEAL, "MFD_NOEXEC_SEAL"}, {unix.MFD_EXEC, "MFD_EXEC"}},
	"memfd_secret":   {{unix.O_CLOEXEC, "FD_CLOEXEC"}},
	"pidfd_open":     {{unix.PIDFD_NONBLOCK, "PIDFD_NONBLOCK"}, {unix.O_EXCL, "PIDFD_THREAD"}},
	"open_tree":      {{unix.OPEN_TREE_CLONE, "OPEN_TREE_CLONE"}, {unix.OPEN_TREE_CLOEXEC, "OPEN_TREE_CLOEXEC"}, {unix.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"}, {unix.AT_NO_AUTOMOUNT, "AT_NO_AUTOMOUNT"}, {unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"}, {unix.AT_RECURSIVE, "AT_RECURSIVE"}},
	"fsopen":         {{unix.FSOPEN_CLOEXEC, "FSOPEN_CLOEXEC"}},
	"fspick":         {{unix.FSPICK_CLOEXEC, "FSPICK_CLOEXEC"}, {unix.FSPICK_SYMLINK_NOFOLLOW, "FSPICK_SYMLINK_NOFOLLOW"}, {unix.FSPICK_NO_AUTOMOUNT, "FSPICK_NO_AUTOMOUNT"}, {unix.FSPICK_EMPTY_PATH, "FSPICK_EMPTY_PATH"}},
	"fsmount":        {{unix.FSMOUNT_CLOEXEC, "FSMOUNT_CLOEXEC"}},
	"userfaultfd":    {{unix.O_CLOEXEC, "O_CLOEXEC"}, {unix.O_NONBLOCK, "O_NONBLOCK"}, {1, "UFFD_USER_MODE_ONLY"}},
	"io_uring_setup": ringFlags,

	"recvmsg": messageFlags, "recvmmsg": messageFlags, "recvmmsg_time64": messageFlags,
}

// messageFlags are those of recvmsg(2) and recvmmsg(2).
var messageFlags = Flags{
	{unix.MSG_CMSG_CLOEXEC, "MSG_CMSG_CLOEXEC"},
	{unix.MSG_DONTWAIT, "MSG_DONTWAIT"},
	{unix.MSG_ERRQUEUE, "MSG_ERRQUEUE"},
	{unix.MSG_OOB, "MSG_OOB"},
	{unix.MSG_PEEK, "MSG_PEEK"},
	{unix.MSG_TRUNC, "MSG_TRUNC"},
	{unix.MSG_WAITALL, "MSG_WAITALL"},
	{unix.MSG_WAITFORONE, "MSG_WAITFORONE"},
	{unix.MSG_NOSIGNAL, "MSG_NOSIGNAL"},
}

var socketFlags = Flags{{unix.SOCK_CLOEXEC, "SOCK_CLOEXEC"}, {unix.SOCK_NONBLOCK, "SOCK_NONBLOCK"}}

// fanotifyFlags are those of fanotify_init(2); linux/fanotify.h. FAN_CLASS_NOTIF is 0.
var fanotifyFlags = Flags{
	{unix.FAN_CLOEXEC, "FAN_CLOEXEC"},
	{unix.FAN_NONBLOCK, "FAN_NONBLOCK"},
	{unix.FAN_CLASS_CONTENT, "FAN_CLASS_CONTENT"},
	{unix.FAN_CLASS_PRE_CONTENT, "FAN_CLASS_PRE_CONTENT"},
	{unix.FAN_UNLIMITED_QUEUE, "FAN_UNLIMITED_QUEUE"},
	{unix.FAN_UNLIMITED_MARKS, "FAN_UNLIMITED_MARKS"},
	{unix.FAN_ENABLE_AUDIT, "FAN_ENABLE_AUDIT"},
	{unix.FAN_REPORT_PIDFD, "FAN_REPORT_PIDFD"},
	{unix.FAN_REPORT_TID, "FAN_REPORT_TID"},
	{unix.FAN_REPORT_FID, "FAN_REPORT_FID"},
	{unix.FAN_REPORT_DIR_FID, "FAN_REPORT_DIR_FID"},
	{unix.FAN_REPORT_NAME, "FAN_REPORT_NAME"},
	{unix.FAN_REPORT_TARGET_FID, "FAN_REPORT_TARGET_FID"},
}

// ringFlags are those of io_uring_setup(2); linux/io_uring.h.
var ringFlags = Flags{
	{1 << 0, "IORING_SETUP_IOPOLL"},
	{1 << 1, "IORING_SETUP_SQPOLL"},
	{1 << 2, "IORING_SETUP_SQ_AFF"},
	{1 << 3, "IORING_SETUP_CQSIZE"},
	{1 << 4, "IORING_SETUP_CLAMP"},
	{1 << 5, "IORING_SETUP_ATTACH_WQ"},
	{1 << 6, "IORING_SETUP_R_DISABLED"},
	{1 << 7, "IORING_SETUP_SUBMIT_ALL"},
	{1 << 8, "IORING_SETUP_COOP_TASKRUN"},
	{1 << 9, "IORING_SETUP_TASKRUN_FLAG"},
	{1 << 10, "IORING_SETUP_SQE128"},
	{1 << 11, "IORING_SETUP_CQE32"},
	{1 << 12, "IORING_SETUP_SINGLE_ISSUER"},
	{1 << 13, "IORING_SETUP_DEFER_TASKRUN"},
	{1 << 14, "IORING_SETUP_NO_MMAP"},
	{1 << 15, "IORING_SETUP_REGISTERED_FD_ONLY"},
	{1 << 16, "IORING_SETUP_NO_SQARRAY"},
	{1 << 17, "IORING_SETUP_HYBRID_IOPOLL"},
	{1 << 18, "IORING_SETUP_CQE_MIXED"},
}

// ResolveFlags are those of openat2(2) for how a path is resolved.
var ResolveFlags = Flags{
	{unix.RESOLVE_NO_XDEV, "RESOLVE_NO_XDEV"},
	{unix.RESOLVE_NO_MAGICLINKS, "RESOLVE_NO_MAGICLINKS"},
	{unix.RESOLVE_NO_SYMLINKS, "RESOLVE_NO_SYMLINKS"},
	{unix.RESOLVE_BENEATH, "RESOLVE_BENEATH"},
	{unix.RESOLVE_IN_ROOT, "RESOLVE_IN_ROOT"},
	{0x20, "RESOLVE_CACHED"},
}

// AppendSignals appends the names of the signals in a set of sigprocmask(2), a bit for
// each, or nothing for none.
func AppendSignals(b []byte, set uint64) []byte {
	start := len(b)
	for i := range 64 {
		if set&(1<<i) == 0 {
			continue
		}
		if len(b) > start {
			b = append(b, '|')
		}
		if name := unix.SignalName(unix.Signal(i + 1)); name != "" {
			b = append(b, name...)
		} else {
			b = strconv.AppendInt(append(b, "SIG"...), int64(i+1), 10)
		}
	}
	return b
}
