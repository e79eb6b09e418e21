// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package cgroup reads the cgroup v2 tree: it finds the tree wherever it is
// mounted, walks it, and turns ids of cgroups into paths and back.
//
// The id of a cgroup is the inode number of its directory (cgroup_id() in
// include/linux/cgroup.h). A path is from the root of the tree, "/", as in the
// line "0::" of /proc/PID/cgroup.
package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/internal/namespace"
)

// trueRoot is the inode number of the root of the whole tree. In a cgroup
// namespace the root that is seen is another cgroup, with another number.
const trueRoot = 1

// Tree is the cgroup v2 tree, or, in a container with a cgroup namespace of its
// own, the part that is seen from there. Its methods may be called from any
// goroutine.
type Tree struct {
	root  *os.File
	dir   string // the root, as a file path
	mount string // what the kernel puts before a path when it names a file here
	whole bool
}

// PartialView is the warning that only the cgroups below the tool's own are
// seen. The containers beside it stay unknown.
type PartialView struct{}

func (PartialView) Error() string {
	return "only the cgroups of this container are seen, the host's and those of other containers are not; " +
		"run it with docker run --privileged --pid=host --cgroupns=host"
}

// Open finds the tree where it is mounted, which is another place on a host that
// has cgroup v1 as well. Where only a part of it is mounted, or nothing, as in
// Docker's containers on such hosts, Open takes a mount of its own, which nobody
// else sees.
func Open() (*Tree, error) {
	var part *Tree
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup2"))
	for _, m := range mounts {
		t, openErr := OpenAt(m.Mountpoint)
		switch {
		case openErr != nil:
			err = errors.Join(err, openErr)
		case t.whole:
			part.Close()
			return t, nil
		case part == nil:
			part = t
		default:
			t.Close()
		}
	}
	t, mountErr := mountOwn()
	switch {
	case mountErr == nil && (t.whole || part == nil):
		part.Close()
		return t, nil
	case mountErr == nil:
		t.Close()
	}
	if part != nil {
		return part, nil
	}
	return nil, fmt.Errorf("find the cgroup v2 tree (is it mounted on /sys/fs/cgroup?): %w", errors.Join(err, mountErr))
}

// OpenAt opens the tree whose root is the directory dir.
func OpenAt(dir string) (*Tree, error) {
	root, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the cgroup v2 tree: %w", err)
	}
	return newTree(&Tree{root: root, dir: dir, mount: dir})
}

func newTree(t *Tree) (*Tree, error) {
	id, err := t.rootID()
	if err != nil {
		t.Close()
		return nil, err
	}
	t.whole = id == trueRoot
	return t, nil
}

func (t *Tree) rootID() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(t.root.Fd()), &st); err != nil {
		return 0, fmt.Errorf("stat the root of the cgroup v2 tree: %w", err)
	}
	return st.Ino, nil
}

// mountOwn mounts the tree (Linux 5.2, CAP_SYS_ADMIN) without attaching the mount
// anywhere. It does so in the cgroup namespace of process 1, so that in a
// container --pid=host is enough to see the whole tree.
func mountOwn() (t *Tree, err error) {
	mount := func() error {
		t, err = mountHere()
		return err
	}
	joinErr := namespace.Run("/proc/1/ns/cgroup", unix.CLONE_NEWCGROUP, mount)
	if joinErr != nil && t == nil && err == nil {
		// The view stays that of our own namespace.
		_ = mount()
	}
	return t, err
}

func mountHere() (*Tree, error) {
	context, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("mount the cgroup v2 tree: %w", err)
	}
	defer unix.Close(context)
	if err := unix.FsconfigCreate(context); err != nil {
		return nil, fmt.Errorf("mount the cgroup v2 tree: %w", err)
	}
	mount, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("mount the cgroup v2 tree: %w", err)
	}
	defer unix.Close(mount)
	// mount is an O_PATH descriptor; open_by_handle_at wants an open file.
	root, err := unix.Openat(mount, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the cgroup v2 tree: %w", err)
	}
	return newTree(&Tree{root: os.NewFile(uintptr(root), "cgroup2"), dir: "/proc/self/fd/" + strconv.Itoa(root)})
}

// Close closes the tree. The directories that Directory returned may be gone then.
// A nil Tree can be closed, too.
func (t *Tree) Close() {
	if t != nil {
		t.root.Close()
	}
}

// Warning is PartialView, or nil where all cgroups of the host are seen.
func (t *Tree) Warning() error {
	if t.whole {
		return nil
	}
	return PartialView{}
}

// Has reports whether there is a cgroup at path.
func (t *Tree) Has(path string) bool { return unix.Access(t.file(path), unix.F_OK) == nil }

// file is the directory of the cgroup at path.
func (t *Tree) file(path string) string { return t.dir + path }

// Directory returns the directory of a cgroup for opening it. The cgroup is given
// by its id, by its path, or by the path of its directory where the tree is
// mounted.
func (t *Tree) Directory(idOrPath string) (string, error) {
	path := idOrPath
	if id, err := strconv.ParseUint(idOrPath, 10, 64); err == nil {
		if path, err = t.Path(id); err != nil {
			return "", fmt.Errorf("there is no cgroup with id %d: %w", id, err)
		}
	} else if below, ok := strings.CutPrefix(path, t.mount); ok && t.mount != "" && (below == "" || below[0] == '/') {
		path = below
	}
	dir := t.file(filepath.Join("/", path))
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", fmt.Errorf("there is no cgroup %s", path)
	}
	return dir, nil
}
