// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package owner

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestOf(t *testing.T) {
	for _, c := range []struct {
		kind, mode, uid, gid uint32
		want                 ID
	}{
		{unix.S_IFDIR, 0o755, 0, 0, Root},
		{unix.S_IFDIR, 0o700, 1999, 1999, 1999},
		{unix.S_IFDIR, 0o775, 0, 0, Root},
		{unix.S_IFDIR, 0o775, 0, 50, Nobody},
		{unix.S_IFDIR, 0o770, 1999, 1999, Nobody},
		{unix.S_IFDIR, 0o777, 0, 0, Nobody},
		{unix.S_IFDIR, 0o1777, 0, 0, Root},
		{unix.S_IFLNK, 0o777, 0, 0, Root},
		{unix.S_IFSOCK, 0o666, 1999, 0, 1999},
	} {
		if got := Of(&unix.Stat_t{Mode: c.kind | c.mode, Uid: c.uid, Gid: c.gid}); got != c.want {
			t.Errorf("%o of %d:%d: %s, want %s", c.kind|c.mode, c.uid, c.gid, got, c.want)
		}
	}
}

func TestAnd(t *testing.T) {
	for _, c := range [][3]ID{
		{Root, Root, Root}, {Root, 7, 7}, {7, Root, 7}, {7, 7, 7}, {7, 8, Nobody}, {Nobody, Root, Nobody}, {Nobody, 7, Nobody}, {7, Nobody, Nobody},
	} {
		if got := c[0].And(c[1]); got != c[2] {
			t.Errorf("%s and %s: %s, want %s", c[0], c[1], got, c[2])
		}
	}
}
