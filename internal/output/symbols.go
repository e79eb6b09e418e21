// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
)

// symbol is a name for some bits. Where one's bits include another's, it goes
// first.
type symbol struct {
	bits uint64
	name string
}

// appendSymbols appends the names of the bits in value, and what has no name as
// a number, with a | between them.
func appendSymbols(b []byte, value uint64, symbols []symbol) []byte {
	start := len(b)
	for _, s := range symbols {
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
var openFlags = []symbol{
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

func appendOpenFlags(b []byte, flags uint32) []byte {
	b = append(b, accessModes[flags&unix.O_ACCMODE]...)
	if flags &^= unix.O_ACCMODE; flags == 0 {
		return b
	}
	return appendSymbols(append(b, '|'), uint64(flags), openFlags)
}

// hasMode tells whether these flags make a call look at its mode.
func hasMode(flags uint32) bool {
	return flags&unix.O_CREAT != 0 || flags&unix.O_TMPFILE == unix.O_TMPFILE
}

var acceptFlags = []symbol{{unix.SOCK_CLOEXEC, "SOCK_CLOEXEC"}, {unix.SOCK_NONBLOCK, "SOCK_NONBLOCK"}}

var dup3Flags = []symbol{{unix.O_CLOEXEC, "O_CLOEXEC"}}

var closeRangeFlags = []symbol{{unix.CLOSE_RANGE_UNSHARE, "CLOSE_RANGE_UNSHARE"}, {unix.CLOSE_RANGE_CLOEXEC, "CLOSE_RANGE_CLOEXEC"}}

var resolveFlags = []symbol{
	{unix.RESOLVE_NO_XDEV, "RESOLVE_NO_XDEV"},
	{unix.RESOLVE_NO_MAGICLINKS, "RESOLVE_NO_MAGICLINKS"},
	{unix.RESOLVE_NO_SYMLINKS, "RESOLVE_NO_SYMLINKS"},
	{unix.RESOLVE_BENEATH, "RESOLVE_BENEATH"},
	{unix.RESOLVE_IN_ROOT, "RESOLVE_IN_ROOT"},
	{0x20, "RESOLVE_CACHED"},
}

// restarts are the results that only a tracer sees: a signal came, and the call
// is made again or becomes EINTR. include/linux/errno.h.
var restarts = map[unix.Errno]string{
	512: "ERESTARTSYS",
	513: "ERESTARTNOINTR",
	514: "ERESTARTNOHAND",
	516: "ERESTART_RESTARTBLOCK",
}

// errorNames has the name of each errno.
var errorNames = func() (names [4096]string) {
	for errno := range names {
		if names[errno] = unix.ErrnoName(unix.Errno(errno)); names[errno] == "" {
			names[errno] = "E" + strconv.Itoa(errno)
		}
	}
	for errno, name := range restarts {
		names[errno] = name
	}
	return names
}()

// ErrorName is the name of the errno that a call returned, "" if it succeeded.
func ErrorName(ret int32) string {
	if ret >= 0 || ret <= -int32(len(errorNames)) {
		return ""
	}
	return errorNames[-ret]
}

// Errno is the number of the errno called name, 0 if there is none.
func Errno(name string) uint32 {
	for errno, n := range errorNames {
		if n == name {
			return uint32(errno)
		}
	}
	return 0
}

// families are the names of address families that programs use, without AF_;
// linux/socket.h.
var families = map[uint16]string{
	unix.AF_UNIX:      "UNIX",
	unix.AF_INET:      "INET",
	unix.AF_INET6:     "INET6",
	unix.AF_NETLINK:   "NETLINK",
	unix.AF_PACKET:    "PACKET",
	unix.AF_VSOCK:     "VSOCK",
	unix.AF_BLUETOOTH: "BLUETOOTH",
	unix.AF_ALG:       "ALG",
	unix.AF_CAN:       "CAN",
	unix.AF_TIPC:      "TIPC",
	unix.AF_XDP:       "XDP",
	unix.AF_QIPCRTR:   "QIPCRTR",
	unix.AF_KEY:       "KEY",
	unix.AF_IUCV:      "IUCV",
	unix.AF_SMC:       "SMC",
	unix.AF_NFC:       "NFC",
	unix.AF_UNSPEC:    "UNSPEC",
}

func appendFamily(b []byte, family uint16) []byte { return appendNamed(b, "AF_", families, family) }

// appendNamed appends prefix and the name of a number, or the number itself where it
// has none.
func appendNamed(b []byte, prefix string, names map[uint16]string, number uint16) []byte {
	b = append(b, prefix...)
	if name, ok := names[number]; ok {
		return append(b, name...)
	}
	return strconv.AppendUint(b, uint64(number), 10)
}

// ipProtocols are the names of protocols of IPv4 and IPv6; linux/in.h.
var ipProtocols = map[uint16]string{
	unix.IPPROTO_ICMP:    "icmp",
	unix.IPPROTO_TCP:     "tcp",
	unix.IPPROTO_UDP:     "udp",
	unix.IPPROTO_DCCP:    "dccp",
	unix.IPPROTO_ICMPV6:  "icmpv6",
	unix.IPPROTO_SCTP:    "sctp",
	unix.IPPROTO_UDPLITE: "udplite",
	unix.IPPROTO_MPTCP:   "mptcp",
}

// socketTypes are the names of types of sockets; linux/net.h.
var socketTypes = map[uint16]string{
	unix.SOCK_STREAM:    "stream",
	unix.SOCK_DGRAM:     "dgram",
	unix.SOCK_SEQPACKET: "seqpacket",
}

// netlinks are the names of protocols of netlink; linux/netlink.h.
var netlinks = map[uint16]string{
	unix.NETLINK_ROUTE:          "route",
	unix.NETLINK_USERSOCK:       "usersock",
	unix.NETLINK_SOCK_DIAG:      "sock-diag",
	unix.NETLINK_XFRM:           "xfrm",
	unix.NETLINK_SELINUX:        "selinux",
	unix.NETLINK_ISCSI:          "iscsi",
	unix.NETLINK_AUDIT:          "audit",
	unix.NETLINK_FIB_LOOKUP:     "fib-lookup",
	unix.NETLINK_CONNECTOR:      "connector",
	unix.NETLINK_NETFILTER:      "netfilter",
	unix.NETLINK_KOBJECT_UEVENT: "kobject-uevent",
	unix.NETLINK_GENERIC:        "generic",
	unix.NETLINK_SCSITRANSPORT:  "scsitransport",
	unix.NETLINK_RDMA:           "rdma",
	unix.NETLINK_CRYPTO:         "crypto",
}

// appendProtocol appends the name of a socket's protocol, or nothing if it has none.
func appendProtocol(b []byte, d *bpf.Details) []byte {
	if d.SocketType == 0 {
		return b
	}
	switch d.Family {
	case unix.AF_INET, unix.AF_INET6:
		return appendIPProtocol(b, d)
	case unix.AF_UNIX:
		return appendNamed(b, "unix-", socketTypes, uint16(d.SocketType))
	case unix.AF_VSOCK:
		return appendNamed(b, "vsock-", socketTypes, uint16(d.SocketType))
	case unix.AF_NETLINK:
		return appendNamed(b, "netlink-", netlinks, d.Protocol)
	}
	return b
}

// appendIPProtocol appends the name of a protocol of IPv4 or IPv6. A raw socket of TCP
// speaks no TCP by itself, and has a number as the others.
func appendIPProtocol(b []byte, d *bpf.Details) []byte {
	raw := d.SocketType == unix.SOCK_RAW
	isICMP := d.Protocol == unix.IPPROTO_ICMP || d.Protocol == unix.IPPROTO_ICMPV6
	switch name := ipProtocols[d.Protocol]; {
	case name != "" && (!raw || isICMP):
		return append(b, name...)
	case raw:
		b = append(b, "raw-"...)
	default:
		b = append(b, "ip-"...)
	}
	return strconv.AppendUint(b, uint64(d.Protocol), 10)
}

// fileTypes are the names of the types in st_mode, which are its upper bits;
// inode(7).
var fileTypes = [1 + unix.S_IFMT>>fileTypeShift]string{
	unix.S_IFREG >> fileTypeShift:  "regular",
	unix.S_IFDIR >> fileTypeShift:  "directory",
	unix.S_IFCHR >> fileTypeShift:  "char",
	unix.S_IFBLK >> fileTypeShift:  "block",
	unix.S_IFIFO >> fileTypeShift:  "fifo",
	unix.S_IFLNK >> fileTypeShift:  "symlink",
	unix.S_IFSOCK >> fileTypeShift: "socket",
}

const fileTypeShift = 12

// targetType says what kind of thing the target of a call is, "" if that is not
// known.
func targetType(r *bpf.Record) string {
	switch r.Details.Target {
	case bpf.TargetFile:
		return fileTypes[r.Details.FileMode>>fileTypeShift]
	case bpf.TargetSocket:
		return "socket"
	case bpf.TargetPipe:
		return "pipe"
	case bpf.TargetMemfd:
		return "memfd"
	case bpf.TargetNamespace:
		return "namespace"
	}
	return ""
}

// abis are the names of the ABIs, as uname(1) calls the machines.
var abis = func() [2]string {
	if runtime.GOARCH == "arm64" {
		return [2]string{"aarch64", "arm"}
	}
	return [2]string{"x86_64", "i386"}
}()
