// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package bpf

import (
	"runtime"
	"slices"
)

//go:generate go test -run TestSyscallsHeader -update .

// Syscall is one traced syscall: a row of the table from which the programs, what they
// record, and what is shown of it are made. syscalls.h is generated from here.
type Syscall struct {
	Name string
	// Group is the name that stands for this syscall and those like it.
	Group string
	// Also are further groups that it is in. Who names one of them, or the syscall
	// itself, wants each call of it, also where OnlyCloses is set.
	Also []string
	// Event says that it is no syscall, but what happens to a process.
	Event bool
	// ByDefault says that it is traced where nothing is said of syscalls.
	ByDefault bool
	// Numbers are what programs call it by.
	Numbers Numbers
	// I386Handler is the syscall whose handler the calls of i386 come to on x86-64, if that
	// is not its own: arch/x86/entry/syscalls/syscall_32.tbl. Their number says which of
	// them it is.
	I386Handler string
	// Socketcall is its number in socketcall(2), 0 if it has none; linux/net.h.
	Socketcall int
	// Time32 says that the one with this number of 32-bit programs has 32-bit times, which
	// its handler is called by.
	Time32 bool
	// Arguments are the roles of its arguments.
	Arguments Arguments
	// TakesNothing says that it has no arguments at all.
	TakesNothing bool
	// Implies is the flags of a syscall that has no argument for them.
	Implies uint32
	// Makes says which descriptors it makes. Of one that makes some only for some of its
	// arguments, its other calls are not recorded.
	Makes Creation
	// Closes says that it closes files, which are gone when it returns.
	Closes bool
	// OnlyCloses says that, as a member of its Group, it stands for its calls that close
	// a file, and is recorded only where details are: without them, nothing is known of
	// what is replaced.
	OnlyCloses bool
}

// Creation is enum creation of syscalls.h: which descriptors a call makes.
type Creation uint8

// The values of enum creation.
const (
	MakesNone         Creation = iota
	MakesOne                   // the result is one, of a new file
	MakesSignalFD              // likewise, unless its first argument is one already
	MakesByCommand             // likewise, if its first argument is such a command of bpf(2)
	MakesWithoutFlags          // likewise, if its third argument is 0
	MakesPair                  // two of new files, at ArgFDs
	CopiesOne                  // the result is one more of a file that was open
	CopiesOnto                 // likewise, unless its second argument is the first
	CopiesByCommand            // likewise, if its second argument is such a command of fcntl(2)
	Receives                   // likewise, of each that came with messages at the second argument
)

// Numbers are a syscall's numbers on each architecture, none where it has none.
type Numbers struct{ X8664, I386, ARM64, ARM int }

const none = 0xffff // NO_NUMBER of syscalls.h, more than any number

var noNumbers = Numbers{none, none, none, none}

// Arguments has the role of each argument; those that are left out are not recorded.
type Arguments [4]Role

// Role is what an argument is, and so where in Details it goes.
type Role uint8

// The roles of arguments.
const (
	Unused        Role = iota
	ArgFD              // Details.FD
	ArgDirFD           // Details.FD; a directory's, or AT_FDCWD
	ArgOldFD           // Details.Other; what is copied or mounted
	ArgLastFD          // Details.LastFD
	ArgFDs             // Details.FD and Other; where the kernel puts two that it makes
	ArgSocket          // Details.Other; that messages are received from
	ArgMessages        // Details.FD; a descriptor that came with them
	ArgPath            // Record.Given
	ArgName            // Record.Given; no path
	ArgFlags           // Details.Flags
	ArgMode            // Details.Mode
	ArgHow             // Details.Flags, Mode and Resolve; openat2(2)
	ArgAddress         // Record.Asked; the other end
	ArgOwnAddress      // Record.Asked, where it is refused; this end
	ArgAddressLen      // the length of an address
	ArgFamily          // Socket.Family
	ArgType            // Socket.Type, and Details.Flags
	ArgProtocol        // Socket.Protocol
	ArgRequest         // Details.Request; a command, a clock
	ArgEvent           // Details.Request; the type in a struct perf_event_attr
	ArgRing            // Details.Flags; those in a struct io_uring_params
	ArgValue           // Details.Mode; a number
	ArgPID             // Details.Other
	ArgPIDFD           // Details.Mode
	ArgSignals         // Details.Signals; a set
)

