// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cgroup

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/copenclose/copenclose/internal/procstat"
)

// FirstProcess returns the process that was started first of those in the cgroup
// at path and below, by its number in the tool's PID namespace. It returns 0 if
// there is none, or the processes are out of sight.
func (t *Tree) FirstProcess(path string) (pid int) {
	var oldest uint64
	_ = filepath.WalkDir(t.file(path), func(dir string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		procs, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for field := range bytes.FieldsSeq(procs) {
			p, _ := strconv.Atoi(string(field))
			started, ok := startTime(p)
			if ok && (pid == 0 || started < oldest || started == oldest && p < pid) {
				pid, oldest = p, started
			}
		}
		return nil
	})
	return pid
}

// startTime returns when a process was started, in clock ticks after boot.
func startTime(pid int) (ticks uint64, ok bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	const starttime = 22 - 3 // from the field after the name on
	_, fields := procstat.Parse(stat)
	if len(fields) <= starttime {
		return 0, false
	}
	ticks, err = strconv.ParseUint(string(fields[starttime]), 10, 64)
	return ticks, err == nil
}
