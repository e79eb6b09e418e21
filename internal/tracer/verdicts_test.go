// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"slices"
	"testing"

	"github.com/copenclose/copenclose/bpf"
)

// known is what the kernel finds in the table.
func known(v *verdicts, cgroup uint64) bpf.Verdict {
	for _, way := range v.sets[cgroup%uint64(len(v.sets))].Ways {
		if way>>bpf.KnownBits == cgroup {
			return bpf.Verdict(way & (1<<bpf.KnownBits - 1))
		}
	}
	return bpf.UnknownCgroup
}

func TestVerdicts(t *testing.T) {
	v := &verdicts{sets: make([]bpf.VerdictSet, bpf.VerdictSets)}
	// As many of one set as there is room for, and one more.
	cgroups := []uint64{7, 7 + bpf.VerdictSets, 7 + 2*bpf.VerdictSets, 7 + 3*bpf.VerdictSets, 7 + 4*bpf.VerdictSets}
	want := []bpf.Verdict{bpf.Host, bpf.Container, bpf.Chosen, bpf.Host, bpf.UnknownCgroup}
	check := func(what string) {
		t.Helper()
		var got []bpf.Verdict
		for _, cgroup := range cgroups {
			got = append(got, known(v, cgroup))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	for i, cgroup := range cgroups {
		v.set(cgroup, max(want[i], bpf.Host))
	}
	check("a full set")
	v.set(cgroups[0], bpf.Container)
	want[0] = bpf.Container
	check("a verdict that changed")
	v.set(cgroups[1], bpf.UnknownCgroup)
	v.set(cgroups[4], bpf.Chosen)
	want[1], want[4] = bpf.UnknownCgroup, bpf.Chosen
	check("room was made")
	v.set(cgroups[1], bpf.UnknownCgroup)
	check("nothing to forget")
}

func TestNoVerdictsWithoutTable(t *testing.T) {
	new(verdicts).set(7, bpf.Host)
}
