// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package bpf is the contract between the programs in the kernel and their
// reader: the C of the programs, the record that they send and its Go view,
// and the table of traced syscalls. It loads nothing and needs no cgo.
package bpf

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// WriteObject writes the compiled copenclose.bpf.c, an ELF file for libbpf. It is kept
// compressed, a tenth of its size: the programs for handlers are much alike.
func WriteObject(to io.Writer) error { return unpack(to, compressed) }

// WriteDescriptorsObject writes the compiled descriptors.bpf.c.
func WriteDescriptorsObject(to io.Writer) error { return unpack(to, compressedDescriptors) }

// DescriptorsBuild is another one for another object of WriteDescriptorsObject, so that
// nobody takes what the one wrote for the other's.
func DescriptorsBuild() string {
	sum := sha256.Sum256(compressedDescriptors)
	return hex.EncodeToString(sum[:8])
}

func unpack(to io.Writer, compressed []byte) error {
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err == nil {
		_, err = io.Copy(to, r)
	}
	if err != nil {
		return fmt.Errorf("unpack the programs: %w", err)
	}
	return nil
}

// The maps of WriteObject.
const (
	RingMap          = "ring"
	PerfMap          = "perf"
	CountersMap      = "counters"
	CgroupCountsMap  = "cgroup_counts"
	RatesMap         = "rates"
	SharedMap        = ".data.shared"
	SlotsMap         = "slots"
	FreeSlotsMap     = "free_slots"
	ClosingSlotsMap  = "closing_slots"
	ClosingMap       = "closing"
	EnteredMap       = "entered"
	InterruptedMap   = "interrupted"
	ConnectingMap    = "connecting"
	EndedMap         = "ended_processes"
	IDsMap           = "ids"
	CommsMap         = "comms"
	PathsMap         = "paths"
	CgroupsMap       = "cgroups"
	VerdictsMap      = "verdicts"
	TotalsMap        = "totals"
	OtherTotalsMap   = "other_totals"
	ExecutablesMap   = "executables"
	SamplersMap      = "samplers"
	RequestsMap      = "requests"
	RequestTextsMap  = "request_texts"
	NamedRequestsMap = "named_requests"
	RequestPlacesMap = "request_places"
	FreePlacesMap    = "free_places"
	EndedTablesMap   = "ended_tables"
)

// The programs of WriteObject that are not named after a syscall.
const (
	HandlersEnterProgram    = "handlers_enter"
	HandlersReturnProgram   = "handlers_return"
	SysEnterProgram         = "sys_enter"
	SysExitProgram          = "sys_exit"
	PerfSysEnterProgram     = "perf_sys_enter"
	PerfSysExitProgram      = "perf_sys_exit"
	SignalProgram           = "signal_deliver"
	StateProgram            = "inet_sock_set_state"
	ForkProgram             = "sched_process_fork"
	ExecProgram             = "sched_process_exec"
	ExitProgram             = "sched_process_exit"
	MkdirProgram            = "cgroup_mkdir"
	RmdirProgram            = "cgroup_rmdir"
	SubmitProgram           = "uring_submit"
	CompleteProgram         = "uring_complete"
	OverflowProgram         = "uring_overflow"
	RefuseProgram           = "uring_refuse"
	ExitClosesProgram       = "exit_closes"
	PerfExitClosesProgram   = "perf_exit_closes"
	ExecClosesProgram       = "exec_closes"
	PerfExecClosesProgram   = "perf_exec_closes"
	FentryExecClosesProgram = "fentry_exec_closes"
	ExecOpensProgram        = "exec_opens"
	ExecOpensListedProgram  = "exec_opens_listed"
)

// The sizes of ClosingSlotsMap, FreeSlotsMap, CgroupsMap, CommsMap, PathsMap and RequestsMap.
// SlotsMap has the slots of the first and then of the second.
const (
	ClosingSlots = 512
	FreeSlots    = 64
	CgroupsMax   = 32
	CommsMax     = 1024
	PathsMax     = 1024
	RequestsMax  = 4096
)