// Syscalls is the table; the Syscall field of an Event is an index into it.
var Syscalls = [...]Syscall{
	{
		Name: "open", Group: "open", ByDefault: true, Numbers: Numbers{2, 5, none, 5},
		Arguments: Arguments{ArgPath, ArgFlags, ArgMode}, Makes: MakesOne,
	},
	{
		Name: "openat", Group: "open", ByDefault: true, Numbers: Numbers{257, 295, 56, 322},
		Arguments: Arguments{ArgDirFD, ArgPath, ArgFlags, ArgMode}, Makes: MakesOne,
	},
	{
		Name: "openat2", Group: "open", ByDefault: true, Numbers: Numbers{437, 437, 437, 437},
		Arguments: Arguments{ArgDirFD, ArgPath, ArgHow}, Makes: MakesOne,
	},
	{
		// Its flags are O_CREAT|O_WRONLY|O_TRUNC; asm-generic/fcntl.h.
		Name: "creat", Group: "open", ByDefault: true, Numbers: Numbers{85, 8, none, 8},
		Arguments: Arguments{ArgPath, ArgMode}, Implies: 0o1101, Makes: MakesOne,
	},
	{
		Name: "accept", Group: "accept", ByDefault: true, Numbers: Numbers{43, none, 202, 285}, Socketcall: 5,
		Arguments: Arguments{ArgFD}, Makes: MakesOne,
	},
	{
		Name: "accept4", Group: "accept", ByDefault: true, Numbers: Numbers{288, 364, 242, 366}, Socketcall: 18,
		Arguments: Arguments{ArgFD, Unused, Unused, ArgFlags}, Makes: MakesOne,
	},
	{
		Name: "connect", Group: "connect", ByDefault: true, Numbers: Numbers{42, 362, 203, 283}, Socketcall: 3,
		Arguments: Arguments{ArgFD, ArgAddress, ArgAddressLen},
	},
	{
		Name: "close", Group: "close", ByDefault: true, Numbers: Numbers{3, 6, 57, 6},
		Arguments: Arguments{ArgFD}, Closes: true,
	},
	{
		Name: "close_range", Group: "close", ByDefault: true, Numbers: Numbers{436, 436, 436, 436},
		Arguments: Arguments{ArgFD, ArgLastFD, ArgFlags}, Closes: true,
	},
	{
		Name: "dup2", Group: "close", Also: []string{"dup", "descriptors"}, ByDefault: true, Numbers: Numbers{33, 63, none, 63},
		Arguments: Arguments{ArgOldFD, ArgFD}, Makes: CopiesOnto, Closes: true, OnlyCloses: true,
	},
	{
		Name: "dup3", Group: "close", Also: []string{"dup", "descriptors"}, ByDefault: true, Numbers: Numbers{292, 330, 24, 358},
		Arguments: Arguments{ArgOldFD, ArgFD, ArgFlags}, Makes: CopiesOne, Closes: true, OnlyCloses: true,
	},
	{
		Name: "dup", Group: "dup", Also: []string{"descriptors"}, Numbers: Numbers{32, 41, 23, 41},
		Arguments: Arguments{ArgOldFD}, Makes: CopiesOne,
	},
	{
		Name: "fcntl", Group: "dup", Also: []string{"descriptors"}, Numbers: Numbers{72, 55, 25, 55}, I386Handler: "fcntl64",
		Arguments: Arguments{ArgOldFD, ArgRequest, ArgValue}, Makes: CopiesByCommand,
	},
	{
		Name: "fcntl64", Group: "dup", Also: []string{"descriptors"}, Numbers: Numbers{none, 221, none, 221},
		Arguments: Arguments{ArgOldFD, ArgRequest, ArgValue}, Makes: CopiesByCommand,
	},
	{
		Name: "socket", Group: "socket", Also: []string{"sockets", "descriptors"}, Numbers: Numbers{41, 359, 198, 281}, Socketcall: 1,
		Arguments: Arguments{ArgFamily, ArgType, ArgProtocol}, Makes: MakesOne,
	},
	{
		Name: "socketpair", Group: "socketpair", Also: []string{"sockets", "descriptors"}, Numbers: Numbers{53, 360, 199, 288}, Socketcall: 8,
		Arguments: Arguments{ArgFamily, ArgType, ArgProtocol, ArgFDs}, Makes: MakesPair,
	},
	{
		Name: "bind", Group: "bind", Also: []string{"sockets"}, Numbers: Numbers{49, 361, 200, 282}, Socketcall: 2,
		Arguments: Arguments{ArgFD, ArgOwnAddress, ArgAddressLen},
	},
	{
		Name: "listen", Group: "listen", Also: []string{"sockets"}, Numbers: Numbers{50, 363, 201, 284}, Socketcall: 4,
		Arguments: Arguments{ArgFD, ArgValue},
	},
	{
		Name: "pipe", Group: "pipe", Also: []string{"descriptors"}, Numbers: Numbers{22, 42, none, 42},
		Arguments: Arguments{ArgFDs}, Makes: MakesPair,
	},
	{
		Name: "pipe2", Group: "pipe", Also: []string{"descriptors"}, Numbers: Numbers{293, 331, 59, 359},
		Arguments: Arguments{ArgFDs, ArgFlags}, Makes: MakesPair,
	},
	{
		Name: "eventfd", Group: "eventfd", Also: []string{"descriptors"}, Numbers: Numbers{284, 323, none, 351},
		Arguments: Arguments{ArgValue}, Makes: MakesOne,
	},
	{
		Name: "eventfd2", Group: "eventfd", Also: []string{"descriptors"}, Numbers: Numbers{290, 328, 19, 356},
		Arguments: Arguments{ArgValue, ArgFlags}, Makes: MakesOne,
	},
	{
		Name: "timerfd_create", Group: "timerfd_create", Also: []string{"descriptors"}, Numbers: Numbers{283, 322, 85, 350},
		Arguments: Arguments{ArgRequest, ArgFlags}, Makes: MakesOne,
	},
	{
		Name: "signalfd", Group: "signalfd", Also: []string{"descriptors"}, Numbers: Numbers{282, 321, none, 349},
		Arguments: Arguments{Unused, ArgSignals}, Makes: MakesSignalFD,
	},
	{
		Name: "signalfd4", Group: "signalfd", Also: []string{"descriptors"}, Numbers: Numbers{289, 327, 74, 355},
		Arguments: Arguments{Unused, ArgSignals, Unused, ArgFlags}, Makes: MakesSignalFD,
	},
	{
		Name: "epoll_create", Group: "epoll_create", Also: []string{"descriptors"}, Numbers: Numbers{213, 254, none, 250},
		Arguments: Arguments{ArgValue}, Makes: MakesOne,
	},
	{
		Name: "epoll_create1", Group: "epoll_create", Also: []string{"descriptors"}, Numbers: Numbers{291, 329, 20, 357},
		Arguments: Arguments{ArgFlags}, Makes: MakesOne,
	},
	{
		Name: "inotify_init", Group: "inotify_init", Also: []string{"descriptors"}, Numbers: Numbers{253, 291, none, 316},
		TakesNothing: true, Makes: MakesOne,
	},
	{
		Name: "inotify_init1", Group: "inotify_init", Also: []string{"descriptors"}, Numbers: Numbers{294, 332, 26, 360},
		Arguments: Arguments{ArgFlags}, Makes: MakesOne,
	},
	{
		Name: "fanotify_init", Group: "fanotify_init", Also: []string{"descriptors"}, Numbers: Numbers{300, 338, 262, 367},
		Arguments: Arguments{ArgFlags}, Makes: MakesOne,
	},
	{
		Name: "memfd_create", Group: "memfd_create", Also: []string{"descriptors"}, Numbers: Numbers{319, 356, 279, 385},
		Arguments: Arguments{ArgName, ArgFlags}, Makes: MakesOne,
	},
	{
		Name: "memfd_secret", Group: "memfd_secret", Also: []string{"descriptors"}, Numbers: Numbers{447, 447, 447, none},
		Arguments: Arguments{ArgFlags}, Makes: MakesOne,
	},
	{
		Name: "pidfd_open", Group: "pidfd_open", Also: []string{"descriptors"}, Numbers: Numbers{434, 434, 434, 434},
		Arguments: Arguments{ArgPID, ArgFlags}, Makes: MakesOne,
	},
	{
		Name: "pidfd_getfd", Group: "pidfd_getfd", Also: []string{"descriptors"}, Numbers: Numbers{438, 438, 438, 438},
		Arguments: Arguments{ArgPIDFD, ArgOldFD}, Makes: CopiesOne,
	},
	{
		Name: "open_by_handle_at", Group: "open_by_handle_at", Also: []string{"descriptors"}, Numbers: Numbers{304, 342, 265, 371},
		Arguments: Arguments{ArgDirFD, Unused, ArgFlags}, Makes: MakesOne,
	},
	{
		Name: "open_tree", Group: "open_tree", Also: []string{"descriptors"}, Numbers: Numbers{428, 428, 428, 428},
		Arguments: Arguments{ArgDirFD, ArgPath, ArgFlags}, Makes: MakesOne,
	},
	{
		Name: "fsopen", Group: "fsopen", Also: []string{"descriptors"}, Numbers: Numbers{430, 430, 430, 430},
		Arguments: Arguments{ArgName, ArgFlags}, Makes: MakesOne,
	},
	{
		Name: "fspick", Group: "fspick", Also: []string{"descriptors"}, Numbers: Numbers{433, 433, 433, 433},
		Arguments: Arguments{ArgDirFD, ArgPath, ArgFlags}, Makes: MakesOne,
	},
	{
		Name: "fsmount", Group: "fsmount", Also: []string{"descriptors"}, Numbers: Numbers{432, 432, 432, 432},
		Arguments: Arguments{ArgOldFD, ArgFlags}, Makes: MakesOne,
	},
	{
		Name: "userfaultfd", Group: "userfaultfd", Also: []string{"descriptors"}, Numbers: Numbers{323, 374, 282, 388},
		Arguments: Arguments{ArgFlags}, Makes: MakesOne,
	},
	{
		Name: "perf_event_open", Group: "perf_event_open", Also: []string{"descriptors"}, Numbers: Numbers{298, 336, 241, 364},
		Arguments: Arguments{ArgEvent, ArgPID, ArgValue}, Makes: MakesOne,
	},
	{
		Name: "bpf", Group: "bpf", Also: []string{"descriptors"}, Numbers: Numbers{321, 357, 280, 386},
		Arguments: Arguments{ArgRequest}, Makes: MakesByCommand,
	},
	{
		Name: "mq_open", Group: "mq_open", Also: []string{"descriptors"}, Numbers: Numbers{240, 277, 180, 274},
		Arguments: Arguments{ArgPath, ArgFlags, ArgMode}, Makes: MakesOne,
	},
	{
		Name: "io_uring_setup", Group: "io_uring_setup", Also: []string{"descriptors"}, Numbers: Numbers{425, 425, 425, 425},
		Arguments: Arguments{ArgValue, ArgRing}, Makes: MakesOne,
	},
	{
		Name: "landlock_create_ruleset", Group: "landlock_create_ruleset", Also: []string{"descriptors"}, Numbers: Numbers{444, 444, 444, 444},
		Makes: MakesWithoutFlags,
	},
	{
		Name: "recvmsg", Group: "recvmsg", Also: []string{"descriptors"}, Numbers: Numbers{47, 372, 212, 297}, Socketcall: 17,
		Arguments: Arguments{ArgSocket, ArgMessages, ArgFlags}, Makes: Receives,
	},
	{
		Name: "recvmmsg", Group: "recvmsg", Also: []string{"descriptors"}, Numbers: Numbers{299, 337, 243, 365}, Socketcall: 19, Time32: true,
		Arguments: Arguments{ArgSocket, ArgMessages, Unused, ArgFlags}, Makes: Receives,
	},
	{
		Name: "recvmmsg_time64", Group: "recvmsg", Also: []string{"descriptors"}, Numbers: Numbers{none, 417, none, 417},
		Arguments: Arguments{ArgSocket, ArgMessages, Unused, ArgFlags}, Makes: Receives,
	},
	{
		// A process executes a program: what execve(2) and execveat(2) do, if they succeed.
		Name: "exec", Group: "exec", Event: true, Numbers: noNumbers,
	},
	{
		// A process ends, with its last thread.
		Name: "exit", Group: "exit", Event: true, Numbers: noNumbers,
	},
}

