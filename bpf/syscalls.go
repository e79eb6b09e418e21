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
	// Numbers are what programs call it by.
	Numbers Numbers
	// Socketcall is its number in socketcall(2), 0 if it has none; linux/net.h.
	Socketcall int
	// Arguments are the roles of its arguments.
	Arguments Arguments
	// Implies is the flags of a syscall that has no argument for them.
	Implies uint32
	// MakesFD says that the result is a new file descriptor.
	MakesFD bool
	// Closes says that it closes files, which are gone when it returns.
	Closes bool
	// IfCloses says that only calls that close a file are recorded, and only where
	// details are: without them, nothing is known of what is replaced.
	IfCloses bool
}

// Numbers are a syscall's numbers on each architecture, none where it has none.
type Numbers struct{ X8664, I386, ARM64, ARM int }

const none = 0xffff // NO_NUMBER of syscalls.h, more than any number

// Arguments has the role of each argument; those that are left out are not recorded.
type Arguments [4]Role

// Role is what an argument is, and so where in Details it goes.
type Role uint8

// The roles of arguments.
const (
	Unused        Role = iota
	ArgFD              // Details.FD
	ArgDirFD           // Details.FD; a directory's, or AT_FDCWD
	ArgLastFD          // Details.LastFD
	ArgPath            // Record.Given
	ArgFlags           // Details.Flags
	ArgMode            // Details.Mode
	ArgHow             // Details.Flags, Mode and Resolve; openat2(2)
	ArgAddress         // Record.Asked
	ArgAddressLen      // its length
)

// Syscalls is the table; the Syscall field of an Event is an index into it.
var Syscalls = [...]Syscall{
	{
		Name: "open", Group: "open", Numbers: Numbers{2, 5, none, 5},
		Arguments: Arguments{ArgPath, ArgFlags, ArgMode}, MakesFD: true,
	},
	{
		Name: "openat", Group: "open", Numbers: Numbers{257, 295, 56, 322},
		Arguments: Arguments{ArgDirFD, ArgPath, ArgFlags, ArgMode}, MakesFD: true,
	},
	{
		Name: "openat2", Group: "open", Numbers: Numbers{437, 437, 437, 437},
		Arguments: Arguments{ArgDirFD, ArgPath, ArgHow}, MakesFD: true,
	},
	{
		// Its flags are O_CREAT|O_WRONLY|O_TRUNC; asm-generic/fcntl.h.
		Name: "creat", Group: "open", Numbers: Numbers{85, 8, none, 8},
		Arguments: Arguments{ArgPath, ArgMode}, Implies: 0o1101, MakesFD: true,
	},
	{
		Name: "accept", Group: "accept", Numbers: Numbers{43, none, 202, 285}, Socketcall: 5,
		Arguments: Arguments{ArgFD}, MakesFD: true,
	},
	{
		Name: "accept4", Group: "accept", Numbers: Numbers{288, 364, 242, 366}, Socketcall: 18,
		Arguments: Arguments{ArgFD, Unused, Unused, ArgFlags}, MakesFD: true,
	},
	{
		Name: "connect", Group: "connect", Numbers: Numbers{42, 362, 203, 283}, Socketcall: 3,
		Arguments: Arguments{ArgFD, ArgAddress, ArgAddressLen},
	},
	{
		Name: "close", Group: "close", Numbers: Numbers{3, 6, 57, 6},
		Arguments: Arguments{ArgFD}, Closes: true,
	},
	{
		Name: "close_range", Group: "close", Numbers: Numbers{436, 436, 436, 436},
		Arguments: Arguments{ArgFD, ArgLastFD, ArgFlags}, Closes: true,
	},
	{
		Name: "dup2", Group: "close", Numbers: Numbers{33, 63, none, 63},
		Arguments: Arguments{Unused, ArgFD}, Closes: true, IfCloses: true,
	},
	{
		Name: "dup3", Group: "close", Numbers: Numbers{292, 330, 24, 358},
		Arguments: Arguments{Unused, ArgFD, ArgFlags}, Closes: true, IfCloses: true,
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
	return in64 || in32
}

// Has reports whether the syscall has an argument with this role.
func (s Syscall) Has(role Role) bool { return slices.Contains(s.Arguments[:], role) }

// EntryProgram and ExitProgram are the names of the programs in Object that are
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
