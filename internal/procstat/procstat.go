// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package procstat takes apart what /proc/PID/stat says; see proc_pid_stat(5).
package procstat

import "bytes"

// Parse returns the name of a process, which may contain anything, and the fields behind
// it, of which the first is the state. There are none in what is no such line.
func Parse(line []byte) (name string, fields [][]byte) {
	first, last := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if first < 0 || last < first {
		return "", nil
	}
	return string(line[first+1 : last]), bytes.Fields(line[last+1:])
}
