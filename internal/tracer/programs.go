// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"errors"
	"runtime"
	"slices"

	"github.com/copenclose/copenclose/bpf"
)

// choosePrograms leaves those programs to load that the configuration, mode and
// this kernel need, and notes which syscalls they trace.
func (o *object) choosePrograms(cfg Config, mode AttachMode) error {
	for i, s := range bpf.Syscalls {
		onlyCloses := slices.Contains(cfg.OnlyCloses, s.Name)
		if !s.Exists() || !slices.Contains(cfg.Syscalls, s.Name) || onlyCloses && !cfg.usesSlots() {
			continue
		}
		o.syscalls |= 1 << i
		if onlyCloses {
			o.onlyCloses |= 1 << i
		}
	}
	if err := o.chooseHandlers(cfg, mode); err != nil {
		return err
	}
	if o.syscalls == 0 {
		return errors.New("the kernel has none of these syscalls, or they are shown only with -o wide and -o json")
	}
	atEntry := cfg.Latency || cfg.usesSlots() && slices.ContainsFunc(o.traced(), func(s bpf.Syscall) bool { return s.Closes })
	return errors.Join(
		// Before what shows that the process ends.
		o.chooseImplied(cfg, mode),
		o.chooseProgram(bpf.HandlersReturnProgram, mode == Kprobe),
		o.chooseProgram(bpf.HandlersEnterProgram, mode == Kprobe && atEntry),
		o.chooseProgram(bpf.SysExitProgram, mode == Tracepoint),
		o.chooseProgram(bpf.SysEnterProgram, mode == Tracepoint && atEntry),
		o.chooseProgram(bpf.PerfSysExitProgram, mode == PerfTracepoint),
		o.chooseProgram(bpf.PerfSysEnterProgram, mode == PerfTracepoint && atEntry),
		o.chooseProgram(bpf.SignalProgram, true),
		o.chooseProgram(bpf.ExitProgram, true),
		o.chooseProgram(bpf.StateProgram, o.watchesConnects(cfg)),
		o.chooseProgram(bpf.ForkProgram, cfg.Filter.FollowChildren || cfg.Programs),
		o.chooseProgram(bpf.ExecProgram, cfg.Filter.Command || cfg.Programs || o.traces("exec")),
		o.chooseOpening(cfg), // after what lists a command's process
		o.chooseProgram(bpf.MkdirProgram, cfg.Cgroups),
		o.chooseProgram(bpf.RmdirProgram, cfg.Cgroups),
		o.chooseURing(cfg),
	)
}

// watchesConnects reports whether the outcome of connects is recorded. A filter of
// paths lets none of them pass.
func (o *object) watchesConnects(cfg Config) bool {
	return cfg.Details && !cfg.Filter.hidesConnects() && o.traces("connect")
}

func (o *object) traces(name string) bool {
	return slices.ContainsFunc(o.traced(), func(s bpf.Syscall) bool { return s.Name == name })
}

// traced are the syscalls whose calls are recorded.
func (o *object) traced() (traced []bpf.Syscall) {
	for i, s := range bpf.Syscalls {
		if o.syscalls&(1<<i) != 0 {
			traced = append(traced, s)
		}
	}
	return traced
}

// handler is a function of the kernel that handles a syscall.
type handler struct {
	syscall  bpf.Syscall
	abi      bpf.ABI
	function string
}

// chooseHandlers finds the functions that handle the syscalls that are traced, if mode
// is on functions; for fentry it leaves a program for each of them to load.
func (o *object) chooseHandlers(cfg Config, mode AttachMode) error {
	onFunctions, load := mode == Fentry || mode == Kprobe, mode == Fentry
	for i, s := range bpf.Syscalls {
		if s.Event {
			continue
		}
		wanted := onFunctions && o.syscalls&(1<<i) != 0
		atEntry := cfg.Latency || cfg.usesSlots() && s.Closes
		found := false
		for _, abi := range []bpf.ABI{bpf.ABI64, bpf.ABI32} {
			has, err := o.chooseHandler(s, abi, wanted, load, atEntry)
			if err != nil {
				return err
			}
			found = found || has
		}
		if wanted && !found {
			// An older kernel without this syscall.
			o.syscalls &^= 1 << i
		}
	}
	bySocketcall := onFunctions && slices.ContainsFunc(o.traced(), func(s bpf.Syscall) bool { return s.Socketcall != 0 })
	_, err := o.chooseHandler(bpf.Socketcall, bpf.ABI32, bySocketcall, load, cfg.Latency)
	return err
}

// chooseHandler aims the programs for a syscall at the first of its functions that
// the kernel has. What is not loaded is aimed all the same, to know whether it has one.
// Syscalls that share a function share a program.
func (o *object) chooseHandler(s bpf.Syscall, abi bpf.ABI, wanted, load, atEntry bool) (found bool, err error) {
	exit, err := o.module.GetProgram(s.ExitProgram(abi))
	if err != nil {
		return false, err
	}
	entry, err := o.module.GetProgram(s.EntryProgram(abi))
	if err != nil {
		return false, err
	}
	for _, function := range handlers(s, abi) {
		if !wanted || exit.SetAttachTarget(0, function) != nil {
			continue
		}
		found = true
		if slices.ContainsFunc(o.handlers, func(h handler) bool { return h.function == function }) {
			load = false
			break
		}
		o.handlers = append(o.handlers, handler{s, abi, function})
		if err := entry.SetAttachTarget(0, function); err != nil {
			return false, err
		}
		break
	}
	return found, errors.Join(
		o.chooseProgram(s.ExitProgram(abi), found && load),
		o.chooseProgram(s.EntryProgram(abi), found && load && atEntry),
	)
}

func (o *object) chooseProgram(name string, wanted bool) error {
	program, err := o.module.GetProgram(name)
	if err != nil {
		return err
	}
	if !wanted {
		return program.SetAutoload(false)
	}
	o.programs = append(o.programs, program)
	return nil
}

// handlers are the functions that may handle a syscall, the likelier first; the names
// are made by SYSCALL_DEFINE in arch/*/include/asm/syscall_wrapper.h. Where a syscall
// has a compat handler, 32-bit programs do not call the plain one. On arm64 those
// without one go through the same functions as 64-bit programs, as do those without
// arguments on x86-64, where SYSCALL_DEFINE0 gives one function both names.
func handlers(s bpf.Syscall, abi bpf.ABI) []string {
	name := s.Name
	switch {
	case abi == bpf.ABI32 && s.Time32:
		name += "_time32"
	case runtime.GOARCH == "amd64" && abi == bpf.ABI32 && s.I386Handler != "":
		name = s.I386Handler
	}
	switch {
	case runtime.GOARCH == "arm64" && abi == bpf.ABI32:
		return []string{"__arm64_compat_sys_" + name}
	case runtime.GOARCH == "arm64":
		return []string{"__arm64_sys_" + s.Name}
	case abi == bpf.ABI32 && s.TakesNothing:
		return nil
	case abi == bpf.ABI32:
		return []string{"__ia32_compat_sys_" + name, "__ia32_sys_" + name}
	}
	return []string{"__x64_sys_" + s.Name}
}
