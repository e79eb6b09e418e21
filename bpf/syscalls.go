package bpf

import "runtime"

// Syscall is one traced syscall.
type Syscall struct {
	Name string
	// Number is what this architecture's 64-bit programs call it by, or
	// absent.
	Number int
}

const absent = -1

// Syscalls has a row for each row of syscalls.h, in the same order; the
// Syscall field of an Event is an index into it.
var Syscalls = [...]Syscall{
	{"open", number(2, absent)},
	{"openat", number(257, 56)},
	{"accept", number(43, 202)},
	{"accept4", number(288, 242)},
	{"connect", number(42, 203)},
	{"close", number(3, 57)},
}

func number(amd64, arm64 int) int {
	if runtime.GOARCH == "arm64" {
		return arm64
	}
	return amd64
}

// Exists tells whether this architecture has the syscall.
func (s Syscall) Exists() bool { return s.Number != absent }

// Program is the name of the program in Object that traces the calls that
// programs of the given ABI make.
func (s Syscall) Program(abi ABI) string {
	if abi == ABI32 {
		return "exit_" + s.Name + "_32"
	}
	return "exit_" + s.Name
}
