// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
)

// Filter says which calls are recorded; the kernel decides, before it reserves a
// record. Of each list one entry must match, and of the lists all; an empty list
// lets everything pass. bpf/filter.h is its other half.
type Filter struct {
	IgnoreHost     bool // leave out the initial PID namespace but for containers' cgroups; see Tracer.SetVerdict
	OnlyChosen     bool // only cgroups whose verdict is bpf.Chosen, or not known
	Failed         bool // only calls that failed
	PIDs           []uint32
	TIDs           []uint32
	UIDs           []uint32
	GIDs           []uint32
	Errnos         []uint32
	Comms          []string // whole names, or with a * at their end, beginnings
	Paths          []string // beginnings, at most bpf.PrefixMax bytes
	Cgroups        []string // directories of cgroup v2; what is below counts, too
	FollowChildren bool     // add to PIDs the children of PIDs
	Command        bool     // add to PIDs the programs that this process runs, from their first instruction
}

// lists are those that are numbers.
func (f *Filter) lists() [bpf.IDKinds][]uint32 {
	return [...][]uint32{bpf.PID: f.PIDs, bpf.TID: f.TIDs, bpf.UID: f.UIDs, bpf.GID: f.GIDs, bpf.Errno: f.Errnos}
}

func (f *Filter) ids() (ids []bpf.ID) {
	for kind, values := range f.lists() {
		for _, v := range values {
			ids = append(ids, bpf.ID{Kind: bpf.IDKind(kind), Value: v})
		}
	}
	return ids
}

// configure sets the programs' constants.
func (f *Filter) configure(c *bpf.Config) {
	for kind, values := range f.lists() {
		c.OnlyIDs[kind] = len(values) > 0
		if len(values) == 1 {
			c.HasOneID[kind], c.OneID[kind] = true, values[0]
		}
	}
	if f.FollowChildren || f.Command {
		c.OnlyIDs[bpf.PID], c.HasOneID[bpf.PID] = true, false
	}
	c.Follow = f.FollowChildren
	c.IgnoreHost = f.IgnoreHost
	c.OnlyFailed = f.Failed
	c.OnlyComms = len(f.Comms) > 0
	c.OnlyPaths = len(f.Paths) > 0
	c.OnlyCgroups = uint32(len(f.Cgroups))
	c.OnlyChosen = f.OnlyChosen
}

func (f *Filter) usesVerdicts() bool { return f.IgnoreHost || f.OnlyChosen }

const listed = uint8(1)

// fill puts the lists into the maps of o.
func (f *Filter) fill(o *object) error {
	for _, id := range f.ids() {
		if err := put(o, bpf.IDsMap, id, listed); err != nil {
			return err
		}
	}
	for _, comm := range f.Comms {
		if err := put(o, bpf.CommsMap, commPrefix(comm), listed); err != nil {
			return err
		}
	}
	for _, path := range f.Paths {
		prefix := bpf.PathPrefix{Bits: uint32(8 * len(path))}
		copy(prefix.Path[:], path)
		if err := put(o, bpf.PathsMap, prefix, listed); err != nil {
			return err
		}
	}
	for i, dir := range f.Cgroups {
		if err := f.fillCgroup(o, i, dir); err != nil {
			return err
		}
	}
	return nil
}

// commPrefix is the beginning that the names matched by pattern have. That of a
// whole name includes the NUL behind it.
func commPrefix(pattern string) bpf.CommPrefix {
	name, isPrefix := strings.CutSuffix(pattern, "*")
	var p bpf.CommPrefix
	length := copy(p.Comm[:len(p.Comm)-1], name)
	if !isPrefix {
		length++
	}
	p.Bits = uint32(8 * length)
	return p
}

func (f *Filter) fillCgroup(o *object, i int, dir string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the cgroup %s: %w", dir, err)
	}
	defer unix.Close(fd)
	return put(o, bpf.CgroupsMap, uint32(i), uint32(fd))
}