// Number is what this architecture's programs of the ABI call it by; exists is false
// where they do not have it.
func (s Syscall) Number(abi ABI) (number int, exists bool) {
	switch {
	case runtime.GOARCH == "arm64" && abi == ABI32:
		number = s.Numbers.ARM
	case runtime.GOARCH == "arm64":
		number = s.Numbers.ARM64
	case abi == ABI32:
		number = s.Numbers.I386
	default:
		number = s.Numbers.X8664
	}
	return number, number != none
}

// Exists reports whether programs of this architecture have the syscall, if only the
// 32-bit ones.
func (s Syscall) Exists() bool {
	_, in64 := s.Number(ABI64)
	_, in32 := s.Number(ABI32)
	return in64 || in32 || s.Event
}

// Has reports whether the syscall has an argument with this role.
func (s Syscall) Has(role Role) bool { return slices.Contains(s.Arguments[:], role) }

// EntryProgram and ExitProgram are the names of the programs of WriteObject that are
// for the handler of the calls that programs of the given ABI make.
func (s Syscall) EntryProgram(abi ABI) string { return "enter_" + s.handler(abi) }

// ExitProgram: see EntryProgram.
func (s Syscall) ExitProgram(abi ABI) string { return "exit_" + s.handler(abi) }

func (s Syscall) handler(abi ABI) string {
	if abi == ABI32 {
		return s.Name + "_32"
	}
	return s.Name
}

// Socketcall is how programs for i386 can make the calls that have a number in it. It
// has no events of its own.
var Socketcall = Syscall{Name: "socketcall", Numbers: Numbers{none, 102, none, none}}
