// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

/*
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <bpf/btf.h>

// How many arguments a tracepoint has, without the first one of its function; a negative
// errno if there is no such tracepoint.
static int tracepoint_arguments(const struct btf *btf, const char *tracepoint)
{
	const struct btf_type *type;
	char name[100];
	int id;

	snprintf(name, sizeof(name), "btf_trace_%s", tracepoint);
	id = btf__find_by_name_kind(btf, name, BTF_KIND_TYPEDEF);
	if (id < 0)
		return id;
	type = btf__type_by_id(btf, btf__type_by_id(btf, id)->type);
	if (!btf_is_ptr(type))
		return -EINVAL;
	type = btf__type_by_id(btf, type->type);
	return btf_is_func_proto(type) && btf_vlen(type) > 0 ? btf_vlen(type) - 1 : -EINVAL;
}
*/
import "C"

import (
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/copenclose/copenclose/bpf"
)

// uring is how requests of io_uring are traced: how many arguments its tracepoints have
// on this kernel, which is what programs know them by; see bpf/uring.h.
type uring struct {
	traced                   bool
	submit, complete, refuse uint8
}

// requests are the syscalls that requests of io_uring are shown as.
var requests = []string{"openat", "openat2", "accept4", "connect", "close"}

// tracepoint is what a program is attached to: a tracepoint by the names that it has had,
// with one of these numbers of arguments.
type tracepoint struct {
	program   string
	names     []string
	known     []uint8
	arguments *uint8 // as it is on this kernel
	optional  bool
}

// chooseURing leaves the programs on the tracepoints of io_uring to load, if one of its
// calls is traced and this kernel has those that they need.
func (o *object) chooseURing(cfg Config) error {
	var overflow uint8
	tracepoints := []tracepoint{
		{bpf.SubmitProgram, []string{"io_uring_submit_req", "io_uring_submit_sqe"}, []uint8{1, 2, 7}, &o.uring.submit, false},
		{bpf.CompleteProgram, []string{"io_uring_complete"}, []uint8{3, 4, 5, 7}, &o.uring.complete, false},
		{bpf.OverflowProgram, []string{"io_uring_cqe_overflow"}, []uint8{5}, &overflow, true},
		{bpf.RefuseProgram, []string{"io_uring_req_failed"}, []uint8{2, 3}, &o.uring.refuse, true},
	}
	targets := make([]string, len(tracepoints))
	if o.uring.traced = slices.ContainsFunc(requests, o.traces); o.uring.traced {
		kernel, err := C.btf__load_vmlinux_btf()
		if kernel == nil {
			return fmt.Errorf("read the kernel's BTF: %w", err)
		}
		defer C.btf__free(kernel)
		for i, t := range tracepoints {
			if targets[i] = t.find(kernel); targets[i] == "" && !t.optional {
				cfg.Log.Printf("requests of io_uring are not traced: the kernel has no tracepoint %s that is known", strings.Join(t.names, " or "))
				o.uring.traced = false
			}
		}
	}
	for i, t := range tracepoints {
		wanted := o.uring.traced && targets[i] != ""
		if err := o.chooseProgram(t.program, wanted); err != nil {
			return err
		}
		if !wanted {
			continue
		}
		if err := o.programs[len(o.programs)-1].SetAttachTarget(0, targets[i]); err != nil {
			return fmt.Errorf("aim %s at %s: %w", t.program, targets[i], err)
		}
	}
	return nil
}

// find returns the name of the tracepoint on this kernel, "" if it has none that the
// program knows.
func (t *tracepoint) find(kernel *C.struct_btf) string {
	for _, name := range t.names {
		cName := C.CString(name)
		n := C.tracepoint_arguments(kernel, cName)
		C.free(unsafe.Pointer(cName))
		if n > 0 && slices.Contains(t.known, uint8(n)) {
			*t.arguments = uint8(n)
			return name
		}
	}
	return ""
}
