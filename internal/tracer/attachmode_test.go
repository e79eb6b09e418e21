// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// auto tries first what misses no call, and of that what is cheapest.
func TestChooseModes(t *testing.T) {
	for _, c := range []struct {
		kernel      version
		preempts    bool
		locked      bool
		exact, rest []AttachMode
	}{
		{version{5, 5}, false, false, []AttachMode{Fentry, Tracepoint}, nil},
		{version{5, 10}, true, false, []AttachMode{Fentry, Tracepoint}, nil},
		{version{6, 1}, false, false, []AttachMode{Fentry, Tracepoint, PerfTracepoint}, nil},
		{version{6, 12}, false, false, []AttachMode{Fentry, Tracepoint, PerfTracepoint}, nil},
		{version{6, 12}, true, false, []AttachMode{Tracepoint, PerfTracepoint}, []AttachMode{Fentry}},
		{version{6, 12}, true, true, []AttachMode{Tracepoint, PerfTracepoint}, nil},
		{version{6, 18}, true, false, []AttachMode{Kprobe, Tracepoint, PerfTracepoint}, []AttachMode{Fentry}},
		{version{7, 2}, true, false, []AttachMode{Kprobe, PerfTracepoint}, []AttachMode{Fentry, Tracepoint}},
		{version{7, 2}, false, false, []AttachMode{Fentry, Kprobe, Tracepoint, PerfTracepoint}, nil},
		{version{7, 2}, true, true, []AttachMode{PerfTracepoint}, []AttachMode{Tracepoint}},
	} {
		k := kernel{c.kernel, preemption{possible: c.preempts}}
		chosen, err := chooseModes(AutoAttach, k, func() bool { return c.locked })
		if err != nil {
			t.Fatal(err)
		}
		var got []AttachMode
		for _, w := range chosen {
			if misses := slices.Contains(c.rest, w.mode); misses != w.misses(k) {
				t.Errorf("%+v: %s misses calls: %t", c, w.mode, !misses)
			}
			got = append(got, w.mode)
		}
		if want := append(c.exact, c.rest...); !slices.Equal(got, want) {
			t.Errorf("%+v: chose %v, want %v", c, got, want)
		}
	}
}

// What is asked for is taken alone, or refused with the version that has it.
func TestAskedMode(t *testing.T) {
	locked := func() bool { t.Error("asked whether it is locked down"); return true }
	chosen, err := chooseModes(Kprobe, kernel{release: version{6, 14}}, locked)
	if err != nil || len(chosen) != 1 || chosen[0].mode != Kprobe {
		t.Errorf("%v, %v", chosen, err)
	}
	_, err = chooseModes(Kprobe, kernel{release: version{6, 12}}, locked)
	if err == nil || err.Error() != "--attach kprobe needs kernel 6.14 or later, this is 6.12" {
		t.Error(err)
	}
}

func TestPreemption(t *testing.T) {
	for _, c := range []struct {
		version, mode string
		err           error
		possible      bool
		because       string
	}{
		{"#1 SMP Debian 5.10.223-1 (2024-08-10)", "", nil, false, "without preemption"},
		{"#1 SMP PREEMPT Thu Jan 1 00:00:00 UTC 2026", "", nil, true, "built with preemption"},
		{"#1 SMP PREEMPT_RT Debian", "", nil, true, "built with preemption"},
		{"#1 SMP PREEMPT_DYNAMIC Debian", "none (voluntary) full\n", nil, false, "preempt=voluntary"},
		{"#1 SMP PREEMPT_DYNAMIC Debian", "(none) voluntary full lazy\n", nil, false, "preempt=none"},
		{"#1 SMP PREEMPT_DYNAMIC Debian", "none voluntary (full) lazy\n", nil, true, "preempt=full"},
		{"#1 SMP PREEMPT_DYNAMIC Debian", "full (lazy)\n", nil, true, "preempt=lazy"},
		{"#1 SMP PREEMPT_DYNAMIC Debian", "", nil, true, "preempt="},
		{"#1 SMP PREEMPT_DYNAMIC Debian", "", errors.New("no such file"), true, "cannot be read (no such file)"},
	} {
		got := preemptionOf(c.version, func() ([]byte, error) { return []byte(c.mode), c.err })
		if got.possible != c.possible || !strings.Contains(got.because, c.because) {
			t.Errorf("%q, %q: %+v", c.version, c.mode, got)
		}
	}
}
