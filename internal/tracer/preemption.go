// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"fmt"
	"strings"

	"github.com/copenclose/copenclose/internal/kernelfs"
)

// preemption is whether the kernel can preempt its own code, and how we know.
type preemption struct {
	possible bool
	because  string
}

// preemptionOf reads it from uname(2)'s version, which has the word PREEMPT where the
// kernel was built for it, and where it can be chosen at boot (PREEMPT_DYNAMIC,
// 5.12), from debugfs (5.13; e59e10f8ef63, "sched: Add /debug/sched_preempt"). What
// cannot be read counts as possible.
func preemptionOf(version string, readMode func() ([]byte, error)) preemption {
	switch {
	case !strings.Contains(version, "PREEMPT"):
		return preemption{false, "it is built without preemption"}
	case !strings.Contains(version, "PREEMPT_DYNAMIC"):
		return preemption{true, "it is built with preemption"}
	}
	text, err := readMode()
	if err != nil {
		return preemption{true, fmt.Sprintf("its mode cannot be read (%v)", err)}
	}
	// All modes in a line, with parentheses about that which is set.
	_, rest, _ := strings.Cut(string(text), "(")
	mode, _, _ := strings.Cut(rest, ")")
	return preemption{mode != "none" && mode != "voluntary", "preempt=" + mode}
}

// readPreemptionMode reads the mode that a PREEMPT_DYNAMIC kernel has.
func readPreemptionMode() ([]byte, error) {
	return kernelfs.Debugfs.ReadFile("sched/preempt")
}
