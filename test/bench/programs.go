// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package main

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// inPrograms is how many ns the BPF programs of the machine took for each of the
// calls that work has made, by the kernel's own account. It includes what it
// costs to read the clock before and after each run, which a program that does
// nothing shows.
func inPrograms(work func() (calls int, err error)) (each float64, err error) {
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		return 0, fmt.Errorf("have the kernel time BPF programs: %w", err)
	}
	defer stats.Close()
	before := programsRan()
	calls, err := work()
	if err != nil {
		return 0, err
	}
	return float64(programsRan()-before) / float64(calls), nil
}

// programsRan is how long all programs have run.
func programsRan() (sum time.Duration) {
	eachProgram(func(p *ebpf.Program) {
		if stats, err := p.Stats(); err == nil {
			sum += stats.Runtime
		}
	})
	return sum
}

// tracers counts the programs that are loaded and could make calls dearer.
func tracers() (n int) {
	eachProgram(func(p *ebpf.Program) {
		switch p.Type() {
		case ebpf.Tracing, ebpf.Kprobe, ebpf.TracePoint, ebpf.RawTracepoint, ebpf.RawTracepointWritable, ebpf.LSM:
			n++
		}
	})
	return n
}

// eachProgram shows all programs of the machine to look.
func eachProgram(look func(*ebpf.Program)) {
	for id := ebpf.ProgramID(0); ; {
		next, err := ebpf.ProgramGetNextID(id)
		if err != nil {
			return
		}
		id = next
		// It can be gone by now.
		if program, err := ebpf.NewProgramFromID(id); err == nil {
			look(program)
			program.Close()
		}
	}
}
