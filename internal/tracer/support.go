// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

/*
#include <bpf/bpf.h>

static int load_fexit_on_nothing(void)
{
	const struct bpf_insn nothing[] = { { .code = BPF_JMP | BPF_EXIT } };
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_TRACE_FEXIT, .attach_btf_id = 1);

	return bpf_prog_load(BPF_PROG_TYPE_TRACING, NULL, "GPL", nothing, 1, &opts);
}
*/
import "C"

import (
	"github.com/aquasecurity/libbpfgo"
	"golang.org/x/sys/unix"
)

// bestBuffer is Ring where the kernel has it.
func bestBuffer() BufferKind {
	if ok, err := libbpfgo.BPFMapTypeIsSupported(libbpfgo.MapTypeRingbuf); err == nil && ok {
		return Ring
	}
	return Perf
}

// refusesFentry reports whether fentry is forbidden, as on a kernel that is locked down.
// The kernel checks this before it looks at the program, so probing is cheaper than
// loading ours.
func refusesFentry() bool {
	return unix.Errno(-C.load_fexit_on_nothing()) == unix.EPERM
}
