// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

/*
#include <bpf/bpf.h>

// A map whose elements are maps like the one in inner.
static int create_map_of_maps(int inner)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .inner_map_fd = inner);

	return bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "copenclose_wait", 4, 4, 1, &opts);
}
*/
import "C"

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// waiter waits until every program that runs now has ended. The kernel does that when
// an element of a map of maps is replaced, so that nobody looks at the old one any more:
// maybe_wait_bpf_programs() in kernel/bpf/syscall.c (4.20; 1ae80cf31938, "bpf: wait for
// running BPF programs when updating map-in-map"). membarrier(2) would do the same, but
// refuses to where some CPUs have no tick (nohz_full).
type waiter struct{ inner, outer C.int }

func newWaiter() (*waiter, error) {
	inner := C.bpf_map_create(C.BPF_MAP_TYPE_ARRAY, nil, 4, 4, 1, nil)
	if inner < 0 {
		return nil, fmt.Errorf("create a map: %w", unix.Errno(-inner))
	}
	outer := C.create_map_of_maps(inner)
	if outer < 0 {
		_ = unix.Close(int(inner))
		return nil, fmt.Errorf("create a map of maps: %w", unix.Errno(-outer))
	}
	return &waiter{inner, outer}, nil
}

func (w *waiter) wait() error {
	var key C.__u32
	if ret := C.bpf_map_update_elem(w.outer, unsafe.Pointer(&key), unsafe.Pointer(&w.inner), 0); ret < 0 {
		return fmt.Errorf("wait for the last programs: %w", unix.Errno(-ret))
	}
	return nil
}

func (w *waiter) close() {
	_ = unix.Close(int(w.outer))
	_ = unix.Close(int(w.inner))
}

// detach ends the recording, and returns when the last running program has submitted
// its record.
func (o *object) detach() error {
	for _, link := range o.links {
		_ = link.Destroy()
	}
	o.links = nil
	for _, fd := range o.attached {
		_ = unix.Close(fd)
	}
	o.attached = nil
	return o.waiter.wait()
}
