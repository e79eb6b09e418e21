// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package privilege

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rule is a syscall that is still allowed, and what of it. Only the lower half of an
// argument is looked at: the flags that matter are all there.
type rule struct {
	number   uintptr
	argument int      // that is looked at
	none     uint32   // bits that must not be set
	any      uint32   // bits of which one must be set; 0 for none
	one      []uint32 // values of which it must have one; empty for any
}

// allowed are the syscalls that reading events, writing lines, asking runtimes and Go
// itself take, the frequent ones first. Whatever else is called fails with EPERM.
func allowed(k Keep) []rule {
	rules := plain(
		unix.SYS_EPOLL_PWAIT, unix.SYS_WRITE, unix.SYS_READ, unix.SYS_FUTEX, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP,
		unix.SYS_SCHED_YIELD, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES, unix.SYS_GETTIMEOFDAY, unix.SYS_MADVISE,
		// The life of threads, signals and memory.
		unix.SYS_MUNMAP, unix.SYS_BRK, unix.SYS_MREMAP, unix.SYS_MINCORE, unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK,
		unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ,
		unix.SYS_GETTID, unix.SYS_GETPID, unix.SYS_GETPPID, unix.SYS_TGKILL, unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_GETRANDOM,
		unix.SYS_SCHED_GETAFFINITY, unix.SYS_PRCTL, unix.SYS_MEMBARRIER, unix.SYS_GETRUSAGE, unix.SYS_SYSINFO, unix.SYS_UNAME,
		unix.SYS_SETITIMER, unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE,
		// Files that are open, and finding others.
		unix.SYS_CLOSE, unix.SYS_FSTAT, unix.SYS_STATX, unix.SYS_GETDENTS64, unix.SYS_READLINKAT, unix.SYS_FACCESSAT,
		unix.SYS_FACCESSAT2, unix.SYS_LSEEK, unix.SYS_PREAD64, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_FCNTL, unix.SYS_IOCTL,
		unix.SYS_PIPE2, unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EVENTFD2, unix.SYS_PPOLL, unix.SYS_STATFS, unix.SYS_FSTATFS,
		// Identity, that net/http and the C library look at.
		unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID, unix.SYS_GETPGID, unix.SYS_CAPGET,
	)
	rules = append(rules, plain(archSyscalls...)...)
	rules = append(rules,
		rule{number: unix.SYS_OPENAT, argument: 2, none: unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC},
		rule{number: unix.SYS_MMAP, argument: 2, none: unix.PROT_EXEC},
		rule{number: unix.SYS_MPROTECT, argument: 2, none: unix.PROT_EXEC},
		rule{number: unix.SYS_CLONE, argument: 0, any: unix.CLONE_THREAD},
		rule{number: unix.SYS_PRLIMIT64, argument: 2, one: []uint32{0}}, // reads limits, sets none
		rule{number: unix.SYS_BPF, argument: 0, one: []uint32{
			unix.BPF_MAP_LOOKUP_ELEM, unix.BPF_MAP_UPDATE_ELEM, unix.BPF_MAP_DELETE_ELEM, unix.BPF_MAP_GET_NEXT_KEY,
			unix.BPF_MAP_LOOKUP_AND_DELETE_ELEM, unix.BPF_MAP_LOOKUP_BATCH, unix.BPF_MAP_LOOKUP_AND_DELETE_BATCH,
			unix.BPF_OBJ_GET_INFO_BY_FD, unix.BPF_ITER_CREATE}},
	)
	if k.Runtimes || k.Network {
		families := []uint32{unix.AF_UNIX}
		if k.Network {
			families = append(families, unix.AF_INET, unix.AF_INET6)
			rules = append(rules, plain(unix.SYS_ACCEPT4, unix.SYS_SENDFILE)...)
		}
		rules = append(rules, rule{number: unix.SYS_SOCKET, argument: 0, one: families})
		rules = append(rules, plain(unix.SYS_CONNECT, unix.SYS_GETSOCKOPT, unix.SYS_SETSOCKOPT, unix.SYS_GETSOCKNAME,
			unix.SYS_GETPEERNAME, unix.SYS_SHUTDOWN, unix.SYS_SENDTO, unix.SYS_RECVFROM, unix.SYS_SENDMSG, unix.SYS_RECVMSG)...)
	}
	if k.Command {
		rules = append(rules, plain(unix.SYS_WAIT4, unix.SYS_WAITID, unix.SYS_KILL, unix.SYS_PIDFD_SEND_SIGNAL)...)
	}
	if k.CgroupIDs {
		rules = append(rules, plain(unix.SYS_OPEN_BY_HANDLE_AT)...)
	}
	if k.Namespaces {
		rules = append(rules, plain(unix.SYS_SETNS, unix.SYS_UNSHARE)...)
	}
	return rules
}

