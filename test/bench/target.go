// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package main

import (
	"fmt"
	"io"
)

// printTargets prints what was to be reached, and what was.
func printTargets(w io.Writer, s settings, m *measured, a alone) error {
	fmt.Fprintf(w, "\nWhat is to be reached. What calls cost that are left out or not traced is the time in programs.\n\n")
	t := newTable(w, s, "figure", "target", "measured", "met")
	line := func(figure string, target, got float64, unit string) error {
		return t.Append(figure, format(target)+unit, format(got)+unit, yes(got <= target))
	}
	call := func(name string) float64 { return m.middle(name, added) }
	inside := func(name string) float64 { return m.middle(name, inTraced) }
	other := func(name string) float64 { return m.middle(name, inUntraced) }
	type figure struct {
		name        string
		target, got float64
		unit        string
		missing     bool
	}
	noPeer := m.failed(opensnoop) != nil
	for _, f := range []figure{
		{"time added to a call, as a part of opensnoop's", 1. / 20, call(ours) / call(opensnoop), "", noPeer},
		{"the same, beside the ring alone", 1.4, call(ours) / call(ringAlone), "", false},
		{"-o wide, as a part of opensnoop's", 1. / 10, call(oursWide) / call(opensnoop), "", noPeer},
		{"-o json, as a part of opensnoop's", 1. / 10, call(oursJSON) / call(opensnoop), "", noPeer},
		{"CPU per event, table", 150, m.middle(ours, cpu), " ns", false},
		{"CPU per event, wide", 250, m.middle(oursWide, cpu), " ns", false},
		{"CPU per event, json", 300, m.middle(oursJSON, cpu), " ns", false},
		{"a counted call's time in programs, as a part of a streamed row's", 0.6, inside(counted) / inside(ours), "", false},
		{"start to attached, summary", 250, m.middle(counted, startup), " ms", false},
		{fmt.Sprintf("events lost of %d", a.long.made), 0, float64(a.long.made - a.long.seen), "", a.long.made == 0},
		{"call left out by -I, more than one the program returns from at once", 60, inside(hostLeft) - inside(notCalled), " ns", false},
		{"call left out by -p, more than one the program returns from at once", 60, inside(othersPID) - inside(notCalled), " ns", false},
		{"untraced call, more than an empty program", 25, other(ours) - other(emptyExit), " ns", false},
		{"untraced call, wide, more than two empty programs", 25, other(oursWide) - other(emptyBoth), " ns", false},
		{"start to attached", 250, m.middle(ours, startup), " ms", false},
		{"start to attached, wide", 250, m.middle(oursWide, startup), " ms", false},
		{"resident memory under load", 32, a.long.resident / 1024, " MiB", a.long.made == 0},
		{"CPU when nothing happens", 0.3, 100 * a.idle, " % of a core", s.idle == 0},
		{"allocations per event (go test -bench)", 0, a.allocs, "", !a.hasAlloc},
		{"program of a row, looked up (go test -bench)", 25, a.ofRow, " ns", a.ofRow == 0},
		{"static binary", 12, a.size / (1 << 20), " MiB", false},
	} {
		var err error
		if f.missing {
			err = t.Append(f.name, format(f.target)+f.unit, "not measured", "no")
		} else {
			err = line(f.name, f.target, f.got, f.unit)
		}
		if err != nil {
			return err
		}
	}
	return t.Render()
}

func format(v float64) string {
	switch {
	case v == float64(int(v)):
		return fmt.Sprintf("%.0f", v)
	case v < 0.1 && v > -0.1:
		return fmt.Sprintf("%.3f", v)
	case v < 10 && v > -10:
		return fmt.Sprintf("%.2f", v)
	case v < 100 && v > -100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "NO"
}
