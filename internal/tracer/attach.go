// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

/*
#include <stdlib.h>
#include <bpf/bpf.h>

static int link_to_functions(int program, __u32 flags, const char **functions, const __u64 *cookies, __u32 n)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts,
		.kprobe_multi.flags = flags,
		.kprobe_multi.cnt = n,
		.kprobe_multi.syms = functions,
		.kprobe_multi.cookies = cookies);

	return bpf_link_create(program, 0, BPF_TRACE_KPROBE_MULTI, &opts);
}
*/
import "C"

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/aquasecurity/libbpfgo"
	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/kernelfs"
)

func (o *object) attach() error {
	for _, program := range o.programs {
		if err := o.attachProgram(program); err != nil {
			return fmt.Errorf("attach %s: %w", program.Name(), err)
		}
	}
	return nil
}

func (o *object) attachProgram(program *libbpfgo.BPFProg) error {
	var fd int
	var err error
	switch program.Name() {
	case bpf.HandlersReturnProgram:
		fd, err = o.attachToHandlers(program, atReturn)
	case bpf.HandlersEnterProgram:
		fd, err = o.attachToHandlers(program, 0)
	case bpf.PerfSysExitProgram:
		fd, err = AttachToEvent(program, "raw_syscalls/sys_exit")
	case bpf.PerfSysEnterProgram:
		fd, err = AttachToEvent(program, "raw_syscalls/sys_enter")
	case bpf.PerfExitClosesProgram:
		fd, err = AttachToEvent(program, "sched/sched_process_exit")
	case bpf.PerfExecClosesProgram:
		fd, err = AttachToEvent(program, "sched/"+prepareExec)
	default:
		link, err := program.AttachGeneric()
		if err == nil {
			o.links = append(o.links, link)
		} else if program.Name() == bpf.FentryExecClosesProgram {
			// As on arm64 before 6.4, which has no fentry.
			o.hidesExecCloses, err = true, nil
		}
		return err
	}
	if err == nil {
		o.attached = append(o.attached, fd)
	}
	return err
}

// atReturn is the flag of a link that runs its program when a function returns.
const atReturn = C.BPF_F_KPROBE_MULTI_RETURN

// attachToHandlers attaches one program to all handlers. The cookie of each is what
// the program takes for its enum syscall: the index, or for socketcall(2) their number.
func (o *object) attachToHandlers(program *libbpfgo.BPFProg, flags C.__u32) (fd int, err error) {
	var functions []*C.char
	var cookies []C.__u64
	for _, h := range o.handlers {
		name := C.CString(h.function)
		defer C.free(unsafe.Pointer(name))
		i := slices.IndexFunc(bpf.Syscalls[:], func(s bpf.Syscall) bool { return s.Name == h.syscall.Name })
		if i < 0 {
			i = len(bpf.Syscalls)
		}
		functions = append(functions, name)
		cookies = append(cookies, C.__u64(i))
	}
	if len(functions) == 0 {
		return -1, errors.New("the kernel has no handler of these syscalls")
	}
	ret := C.link_to_functions(C.int(program.FileDescriptor()), flags,
		&functions[0], &cookies[0], C.__u32(len(functions)))
	if ret < 0 {
		return -1, fmt.Errorf("probe %d functions: %w", len(functions), unix.Errno(-ret))
	}
	return int(ret), nil
}

// AttachToEvent attaches a program to a tracepoint through a perf event, for as long as
// the link is open or pinned (5.15: b89fbfbb854c, "bpf: Implement minimal BPF perf link").
// It runs for all CPUs, whatever the CPU of the event is.
func AttachToEvent(program *libbpfgo.BPFProg, event string) (link int, err error) {
	text, err := kernelfs.Tracefs.ReadFile("events/" + event + "/id")
	if err != nil {
		return -1, err
	}
	id, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return -1, fmt.Errorf("id of the tracepoint %s: %w", event, err)
	}
	attr := unix.PerfEventAttr{
		Type:   unix.PERF_TYPE_TRACEPOINT,
		Config: id,
		Size:   uint32(unsafe.Sizeof(unix.PerfEventAttr{})),
		Sample: 1,
	}
	fd, err := unix.PerfEventOpen(&attr, -1, 0, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("open the tracepoint %s: %w", event, err)
	}
	defer unix.Close(fd)
	ret := C.bpf_link_create(C.int(program.FileDescriptor()), C.int(fd), C.BPF_PERF_EVENT, nil)
	if ret < 0 {
		return -1, fmt.Errorf("attach to the tracepoint %s: %w", event, unix.Errno(-ret))
	}
	return int(ret), nil
}
