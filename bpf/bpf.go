// Package bpf is the contract between the programs in the kernel and their
// reader: the C of the programs, the record that they send and its Go view,
// and the table of traced syscalls. It loads nothing and needs no cgo.
package bpf

import _ "embed"

// Object is the compiled copenclose.bpf.c, an ELF file for libbpf.
//
//go:embed copenclose.bpf.o
var Object []byte

// The maps of Object that the reader uses, and the programs that are not named
// after a syscall.
const (
	RingMap     = "ring"
	PerfMap     = "perf"
	CountersMap = "counters"
	SharedMap   = ".data.shared"

	SysExitProgram    = "sys_exit"
	SocketcallProgram = "exit_socketcall_32"
)
