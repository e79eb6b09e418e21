// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package bpf

import "runtime"

// Syscall is one traced syscall.
type Syscall struct {
	Name string
	// Group is the name that stands for this syscall and those like it.
	Group string
	// MakesFD tells that the result is a new file descriptor.
	MakesFD bool
	// IfCloses tells that only calls that close a file are recorded, and only where
	// details are: without them, nothing is known of what is replaced.
	IfCloses bool
	// Number is what this architecture's 64-bit programs call it by, or
	// absent.
	Number int
}

const absent = -1

// Syscalls has a row for each row of syscalls.h, in the same order; the
// Syscall field of an Event is an index into it.
var Syscalls = [...]Syscall{
	{"open", "open", true, false, number(2, absent)},
	{"openat", "open", true, false, number(257, 56)},
	{"openat2", "open", true, false, number(437, 437)},
	{"creat", "open", true, false, number(85, absent)},
	{"accept", "accept", true, false, number(43, 202)},
	{"accept4", "accept", true, false, number(288, 242)},
	{"connect", "connect", false, false, number(42, 203)},
	{"close", "close", false, false, number(3, 57)},
	{"close_range", "close", false, false, number(436, 436)},
	{"dup2", "close", false, true, number(33, absent)},
	{"dup3", "close", false, true, number(292, 24)},
}

func number(amd64, arm64 int) int {
	if runtime.GOARCH == "arm64" {
		return arm64
	}
	return amd64
}

// Exists tells whether this architecture has the syscall.
func (s Syscall) Exists() bool { return s.Number != absent }

// Closes reports whether the syscall closes files, which are gone when it returns.
func (s Syscall) Closes() bool { return s.Group == "close" }

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

// Socketcall is how programs for i386 call accept, accept4 and connect. It has no
// events of its own.
var Socketcall = Syscall{Name: "socketcall", Number: absent}
