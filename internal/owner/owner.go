// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package owner finds out which user, beside root, could have put a file where it is.
package owner

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// ID is Root, another user's number, or Nobody.
type ID uint32

const (
	Root ID = 0
	// Nobody is the owner of what more than one user beside root can change. It is
	// no user's number: setresuid(2) takes (uid_t)-1 for none.
	Nobody = ^Root
)

// Of returns who can change what a file of this status is or contains: a directory's
// entries, where a symbolic link leads.
func Of(st *unix.Stat_t) ID {
	// In a sticky directory only the entry's own owner counts, beside the directory's.
	if st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Mode&unix.S_ISVTX == 0 &&
		(st.Mode&unix.S_IWOTH != 0 || st.Mode&unix.S_IWGRP != 0 && st.Gid != 0) {
		return Nobody
	}
	return ID(st.Uid)
}

// And returns who can change a or b.
func (a ID) And(b ID) ID {
	switch {
	case a == b, b == Root:
		return a
	case a == Root:
		return b
	}
	return Nobody
}

func (a ID) String() string {
	switch a {
	case Root:
		return "root"
	case Nobody:
		return "more than one user"
	}
	return "user " + strconv.FormatUint(uint64(a), 10)
}
