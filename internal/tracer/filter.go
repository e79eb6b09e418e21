// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/selection"
)

// Filter says which calls are recorded; the kernel decides, before it reserves a
// record. All lists must let a call pass. bpf/filter.h is its other half.
type Filter struct {
	IgnoreHost     bool // leave out the initial PID namespace but for containers' cgroups; see Tracer.SetVerdict
	OnlyChosen     bool // only cgroups whose verdict is bpf.Chosen, or not known
	Failed         bool // only calls that failed
	PIDs           selection.List[uint32]
	TIDs           selection.List[uint32]
	UIDs           selection.List[uint32]
	GIDs           selection.List[uint32]
	Errnos         selection.List[uint32] // exceptions alone let calls pass that succeed
	Comms          selection.List[string] // whole names, or with a * at their end, beginnings; the longest decides
	Paths          selection.List[string] // beginnings, at most bpf.PrefixMax bytes; the longest decides
	Cgroups        selection.List[string] // directories of cgroup v2; what is below counts, too
	FollowChildren bool                   // what PIDs say of a process they say of its descendants
	Command        bool                   // add to PIDs the programs that this process runs, from their first instruction
}

// entries calls add for each entry of l; exceptions come last, so that one that is in
// both is an exception.
func entries[T any](l *selection.List[T], add func(entry T, says bpf.Listing) error) error {
	for _, of := range []struct {
		entries []T
		says    bpf.Listing
	}{{l.Only, bpf.ListingOnly}, {l.Except, bpf.ListingExcept}} {
		for _, entry := range of.entries {
			if err := add(entry, of.says); err != nil {
				return err
			}
		}
	}
	return nil
}

// ids are the lists of numbers, by what they are of.
func (f *Filter) ids() [bpf.IDKinds]*selection.List[uint32] {
	return [...]*selection.List[uint32]{bpf.PID: &f.PIDs, bpf.TID: &f.TIDs, bpf.UID: &f.UIDs, bpf.GID: &f.GIDs, bpf.Errno: &f.Errnos}
}

func (f *Filter) usesIDs() bool {
	for _, list := range f.ids() {
		if list.Len() > 0 {
			return true
		}
	}
	return f.Command
}

// hidesConnects reports whether the filter of paths lets nothing pass that has none.
func (f *Filter) hidesConnects() bool { return len(f.Paths.Only) > 0 }

// configure sets the programs' constants.
func (f *Filter) configure(c *bpf.Config) {
	for kind, list := range f.ids() {
		c.OnlyIDs[kind] = list.Len() > 0
		c.OtherIDs[kind] = len(list.Only) == 0
		if list.Len() == 1 {
			c.HasOneID[kind], c.OneID[kind] = true, slices.Concat(list.Only, list.Except)[0]
		}
	}
	if f.FollowChildren || f.Command {
		c.OnlyIDs[bpf.PID], c.HasOneID[bpf.PID] = true, false
	}
	if f.Command {
		c.OtherIDs[bpf.PID] = false
	}
	c.Follow = f.FollowChildren
	c.IgnoreHost = f.IgnoreHost
	c.OnlyFailed = f.Failed
	c.OnlyComms, c.OtherComms = f.Comms.Len() > 0, len(f.Comms.Only) == 0
	c.OnlyPaths, c.OtherPaths = f.Paths.Len() > 0, len(f.Paths.Only) == 0
	c.OnlyCgroups, c.ExceptCgroups = uint32(len(f.Cgroups.Only)), uint32(len(f.Cgroups.Except))
	c.OnlyChosen = f.OnlyChosen
}

// fill puts the lists into the maps of o.
func (f *Filter) fill(o *object) error {
	for kind, list := range f.ids() {
		if err := entries(list, func(value uint32, says bpf.Listing) error {
			return put(o, bpf.IDsMap, bpf.ID{Kind: bpf.IDKind(kind), Value: value}, says)
		}); err != nil {
			return err
		}
	}
	if err := entries(&f.Comms, func(comm string, says bpf.Listing) error {
		return put(o, bpf.CommsMap, commPrefix(comm), says)
	}); err != nil {
		return err
	}
	if err := entries(&f.Paths, func(path string, says bpf.Listing) error {
		prefix := bpf.PathPrefix{Bits: uint32(8 * len(path))}
		copy(prefix.Path[:], path)
		return put(o, bpf.PathsMap, prefix, says)
	}); err != nil {
		return err
	}
	n := 0
	return entries(&f.Cgroups, func(dir string, _ bpf.Listing) error {
		n++
		return f.fillCgroup(o, n-1, dir)
	})
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
