// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cgroup

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/internal/owner"
)

// MadeBy returns who could have made the cgroup at path: root, the user to whom a
// cgroup above it was delegated, or Nobody, if more than one could. It does not
// matter whom the cgroup itself was given to.
func (t *Tree) MadeBy(path string) owner.ID {
	made := owner.Root
	for i, c := range path + "/" {
		if c != '/' {
			continue
		}
		if path[:i] == path {
			break
		}
		var st unix.Stat_t
		if err := unix.Stat(t.file(path[:i]), &st); err != nil {
			// It is gone, and what is below, too.
			return made.And(userSlice(path))
		}
		made = made.And(owner.Of(&st))
	}
	return made
}

// userSlice returns the user whose slice of systemd's (systemd.special(7)) contains
// path, or root.
func userSlice(path string) owner.ID {
	name, below, _ := strings.Cut(strings.TrimPrefix(path, "/user.slice/user-"), ".slice/")
	uid, err := strconv.ParseUint(name, 10, 32)
	if err != nil || below == "" {
		return owner.Root
	}
	return owner.ID(uid)
}
