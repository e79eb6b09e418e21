// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// trueRoot is the inode number of the root of a cgroup tree. Who is confined to
// a part of the tree by a cgroup namespace sees the part's number instead.
const trueRoot = 1

// tree is the cgroup v2 tree, or, in a container with a cgroup namespace of its
// own, the part that is seen from there.
type tree struct {
	root  *os.File
	dir   string // the root, for opening what is below it
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

// openTree finds the tree where it is mounted, which is another place on a host
// that has cgroup v1 as well. Where only a part of it is mounted, or nothing,
// as in Docker's containers on such hosts, it takes a mount of its own, which
// nobody else sees.
func openTree() (*tree, error) {
	var part *tree
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup2"))
	for _, m := range mounts {
		t, openErr := newTree(m.Mountpoint)
		switch {
		case openErr != nil:
			err = errors.Join(err, openErr)
		case t.whole:
			part.close()
			return t, nil
		case part == nil:
			part = t
		default:
			t.close()
		}
	}
	t, mountErr := mountTree()
	switch {
	case mountErr == nil && (t.whole || part == nil):
		part.close()
		return t, nil
	case mountErr == nil:
		t.close()
	}
	if part != nil {
		return part, nil
	}
	return nil, fmt.Errorf("find the cgroup v2 tree (is it mounted on /sys/fs/cgroup?): %w", errors.Join(err, mountErr))
}

func newTree(mount string) (*tree, error) {
	root, err := os.Open(mount)
	if err != nil {
		return nil, fmt.Errorf("open the cgroup v2 tree: %w", err)
	}
	t := &tree{root: root, dir: mount, mount: mount}
	return t, t.look()
}

func (t *tree) look() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(t.root.Fd()), &st); err != nil {
		t.close()
		return fmt.Errorf("stat the root of the cgroup v2 tree: %w", err)
	}
	t.whole = st.Ino == trueRoot
	return nil
}

// mountTree mounts the tree (Linux 5.2, CAP_SYS_ADMIN), and attaches the mount
// nowhere. It does so from the cgroup namespace of process 1, so that in a
// container --pid=host suffices to see all of it.
func mountTree() (t *tree, err error) {
	err = onThreadOfItsOwn(func() error {
		// Where it is refused the view stays that of our own namespace.
		_ = joinNamespace("/proc/1/ns/cgroup", unix.CLONE_NEWCGROUP)
		t, err = mountTreeHere()
		return err
	})
	return t, err
}

func mountTreeHere() (*tree, error) {
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
	// That one is only a place; what open_by_handle_at wants is an open file.
	root, err := unix.Openat(mount, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the cgroup v2 tree: %w", err)
	}
	t := &tree{root: os.NewFile(uintptr(root), "cgroup2"), dir: "/proc/self/fd/" + strconv.Itoa(root)}
	return t, t.look()
}

func (t *tree) close() {
	if t != nil {
		t.root.Close()
	}
}

// walk visits every cgroup, parents before their children, with id and path. It
// reads directories itself: the inode number is in the entry, and asking the
// kernel for it once more would take longer than all the rest.
func (t *tree) walk(visit func(id uint64, path string)) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(t.root.Fd()), &st); err != nil {
		return fmt.Errorf("stat the root of the cgroup v2 tree: %w", err)
	}
	visit(st.Ino, "/")
	buffer := make([]byte, 32<<10)
	var below func(path string) error
	below = func(path string) error {
		fd, err := unix.Open(t.dir+path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
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
			_ = below(child)
		}
		return nil
	}
	if err := below("/"); err != nil {
		return fmt.Errorf("read the cgroup v2 tree: %w", err)
	}
	return nil
}

// fileidKernfs is FILEID_KERNFS of include/linux/exportfs.h.
const fileidKernfs = 0xfe

// path looks a cgroup up by its id, which serves as a file handle, too
// (CAP_DAC_READ_SEARCH).
func (t *tree) path(id uint64) (string, error) {
	handle := binary.NativeEndian.AppendUint64(nil, id)
	fd, err := unix.OpenByHandleAt(int(t.root.Fd()), unix.NewFileHandle(fileidKernfs, handle), unix.O_PATH|unix.O_CLOEXEC)
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
	if err := unix.Stat(t.dir+path, &st); !ok || err != nil || st.Ino != id {
		return "", fmt.Errorf("look up cgroup %d: %q is gone or out of sight", id, named)
	}
	if path == "" {
		path = "/"
	}
	return path, nil
}

// has tells whether there is a cgroup at path.
func (t *tree) has(path string) bool { return unix.Access(t.dir+path, unix.F_OK) == nil }

// firstProcess is the longest-running process in the cgroup at path and below,
// 0 if there is none or the processes are out of sight.
func (t *tree) firstProcess(path string) int {
	var first int
	var oldest uint64
	_ = filepath.WalkDir(t.dir+path, func(dir string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		procs, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for field := range bytes.FieldsSeq(procs) {
			pid, _ := strconv.Atoi(string(field))
			started, ok := startTime(pid)
			if ok && (first == 0 || started < oldest || started == oldest && pid < first) {
				first, oldest = pid, started
			}
		}
		return nil
	})
	return first
}

// startTime is when a process was started, in clock ticks after boot.
func startTime(pid int) (ticks uint64, ok bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	// The name, in parentheses, may hold anything. starttime is the 20th field
	// after it.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return 0, false
	}
	ticks, err = strconv.ParseUint(string(fields[19]), 10, 64)
	return ticks, err == nil
}

// hostnameOf is the UTS node name that pid sees; it takes CAP_SYS_ADMIN.
func hostnameOf(pid int) (name string, err error) {
	err = onThreadOfItsOwn(func() error {
		if err := joinNamespace(fmt.Sprintf("/proc/%d/ns/uts", pid), unix.CLONE_NEWUTS); err != nil {
			return err
		}
		var uts unix.Utsname
		if err := unix.Uname(&uts); err != nil {
			return err
		}
		name = unix.ByteSliceToString(uts.Nodename[:])
		return nil
	})
	return name, err
}

// onThreadOfItsOwn runs f on a thread that ends with it, and with it the
// namespaces that f joined.
func onThreadOfItsOwn(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread does not end, and /proc/self speaks of it. While
			// it is held here, f gets another one.
			defer runtime.UnlockOSThread()
			done <- onThreadOfItsOwn(f)
			return
		}
		done <- f()
	}()
	return <-done
}

func joinNamespace(path string, kind int) error {
	ns, err := os.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	return os.NewSyscallError("setns", unix.Setns(int(ns.Fd()), kind))
}
