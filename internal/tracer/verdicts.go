// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"sync"
	"sync/atomic"

	"github.com/copenclose/copenclose/bpf"
)

// verdicts is the table, mapped, in which the programs look cgroups up. It has no
// sets where no filter needs it.
type verdicts struct {
	mutex sync.Mutex // of writers; the kernel reads a word at a time
	sets  []bpf.VerdictSet
}

// set notes a verdict if there is room; UnknownCgroup makes room.
func (v *verdicts) set(cgroup uint64, verdict bpf.Verdict) {
	if len(v.sets) == 0 {
		return
	}
	v.mutex.Lock()
	defer v.mutex.Unlock()
	way := v.way(cgroup)
	if way == nil {
		return
	}
	word := uint64(0)
	if verdict != bpf.UnknownCgroup {
		word = cgroup<<bpf.KnownBits | uint64(verdict)
	}
	atomic.StoreUint64(way, word)
}

// way is where cgroup is, or else where it can be put.
func (v *verdicts) way(cgroup uint64) (free *uint64) {
	ways := &v.sets[cgroup%uint64(len(v.sets))].Ways
	for i := range ways {
		switch {
		case ways[i] == 0:
			free = &ways[i]
		case ways[i]>>bpf.KnownBits == cgroup:
			return &ways[i]
		}
	}
	return free
}
