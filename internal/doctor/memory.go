// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// What tracing takes in a cgroup that bounds memory, in MiB, the kernel's for the
// verifier and the buffer of 8 MiB with it. Measured: with less, the kernel refuses the
// programs (ENOMEM) or ends the tool (SIGKILL).
const (
	needsPlain   = 64
	needsDetails = 96
)

func memory() Finding {
	limit, where := memoryLimit()
	switch {
	case where == "":
		return ok("memory", "no cgroup bounds it")
	case limit < needsPlain<<20:
		return missing("memory", fmt.Sprintf("%s is %d MiB", where, limit>>20), "",
			fmt.Sprintf("%d MiB, and for -o wide and json %d MiB, or a smaller --buffer-size", needsPlain, needsDetails))
	case limit < needsDetails<<20:
		return degraded("memory", fmt.Sprintf("%s is %d MiB", where, limit>>20), "-o wide and json",
			fmt.Sprintf("%d MiB, or a smaller --buffer-size", needsDetails))
	}
	return ok("memory", fmt.Sprintf("%s is %d MiB", where, limit>>20))
}

// memoryLimit returns the smallest limit, in bytes, of the cgroups that this process is
// in, and the file that has it; none where no cgroup bounds its memory.
func memoryLimit() (limit uint64, where string) {
	cgroups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0, ""
	}
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		v1 := m.FSType == "cgroup" && strings.Contains(","+m.VFSOptions+",", ",memory,")
		return m.FSType != "cgroup2" && !v1, false
	})
	if err != nil {
		return 0, ""
	}
	for _, m := range mounts {
		file, path := "memory.max", cgroupOf(string(cgroups), "")
		if m.FSType == "cgroup" {
			file, path = "memory.limit_in_bytes", cgroupOf(string(cgroups), "memory")
		}
		// The mount may show the tree from a cgroup on.
		path = strings.TrimPrefix(path, strings.TrimSuffix(m.Root, "/"))
		for {
			name := filepath.Join(m.Mountpoint, path, file)
			if n, ok := readLimit(name); ok && (where == "" || n < limit) {
				limit, where = n, name
			}
			if path == "" || path == "/" {
				break
			}
			path = filepath.Dir(path)
		}
	}
	return limit, where
}

// cgroupOf returns the path for a controller in a file like /proc/self/cgroup; the v2
// tree has none.
func cgroupOf(cgroups, controller string) string {
	for line := range strings.Lines(cgroups) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) == 3 && strings.Contains(","+fields[1]+",", ","+controller+",") {
			return fields[2]
		}
	}
	return "/"
}

// unlimited is what cgroup v1 shows for no limit, or more: LONG_MAX in whole pages.
const unlimited = 1 << 62

func readLimit(file string) (limit uint64, ok bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	limit, err = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return limit, err == nil && limit < unlimited
}

// WarnOfMemory returns what to do before a trace, if a cgroup bounds memory so that
// the trace may find too little; empty if not.
func WarnOfMemory(details bool, bufferSize int) string {
	needs := uint64(needsPlain)
	if details {
		needs = needsDetails
	}
	needs = needs<<20 - 8<<20 + uint64(bufferSize)
	limit, where := memoryLimit()
	if where == "" || limit >= needs {
		return ""
	}
	return fmt.Sprintf("%s is %d MiB, but this trace takes up to %d: the kernel may refuse it or end it", where, limit>>20, needs>>20)
}
