// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package doctor looks at what tracing needs of the machine and of this process: it
// tries what can be tried, and says what is lost or what to do.
package doctor

import (
	"context"
	"slices"
)

// Status says how what was looked at is.
type Status string

// The statuses there are.
const (
	OK       Status = "ok"
	Degraded Status = "degraded" // works, but for what Finding.Lost says
	Missing  Status = "missing"  // does not work; Finding.Do says what to do
)

// Finding is what was found about one thing.
type Finding struct {
	Check  string
	Status Status
	Found  string
	Lost   string // with Degraded and Missing
	Do     string // with Missing, and where something helps
}

// Tracing is the last check, which sums the others up: tracing works unless it is
// Missing.
const Tracing = "tracing"

// Works reports whether tracing works.
func Works(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Check == Tracing && f.Status != Missing })
}

// Examine looks at everything, and takes a second or two for it, because each way to
// attach is tried. Sockets are those of the runtimes to ask, none for those that are
// found. It returns early when ctx is done.
func Examine(ctx context.Context, sockets []string) (findings []Finding) {
	add := func(more ...Finding) { findings = append(findings, more...) }
	add(kernel(), btf(), lockdown(), preemption(), tracefs(), proc())
	add(capabilities()...)
	add(memory())
	ways, verdict := tracing(ctx)
	add(ways...)
	add(cgroups()...)
	add(runtimes(ctx, sockets)...)
	add(kept())
	add(verdict)
	return findings
}

func ok(check, found string) Finding { return Finding{Check: check, Status: OK, Found: found} }

func degraded(check, found, lost, do string) Finding {
	return Finding{check, Degraded, found, lost, do}
}

func missing(check, found, lost, do string) Finding {
	return Finding{check, Missing, found, lost, do}
}
