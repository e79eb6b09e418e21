// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"fmt"
	"slices"
)

// A AttachMode is how the programs are attached.
type AttachMode string

// The modes there are. AutoAttach takes the first that misses no call on this kernel,
// and is accepted by it.
const (
	AutoAttach     AttachMode = "auto"
	Fentry         AttachMode = "fentry"     // trampolines of the syscall handlers
	Kprobe         AttachMode = "kprobe"     // fprobes of the syscall handlers
	Tracepoint     AttachMode = "tracepoint" // sys_enter and sys_exit, with types (tp_btf)
	PerfTracepoint AttachMode = "perf"       // the same through perf events
)

// modeOnKernel is what a mode needs of a kernel. While a program is active on a CPU,
// the kernel skips it there for others; where the program's task can be preempted
// meanwhile, that are the calls of a whole time slice.
type modeOnKernel struct {
	mode         AttachMode
	since        version
	preemptSince version // from when its programs can be preempted, where the kernel preempts itself
	onFunctions  bool    // refused by a kernel that is locked down
}

var never = version{1 << 20, 0}

// modes are in the order of their cost: the first two cost calls that are not traced
// nothing, and of each two the second costs more for each traced call.
//
//   - fentry: programs can be preempted since 5.12 (ca06f55b9002, "bpf: Add
//     per-program recursion prevention mechanism").
//   - kprobe: until 6.14 (4346ba160409, "fprobe: Rewrite fprobe on function-graph
//     tracer") calls that wait share a small pool, and others are missed when
//     somebody has taken all of it.
//   - tracepoint: its programs can be preempted since 7.0 (a46023d5616e, "tracing:
//     Guard __DECLARE_TRACE() use of __DO_TRACE_CALL() with SRCU-fast").
//   - perf: the maps' memory can be allocated in its programs since 6.1
//     (7c8199e24fa0, "bpf: Introduce any context BPF specific memory allocator").
var modes = []modeOnKernel{
	{Fentry, oldest, version{5, 12}, true},
	{Kprobe, version{6, 14}, never, true},
	{Tracepoint, oldest, version{7, 0}, false},
	{PerfTracepoint, version{6, 1}, never, false},
}

// misses reports whether the mode can miss calls on a kernel.
func (w modeOnKernel) misses(k kernel) bool {
	return k.preemption.possible && !k.release.before(w.preemptSince)
}

// chooseModes returns the modes to try, one after the other: for AutoAttach those that
// miss no call first.
func chooseModes(asked AttachMode, k kernel, lockedDown func() bool) ([]modeOnKernel, error) {
	if asked != AutoAttach {
		w := modes[slices.IndexFunc(modes, func(w modeOnKernel) bool { return w.mode == asked })]
		if k.release.before(w.since) {
			return nil, fmt.Errorf("--attach %s needs kernel %s or later, this is %s", asked, w.since, k.release)
		}
		return []modeOnKernel{w}, nil
	}
	locked := lockedDown()
	var exact, rest []modeOnKernel
	for _, w := range modes {
		switch {
		case k.release.before(w.since), locked && w.onFunctions:
		case w.misses(k):
			rest = append(rest, w)
		default:
			exact = append(exact, w)
		}
	}
	return append(exact, rest...), nil
}

// TracepointMode returns which of Tracepoint and PerfTracepoint to take on this kernel
// where asked is AutoAttach, and whether even that can miss calls.
func TracepointMode(asked AttachMode) (mode AttachMode, misses bool, err error) {
	k, err := checkKernel()
	if err != nil {
		return "", false, err
	}
	chosen, err := chooseModes(asked, k, func() bool { return true })
	if err != nil {
		return "", false, err
	}
	return chosen[0].mode, chosen[0].misses(k), nil
}
