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

// families are the names of address families that programs use; linux/socket.h.
var families = map[uint16]string{
	unix.AF_UNIX:      "AF_UNIX",
	unix.AF_INET:      "AF_INET",
	unix.AF_INET6:     "AF_INET6",
	unix.AF_NETLINK:   "AF_NETLINK",
	unix.AF_PACKET:    "AF_PACKET",
	unix.AF_VSOCK:     "AF_VSOCK",
	unix.AF_BLUETOOTH: "AF_BLUETOOTH",
	unix.AF_ALG:       "AF_ALG",
	unix.AF_CAN:       "AF_CAN",
	unix.AF_TIPC:      "AF_TIPC",
	unix.AF_XDP:       "AF_XDP",
	unix.AF_QIPCRTR:   "AF_QIPCRTR",
	unix.AF_KEY:       "AF_KEY",
	unix.AF_IUCV:      "AF_IUCV",
	unix.AF_SMC:       "AF_SMC",
	unix.AF_NFC:       "AF_NFC",
	unix.AF_UNSPEC:    "AF_UNSPEC",
}

func appendFamily(b []byte, family uint16) []byte {
	if name, ok := families[family]; ok {
		return append(b, name...)
	}
	return strconv.AppendUint(append(b, "AF_"...), uint64(family), 10)
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
	case bpf.TargetAnonymous:
		return "anonymous"
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
