// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cgroup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Walk calls visit for every cgroup, parents before their children. It reads
// directories itself, because the inode number is in the directory entry, and a
// stat of each would take longer than all the rest.
func (t *Tree) Walk(visit func(id uint64, path string)) error {
	id, err := t.rootID()
	if err != nil {
		return err
	}
	visit(id, "/")
	if err := t.walkBelow("/", make([]byte, 32<<10), visit); err != nil {
		return fmt.Errorf("read the cgroup v2 tree: %w", err)
	}
	return nil
}

func (t *Tree) walkBelow(path string, buffer []byte, visit func(id uint64, path string)) error {
	fd, err := unix.Open(t.file(path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var children []string
	for {
		n, err := unix.ReadDirent(fd, buffer)
		if err != nil || n <= 0 {
			unix.Close(fd)
			break
		}
		for entries := buffer[:n]; len(entries) > 0; {
			e := (*unix.Dirent)(unsafe.Pointer(unsafe.SliceData(entries)))
			name := entries[unsafe.Offsetof(e.Name):e.Reclen]
			if i := bytes.IndexByte(name, 0); i >= 0 {
				name = name[:i]
			}
			if e.Type == unix.DT_DIR && string(name) != "." && string(name) != ".." {
				child := strings.TrimSuffix(path, "/") + "/" + string(name)
				visit(e.Ino, child)
				children = append(children, child)
			}
			entries = entries[e.Reclen:]
		}
	}
	for _, child := range children {
		// It may be gone by now.
		_ = t.walkBelow(child, buffer, visit)
	}
	return nil
}

// fileidKernfs is FILEID_KERNFS of include/linux/exportfs.h.
const fileidKernfs = 0xfe

// Path returns the path of the cgroup with this id.
func (t *Tree) Path(id uint64) (string, error) {
	// The id serves as a file handle, too, for who has CAP_DAC_READ_SEARCH.
	handle := binary.NativeEndian.AppendUint64(nil, id)
	fd, err := unix.OpenByHandleAt(int(t.root.Fd()), unix.NewFileHandle(fileidKernfs, handle), unix.O_PATH|unix.O_CLOEXEC)
	if errors.Is(err, unix.EPERM) {
		return t.search(id)
	}
	if err != nil {
		return "", fmt.Errorf("look up cgroup %d: %w", id, err)
	}
	defer unix.Close(fd)
	named, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return "", fmt.Errorf("look up cgroup %d: %w", id, err)
	}
	path, ok := strings.CutPrefix(named, t.mount)
	var st unix.Stat_t
	if err := unix.Stat(t.file(path), &st); !ok || err != nil || st.Ino != id {
		return "", fmt.Errorf("look up cgroup %d: %q is gone or out of sight", id, named)
	}
	if path == "" {
		path = "/"
	}
	return path, nil
}

// search looks through the tree for the cgroup with this id.
func (t *Tree) search(id uint64) (found string, err error) {
	err = t.Walk(func(other uint64, path string) {
		if other == id {
			found = path
		}
	})
	if err == nil && found == "" {
		err = fmt.Errorf("look up cgroup %d: %w", id, unix.ENOENT)
	}
	return found, err
}
