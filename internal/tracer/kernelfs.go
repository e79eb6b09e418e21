// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A kernelFS is a file system that the kernel makes up, and the places where it
// usually is mounted. Many containers and small systems have it nowhere.
type kernelFS struct {
	name   string
	mounts []string
}

var (
	debugfs = kernelFS{"debugfs", []string{"/sys/kernel/debug"}}
	tracefs = kernelFS{"tracefs", []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}}
)

// readFile reads a small file. Where the file system is mounted nowhere, it is
// mounted for this alone, outside of every tree (fsmount(2), 5.2; CAP_SYS_ADMIN), so
// that nobody sees it.
func (fs kernelFS) readFile(name string) ([]byte, error) {
	for _, dir := range fs.mounts {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			return text, nil
		}
	}
	text, err := fs.readDetached(name)
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", name, fs.name, err)
	}
	return text, nil
}

func (fs kernelFS) readDetached(name string) ([]byte, error) {
	context, err := unix.Fsopen(fs.name, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(context)
	if err := unix.FsconfigCreate(context); err != nil {
		return nil, err
	}
	mount, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(mount)
	fd, err := unix.Openat(mount, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 4096))
}
