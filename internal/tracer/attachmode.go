// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"fmt"
	"slices"
)

// A Way is how the programs are attached.
type Way string

// The ways there are. AutoWay takes the first that misses no call on this kernel,
// and is accepted by it.
const (
	AutoWay        Way = "auto"
	Fentry         Way = "fentry"     // trampolines of the syscall handlers
	Kprobe         Way = "kprobe"     // fprobes of the syscall handlers
	Tracepoint     Way = "tracepoint" // sys_enter and sys_exit, with types (tp_btf)
	PerfTracepoint Way = "perf"       // the same through perf events
)

// wayOnKernel is what a way needs of a kernel. While a program is active on a CPU,
// the kernel skips it there for others; where the program's task can be preempted
// meanwhile, that are the calls of a whole time slice.
type wayOnKernel struct {
	way          Way
	since        version
	preemptSince version // from when its programs can be preempted, where the kernel preempts itself
	onFunctions  bool    // refused by a kernel that is locked down
}

var never = version{1 << 20, 0}

// ways are in the order of their cost: the first two cost calls that are not traced
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
var ways = []wayOnKernel{
	{Fentry, oldest, version{5, 12}, true},
	{Kprobe, version{6, 14}, never, true},
	{Tracepoint, oldest, version{7, 0}, false},
	{PerfTracepoint, version{6, 1}, never, false},
}

// misses reports whether the way can miss calls on a kernel.
func (w wayOnKernel) misses(k kernel) bool {
	return k.preemption.possible && !k.release.before(w.preemptSince)
}

// chooseWays returns the ways to try, one after the other: for AutoWay those that
// miss no call first.
func chooseWays(asked Way, k kernel, lockedDown func() bool) ([]wayOnKernel, error) {
	if asked != AutoWay {
		w := ways[slices.IndexFunc(ways, func(w wayOnKernel) bool { return w.way == asked })]
		if k.release.before(w.since) {
			return nil, fmt.Errorf("--attach %s needs kernel %s or later, this is %s", asked, w.since, k.release)
		}
		return []wayOnKernel{w}, nil
	}
	locked := lockedDown()
	var exact, rest []wayOnKernel
	for _, w := range ways {
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
