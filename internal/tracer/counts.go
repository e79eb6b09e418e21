// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

/*
#include <bpf/bpf.h>

static int prog_info(int fd, struct bpf_prog_info *info)
{
	__u32 size = sizeof(*info);

	return bpf_prog_get_info_by_fd(fd, info, &size);
}
*/
import "C"

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/aquasecurity/libbpfgo"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stream"
)

// counts adds up the counters of all CPUs, and those that the kernel has of each
// program (5.12; 9ed9e9ba2337, "bpf: Count the number of times recursion was
// prevented").
func (o *object) counts() (c stream.Counts, err error) {
	m, err := o.module.GetMap(bpf.CountersMap)
	if err != nil {
		return c, err
	}
	var key uint32
	value, err := m.GetValue(unsafe.Pointer(&key))
	if err != nil {
		return c, fmt.Errorf("read the counters: %w", err)
	}
	for _, cpu := range unsafe.Slice((*bpf.Counters)(unsafe.Pointer(&value[0])), len(value)/int(unsafe.Sizeof(bpf.Counters{}))) {
		c.Filtered += cpu.Filtered
		c.Lost += cpu.Lost
		c.Limited += cpu.Limited
		c.Unfollowed += cpu.Unfollowed
	}
	for _, program := range o.programs {
		switch program.Name() {
		case bpf.SignalProgram, bpf.ExitProgram:
			continue // what they miss is recorded when the thread ends
		}
		c.Missed += missedBy(program)
	}
	return c, nil
}

// processesMissed returns how many forks and execs were not shown to the programs for them.
func (o *object) processesMissed() (n uint64) {
	for _, program := range o.programs {
		if name := program.Name(); name == bpf.ForkProgram || name == bpf.ExecProgram {
			n += missedBy(program)
		}
	}
	return n
}

func missedBy(program *libbpfgo.BPFProg) uint64 {
	var info C.struct_bpf_prog_info
	if C.prog_info(C.int(program.FileDescriptor()), &info) != 0 {
		return 0
	}
	return uint64(info.recursion_misses)
}

// prepareDropped puts the entry of those without one into the table of what was dropped.
func (o *object) prepareDropped(cfg Config) error {
	if o.countsDropped = cfg.ByContainer; !cfg.ByContainer {
		return nil
	}
	return put(o, bpf.CgroupCountsMap, uint64(0), bpf.CgroupCounts{})
}

// dropped: see Tracer.Dropped.
func (o *object) dropped() (map[uint64]stream.Dropped, error) {
	if !o.countsDropped {
		return nil, nil
	}
	m, err := o.module.GetMap(bpf.CgroupCountsMap)
	if err != nil {
		return nil, err
	}
	all := make(map[uint64]stream.Dropped)
	keys := m.Iterator()
	for keys.Next() {
		id := binary.NativeEndian.Uint64(keys.Key())
		value, err := m.GetValue(unsafe.Pointer(&id))
		if err != nil {
			return nil, fmt.Errorf("read what was dropped of cgroup %d: %w", id, err)
		}
		c := *(*bpf.CgroupCounts)(unsafe.Pointer(&value[0]))
		if d := (stream.Dropped{Lost: c.Lost, Limited: c.Limited}); d != (stream.Dropped{}) {
			all[id] = d
		}
	}
	if err := keys.Err(); err != nil {
		return nil, fmt.Errorf("read what was dropped by cgroup: %w", err)
	}
	return all, nil
}
