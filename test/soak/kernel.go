// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
)

// inKernel are the BPF programs and maps that the kernel holds.
func inKernel() (map[string]bool, error) {
	ids := make(map[string]bool)
	for id := ebpf.ProgramID(0); ; {
		next, err := ebpf.ProgramGetNextID(id)
		if errors.Is(err, os.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("list the programs in the kernel: %w", err)
		}
		id, ids[fmt.Sprint("program ", next)] = next, true
	}
	for id := ebpf.MapID(0); ; {
		next, err := ebpf.MapGetNextID(id)
		if errors.Is(err, os.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("list the maps in the kernel: %w", err)
		}
		id, ids[fmt.Sprint("map ", next)] = next, true
	}
	return ids, nil
}

// nothingStays returns nil when the kernel holds no more than before. It frees some
// time after the last user is gone.
func nothingStays(before map[string]bool) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		now, err := inKernel()
		if err != nil {
			return err
		}
		maps.DeleteFunc(now, func(id string, _ bool) bool { return before[id] })
		if len(now) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the kernel still holds %v", slices.Sorted(maps.Keys(now)))
		}
	}
}

// kernelMemory returns what the kernel has allocated that BPF takes from, in KiB.
func kernelMemory() (kib int, err error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) > 1 && slices.Contains([]string{"SUnreclaim:", "Percpu:", "VmallocUsed:", "KernelStack:"}, fields[0]) {
			n, err := strconv.Atoi(fields[1])
			if err != nil {
				return 0, err
			}
			kib += n
		}
	}
	return kib, nil
}

// cgroups is below where the faults make cgroups.
func cgroups() string {
	mount := "/sys/fs/cgroup"
	if _, err := os.Stat(filepath.Join(mount, "cgroup.controllers")); err != nil {
		mount += "/unified" // beside cgroup v1
	}
	return filepath.Join(mount, "copenclose-soak")
}

func removeCgroups() {
	found, _ := filepath.Glob(cgroups() + "/*")
	for _, g := range append(found, cgroups()) {
		_ = os.Remove(g)
	}
}
