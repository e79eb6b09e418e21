// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package option

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// cgroup2Mounts are where cgroup v2 usually is: alone, or beside v1.
var cgroup2Mounts = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}

// cgroupDirectory finds the directory of a cgroup v2: by its id, the inode number
// of the directory, or by its path from the root of cgroups or of files.
func cgroupDirectory(idOrPath string) (string, error) {
	mount, err := cgroup2Mount()
	if err != nil {
		return "", err
	}
	if id, err := strconv.ParseUint(idOrPath, 10, 64); err == nil {
		return directoryOf(mount, id)
	}
	dir := idOrPath
	if !strings.HasPrefix(dir, mount+"/") && dir != mount {
		dir = filepath.Join(mount, idOrPath)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", fmt.Errorf("there is no cgroup %s", dir)
	}
	return dir, nil
}

func cgroup2Mount() (string, error) {
	for _, dir := range cgroup2Mounts {
		var fs unix.Statfs_t
		if unix.Statfs(dir, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
			return dir, nil
		}
	}
	return "", errors.New("cgroup v2 is not mounted on /sys/fs/cgroup")
}

func directoryOf(mount string, id uint64) (found string, err error) {
	err = filepath.WalkDir(mount, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // removed meanwhile
		}
		if info, err := d.Info(); err == nil && info.Sys().(*syscall.Stat_t).Ino == id {
			found = path
			return filepath.SkipAll
		}
		return nil
	})
	if err == nil && found == "" {
		err = fmt.Errorf("there is no cgroup with id %d", id)
	}
	return found, err
}
