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
	for id := ebpf.ProgramID(0); ; {
		next, err := ebpf.ProgramGetNextID(id)
		if err != nil {
			return sum
		}
		id = next
		program, err := ebpf.NewProgramFromID(id)
		if err != nil {
			continue
		}
		if stats, err := program.Stats(); err == nil {
			sum += stats.Runtime
		}
		program.Close()
	}
}
