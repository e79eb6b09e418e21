// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/copenclose/copenclose/internal/privilege"
	"github.com/copenclose/copenclose/internal/tracer"
)

// syscalls are those that the trial traces: with them come all programs and maps but
// those of filters.
var syscalls = []string{"openat", "accept4", "connect", "close"}

// try attaches as -o json does, has every program answer, and detaches. It returns why
// calls can be missed that way, empty if they cannot.
func try(way tracer.AttachMode, buffer tracer.BufferKind) (t *tracer.Tracer, misses string, err error) {
	t, err = tracer.New(tracer.Config{
		Attach: way, Buffer: buffer, BufferSize: 8 << 20,
		Syscalls: syscalls, Hostname: true, Details: true, Latency: true, File: true, Cgroups: true,
	})
	if err != nil {
		return nil, "", err
	}
	defer t.Close()
	return t, t.Misses(), t.Start()
}

// tracing tries each way and each buffer, and then what is taken without being asked
// for one of them.
func tracing(ctx context.Context) (ways []Finding, verdict Finding) {
	if err := privilege.CheckTracing(); err != nil {
		return nil, missing(Tracing, err.Error(), "", howToPrivilege)
	}
	for _, way := range tracer.AttachModes() {
		if ctx.Err() == nil {
			ways = append(ways, wayToAttach(way))
		}
	}
	if i := slices.IndexFunc(ways, func(f Finding) bool { return f.Status == OK }); i >= 0 {
		for j := range ways {
			if ways[j].Status != OK {
				ways[j].Do = "take " + ways[i].Check + ", as auto does"
			}
		}
	}
	for _, kind := range []tracer.BufferKind{tracer.Ring, tracer.Perf} {
		if ctx.Err() == nil {
			ways = append(ways, bufferKind(kind))
		}
	}
	return ways, withoutBeingAsked()
}

func wayToAttach(way tracer.AttachMode) Finding {
	check := "--attach " + string(way)
	_, misses, err := try(way, tracer.AutoBuffer)
	switch {
	case err != nil:
		return missing(check, reason(err), "", "boot a kernel that takes it")
	case misses != "":
		return degraded(check, "attached, and every program answered", "calls of busy CPUs, which the summary counts as missed: "+misses, "")
	}
	return ok(check, "attached, every program answered; misses no call")
}

func bufferKind(kind tracer.BufferKind) Finding {
	check := "--buffer " + string(kind)
	if _, _, err := try(tracer.AutoAttach, kind); err != nil {
		do := "take --buffer perf, as auto does"
		if kind == tracer.Perf {
			do = "a smaller --buffer-size, CAP_IPC_LOCK, or a larger kernel.perf_event_mlock_kb"
		}
		return missing(check, reason(err), "", do)
	}
	return ok(check, "8 MiB")
}

func withoutBeingAsked() Finding {
	t, misses, err := try(tracer.AutoAttach, tracer.AutoBuffer)
	switch {
	case err != nil:
		return missing(Tracing, reason(err), "", "what the lines above say")
	case misses != "":
		return degraded(Tracing, fmt.Sprintf("works with --attach %s and a %s buffer", t.AttachMode(), t.Buffer()),
			"calls of busy CPUs, because no way that misses none is there", "")
	}
	return ok(Tracing, fmt.Sprintf("works with --attach %s and a %s buffer, and misses no call", t.AttachMode(), t.Buffer()))
}

// reason is an error in one line, without the advice that a trace gives with it: the
// other findings are that.
func reason(err error) string {
	if refusal := (*tracer.Refusal)(nil); errors.As(err, &refusal) {
		err = refusal.Err
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}
