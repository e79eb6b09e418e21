// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"errors"

	"github.com/copenclose/copenclose/bpf"
)

// The tracepoint before an exec closes what it closes, from 6.10 on.
const prepareExec = "sched_prepare_exec"

// chooseImplied leaves the programs to load that record closes by exit and by exec. Where
// the programs of a mode cannot be preempted, neither can these: see modes.
func (o *object) chooseImplied(cfg Config, mode AttachMode) error {
	exec, err := o.module.GetProgram(bpf.ExecClosesProgram)
	if err != nil {
		return err
	}
	hasTracepoint := cfg.AllCloses && exec.SetAttachTarget(0, prepareExec) == nil
	onFunction := cfg.AllCloses && !hasTracepoint && !refusesFentry()
	o.hidesExecCloses = cfg.AllCloses && !hasTracepoint && !onFunction
	byEvent := mode == Kprobe || mode == PerfTracepoint
	return errors.Join(
		o.chooseProgram(bpf.ExitClosesProgram, cfg.AllCloses && !byEvent),
		o.chooseProgram(bpf.PerfExitClosesProgram, cfg.AllCloses && byEvent),
		o.chooseProgram(bpf.ExecClosesProgram, cfg.AllCloses && hasTracepoint && !byEvent),
		o.chooseProgram(bpf.PerfExecClosesProgram, cfg.AllCloses && hasTracepoint && byEvent),
		o.chooseProgram(bpf.FentryExecClosesProgram, onFunction),
	)
}
