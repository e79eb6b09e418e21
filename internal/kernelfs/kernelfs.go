// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package kernelfs reads files of file systems that the kernel makes up, wherever
// they are mounted, or nowhere.
package kernelfs

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// FS is a file system that the kernel makes up, and the places where it usually is
// mounted. Many containers and small systems have it nowhere.
type FS struct {
	name   string
	mounts []string
}

// The file systems that are of use here.
var (
	Debugfs    = FS{"debugfs", []string{"/sys/kernel/debug"}}
	Securityfs = FS{"securityfs", []string{"/sys/kernel/security"}}
	Tracefs    = FS{"tracefs", []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}}
)

// ReadFile reads a small file. Where the file system is mounted nowhere, it is
// mounted for this alone, outside of every tree (fsmount(2), 5.2; CAP_SYS_ADMIN), so
// that nobody sees it.
func (fs FS) ReadFile(name string) ([]byte, error) {
	text, _, err := fs.read(name)
	return text, err
}

// Find returns where the file system with this file is mounted, empty if nowhere, and
// an error if the file cannot be read there or where it were mounted for a moment.
func (fs FS) Find(name string) (mount string, err error) {
	_, mount, err = fs.read(name)
	return mount, err
}

func (fs FS) read(name string) (text []byte, mount string, err error) {
	for _, dir := range fs.mounts {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			return text, dir, nil
		}
	}
	if text, err = fs.readDetached(name); err != nil {
		return nil, "", fmt.Errorf("read %s of %s: %w", name, fs.name, err)
	}
	return text, "", nil
}

func (fs FS) readDetached(name string) ([]byte, error) {
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
