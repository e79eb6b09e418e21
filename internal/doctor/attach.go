// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/copenclose/copenclose/internal/privilege"
	"github.com/copenclose/copenclose/internal/tracer"
)

// syscalls are those that the trial traces: with them come all programs and maps but
// those of filters.
var syscalls = []string{"openat", "accept4", "connect", "close"}

// try attaches as -o json does, has every program answer, and detaches. It returns
// which buffer that was, and why calls can be missed that way, empty if they cannot.
func try(mode tracer.AttachMode, buffer tracer.BufferKind) (kind tracer.BufferKind, misses string, err error) {
	t, err := tracer.New(tracer.Config{
		Attach: mode, Buffer: buffer, BufferSize: 8 << 20,
		Syscalls: syscalls, Hostname: true, Details: true, Latency: true, File: true, Cgroups: true,
	})
	if err != nil {
		return "", "", err
	}
	defer t.Close()
	return t.Buffer(), t.Misses(), t.Start()
}

// tracing tries each mode and each buffer. What is taken without being asked for is the
// first mode that misses no call, or else the first, as tracer.New has it.
func tracing(ctx context.Context) (findings []Finding, verdict Finding) {
	if err := privilege.CheckTracing(); err != nil {
		return nil, missing(Tracing, err.Error(), "", howToPrivilege)
	}
	var exact, inexact []tracer.AttachMode
	var best tracer.BufferKind
	for _, mode := range tracer.AttachModes() {
		if ctx.Err() != nil {
			break
		}
		kind, misses, err := try(mode, tracer.AutoBuffer)
		check := "--attach " + string(mode)
		switch {
		case err != nil:
			findings = append(findings, missing(check, reason(err), "", "boot a kernel that takes it"))
			continue
		case misses != "":
			findings = append(findings, degraded(check, "attached, and every program answered",
				"calls of busy CPUs, which the summary counts as missed: "+misses, ""))
			inexact = append(inexact, mode)
		default:
			findings = append(findings, ok(check, "attached, every program answered; misses no call"))
			exact = append(exact, mode)
		}
		best = kind
	}
	modes := append(exact, inexact...)
	if len(modes) == 0 {
		return findings, missing(Tracing, "no way to attach works", "", "what the lines above say")
	}
	for i := range findings {
		if findings[i].Status != OK {
			findings[i].Do = fmt.Sprintf("take --attach %s, as auto does", modes[0])
		}
	}
	findings = append(findings, buffers(modes[len(modes)-1], best)...)
	works := fmt.Sprintf("works with --attach %s and a %s buffer", modes[0], best)
	if len(exact) == 0 {
		return findings, degraded(Tracing, works, "calls of busy CPUs, because no way that misses none is there", "")
	}
	return findings, ok(Tracing, works+", and misses no call")
}

// buffers tries the perf buffer. best is what was taken without being asked for, which
// is the ring buffer where the kernel has it.
func buffers(mode tracer.AttachMode, best tracer.BufferKind) (findings []Finding) {
	check := "--buffer " + string(tracer.Ring)
	if best == tracer.Ring {
		findings = append(findings, ok(check, "8 MiB"))
	} else {
		findings = append(findings, degraded(check, "this kernel has none (5.8)", "a wakeup at the first event: it is shown within 90 ms", "take --buffer perf, as auto does"))
	}
	check = "--buffer " + string(tracer.Perf)
	if _, _, err := try(mode, tracer.Perf); err != nil {
		return append(findings, missing(check, reason(err), "", "a smaller --buffer-size, CAP_IPC_LOCK, or a larger kernel.perf_event_mlock_kb"))
	}
	return append(findings, ok(check, "8 MiB for each CPU"))
}

// reason is an error in one line, without the advice that a trace gives with it: the
// other findings are that.
func reason(err error) string {
	if refusal := (*tracer.Refusal)(nil); errors.As(err, &refusal) {
		err = refusal.Err
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}
