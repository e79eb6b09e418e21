// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
)

// HostFilesLimit is what the limit on files of the whole host is called.
const HostFilesLimit = "files"

// A Limit is another limit than a process's own on what can be open.
type Limit struct {
	What string // HostFilesLimit, inotify instances or inotify watches
	// Owner is the uid that an inotify limit counts for, in the initial user
	// namespace. Of the host's files it means nothing.
	Owner uint32
	Used  uint64
	Max   uint64
	// Most is the program that holds most of it, and MostCount how many; inotify
	// instances only.
	Most      string
	MostCount int
}

// Use is how much of the limit is used, 1 for all.
func (l *Limit) Use() float64 { return float64(l.Used) / float64(max(l.Max, 1)) }

const fileNR = "/proc/sys/fs/file-nr"

// HostFiles reads how many files the host has open and can have (ENFILE); proc(5)
// file-nr.
func HostFiles() (Limit, error) {
	text, err := os.ReadFile(fileNR)
	if err != nil {
		return Limit{}, fmt.Errorf("read the host's number of open files: %w", err)
	}
	return parseFileNR(text)
}

func parseFileNR(text []byte) (Limit, error) {
	l := Limit{What: HostFilesLimit}
	var unused uint64
	if _, err := fmt.Fscan(bytes.NewReader(text), &l.Used, &unused, &l.Max); err != nil {
		return Limit{}, fmt.Errorf("%s is %q: %w", fileNR, text, err)
	}
	return l, nil
}

// Inotify returns the limits on inotify of each user who has instances, as the kernel
// counts them itself: inotify_init(2) fails with EMFILE at the first, and
// inotify_add_watch(2) with ENOSPC at the second. The limit that is used most is first.
func (s *Snapshot) Inotify() []Limit {
	type user struct {
		instances, watches Limit
		holders            map[string]int
		seen               map[uint64]bool
	}
	users := make(map[uint32]*user)
	for d := range s.All() {
		if d.Kind() != "inotify" || d.InstancesMax == 0 {
			continue
		}
		u := users[d.Owner]
		if u == nil {
			u = &user{holders: make(map[string]int), seen: make(map[uint64]bool)}
			users[d.Owner] = u
		}
		u.instances = Limit{What: "inotify instances", Owner: d.Owner, Used: uint64(d.Instances), Max: uint64(d.InstancesMax)}
		u.watches = Limit{What: "inotify watches", Owner: d.Owner, Used: uint64(d.Watches), Max: uint64(d.WatchesMax)}
		if !u.seen[d.File] {
			u.seen[d.File] = true
			u.holders[string(d.Table.Comm())]++
		}
	}
	var limits []Limit
	for _, u := range users {
		for comm, n := range u.holders {
			if n > u.instances.MostCount || n == u.instances.MostCount && comm < u.instances.Most {
				u.instances.Most, u.instances.MostCount = comm, n
			}
		}
		limits = append(limits, u.instances, u.watches)
	}
	slices.SortFunc(limits, func(a, b Limit) int {
		return cmp.Or(cmp.Compare(b.Use(), a.Use()), cmp.Compare(a.What, b.What), cmp.Compare(a.Owner, b.Owner))
	})
	return limits
}