func plain(numbers ...uintptr) (rules []rule) {
	for _, n := range numbers {
		rules = append(rules, rule{number: n})
	}
	return rules
}

// What a filter can answer, include/uapi/linux/seccomp.h.
const (
	retKill  = unix.SECCOMP_RET_KILL_PROCESS
	retAllow = unix.SECCOMP_RET_ALLOW
	retEPERM = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	// retENOSYS has the C library take clone(2), whose flags can be looked at, for clone3(2).
	retENOSYS = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// Where struct seccomp_data has what is looked at, on a little-endian machine.
const (
	dataNumber    = 0
	dataArch      = 4
	dataArguments = 16
)

const (
	load        = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	jumpIfEqual = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	jumpIfAbove = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	jumpIfAny   = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	ret         = unix.BPF_RET | unix.BPF_K
)

// filter returns rules as a program of classic BPF. What belongs to a rule stands
// together and returns, so that no jump is long.
func filter(rules []rule) []unix.SockFilter {
	f := []unix.SockFilter{
		{Code: load, K: dataArch},
		{Code: jumpIfEqual, Jt: 1, K: auditArch},
		{Code: ret, K: retKill},
		{Code: load, K: dataNumber},
	}
	if x32Bit != 0 {
		f = append(f, unix.SockFilter{Code: jumpIfAbove, Jf: 1, K: x32Bit}, unix.SockFilter{Code: ret, K: retKill})
	}
	for _, r := range rules {
		body := r.body()
		f = append(f, unix.SockFilter{Code: jumpIfEqual, Jf: uint8(len(body)), K: uint32(r.number)})
		f = append(f, body...)
	}
	return append(f,
		unix.SockFilter{Code: jumpIfEqual, Jf: 1, K: unix.SYS_CLONE3},
		unix.SockFilter{Code: ret, K: retENOSYS},
		unix.SockFilter{Code: ret, K: retEPERM})
}

// body returns what decides when the number is that of the rule.
func (r *rule) body() []unix.SockFilter {
	allow := unix.SockFilter{Code: ret, K: retAllow}
	refuse := unix.SockFilter{Code: ret, K: retEPERM}
	value := unix.SockFilter{Code: load, K: dataArguments + 8*uint32(r.argument)}
	switch {
	case r.none != 0:
		return []unix.SockFilter{value, {Code: jumpIfAny, Jf: 1, K: r.none}, refuse, allow}
	case r.any != 0:
		return []unix.SockFilter{value, {Code: jumpIfAny, Jf: 1, K: r.any}, allow, refuse}
	case len(r.one) > 0:
		body := []unix.SockFilter{value}
		for _, v := range r.one {
			body = append(body, unix.SockFilter{Code: jumpIfEqual, Jf: 1, K: v}, allow)
		}
		return append(body, refuse)
	}
	return []unix.SockFilter{allow}
}

// dropSyscalls leaves those that are allowed, to every thread. It comes last.
func dropSyscalls(k Keep) (string, error) {
	rules := allowed(k)
	f := filter(rules)
	program := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	switch {
	case errno != 0:
		return "", fmt.Errorf("set a seccomp filter: %w", errno)
	case thread != 0:
		return "", errors.New("set a seccomp filter: a thread has another one")
	}
	what := "no program is run, no file is written"
	if !k.Network {
		what += ", no port is opened"
	}
	return fmt.Sprintf("only %d are left (seccomp); %s", len(rules), what), nil
}
