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
	"fmt"
	"unsafe"

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
		c.Unfollowed += cpu.Unfollowed
	}
	for _, program := range o.programs {
		switch program.Name() {
		case bpf.SignalProgram, bpf.ExitProgram:
			continue // what they miss, the end of the thread tells
		}
		var info C.struct_bpf_prog_info
		if C.prog_info(C.int(program.FileDescriptor()), &info) == 0 {
			c.Missed += uint64(info.recursion_misses)
		}
	}
	return c, nil
}
