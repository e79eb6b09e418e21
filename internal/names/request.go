// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package names

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// requests are the names of what syscalls are asked for, as far as it makes descriptors.
var requests = map[string]map[uint32]string{
	"fcntl":   copyCommands,
	"fcntl64": copyCommands,
	"timerfd_create": {
		unix.CLOCK_REALTIME: "CLOCK_REALTIME", unix.CLOCK_MONOTONIC: "CLOCK_MONOTONIC", unix.CLOCK_BOOTTIME: "CLOCK_BOOTTIME",
		unix.CLOCK_REALTIME_ALARM: "CLOCK_REALTIME_ALARM", unix.CLOCK_BOOTTIME_ALARM: "CLOCK_BOOTTIME_ALARM",
	},
	"perf_event_open": {
		unix.PERF_TYPE_HARDWARE: "PERF_TYPE_HARDWARE", unix.PERF_TYPE_SOFTWARE: "PERF_TYPE_SOFTWARE",
		unix.PERF_TYPE_TRACEPOINT: "PERF_TYPE_TRACEPOINT", unix.PERF_TYPE_HW_CACHE: "PERF_TYPE_HW_CACHE",
		unix.PERF_TYPE_RAW: "PERF_TYPE_RAW", unix.PERF_TYPE_BREAKPOINT: "PERF_TYPE_BREAKPOINT",
	},
	"bpf": {
		unix.BPF_MAP_CREATE: "BPF_MAP_CREATE", unix.BPF_PROG_LOAD: "BPF_PROG_LOAD", unix.BPF_OBJ_GET: "BPF_OBJ_GET",
		unix.BPF_PROG_GET_FD_BY_ID: "BPF_PROG_GET_FD_BY_ID", unix.BPF_MAP_GET_FD_BY_ID: "BPF_MAP_GET_FD_BY_ID",
		unix.BPF_RAW_TRACEPOINT_OPEN: "BPF_RAW_TRACEPOINT_OPEN", unix.BPF_BTF_LOAD: "BPF_BTF_LOAD",
		unix.BPF_BTF_GET_FD_BY_ID: "BPF_BTF_GET_FD_BY_ID", unix.BPF_LINK_CREATE: "BPF_LINK_CREATE",
		unix.BPF_LINK_GET_FD_BY_ID: "BPF_LINK_GET_FD_BY_ID", unix.BPF_ENABLE_STATS: "BPF_ENABLE_STATS",
		unix.BPF_ITER_CREATE: "BPF_ITER_CREATE", 36: "BPF_TOKEN_CREATE",
	},
}

var copyCommands = map[uint32]string{unix.F_DUPFD: "F_DUPFD", unix.F_DUPFD_CLOEXEC: "F_DUPFD_CLOEXEC"}

// AppendRequest appends the name of what a syscall was asked for, or its number.
func AppendRequest(b []byte, syscall string, request uint32) []byte {
	if name := requests[syscall][request]; name != "" {
		return append(b, name...)
	}
	return strconv.AppendUint(b, uint64(request), 10)
}
