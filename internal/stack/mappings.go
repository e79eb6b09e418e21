// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package stack

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"

	"github.com/copenclose/copenclose/internal/procstat"
)

// A mapping is a part of a process's memory that can run, see proc_pid_maps(5).
type mapping struct {
	start, end uint64
	offset     uint64 // in the file
	inode      uint64 // 0 without a file
	path       string // as the process has it; [vdso] and such without a file
}

// name is the last part of the mapping's path.
func (m *mapping) name() string {
	if m.path == "" {
		return "[anonymous]"
	}
	return path.Base(m.path)
}

// mappingsMax is how many bytes of /proc/PID/maps are read: more than 65,530 lines, the
// kernel's own limit (vm.max_map_count), seldom have.
const mappingsMax = 16 << 20

// readMappings returns what of a process's memory can run, in the order of addresses.
func readMappings(pid uint32) ([]mapping, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseMappings(io.LimitReader(f, mappingsMax))
}

func parseMappings(r io.Reader) (list []mapping, err error) {
	lines := bufio.NewScanner(r) // a path has at most 4096 bytes, one that is escaped four times that
	for lines.Scan() {
		if m, ok := parseMapping(lines.Bytes()); ok {
			list = append(list, m)
		}
	}
	return list, lines.Err()
}

// parseMapping reads a line like "7f1c28b000-7f1c2a0000 r-xp 00026000 08:01 1234  /lib/libc.so.6".
func parseMapping(line []byte) (m mapping, ok bool) {
	var fields [5][]byte
	for i := range fields {
		fields[i], line, _ = bytes.Cut(line, []byte(" "))
	}
	start, end, _ := bytes.Cut(fields[0], []byte("-"))
	if len(fields[1]) < 3 || fields[1][2] != 'x' {
		return m, false
	}
	var errs [4]error
	m.start, errs[0] = strconv.ParseUint(string(start), 16, 64)
	m.end, errs[1] = strconv.ParseUint(string(end), 16, 64)
	m.offset, errs[2] = strconv.ParseUint(string(fields[2]), 16, 64)
	m.inode, errs[3] = strconv.ParseUint(string(fields[4]), 10, 64)
	m.path = string(bytes.TrimLeft(line, " "))
	return m, errs == [4]error{} && m.start < m.end
}

// mappingOf returns the mapping that has an address, nil if none has.
func mappingOf(list []mapping, address uint64) *mapping {
	i, _ := slices.BinarySearchFunc(list, address, func(m mapping, address uint64) int {
		if m.end <= address {
			return -1
		}
		return 1
	})
	if i < len(list) && list[i].start <= address {
		return &list[i]
	}
	return nil
}

// program tells a process's program from one that it runs later, or from another process
// with its number: where its stack and its code begin is random.
type program struct{ startCode, startStack uint64 }

// readProgram reads what a process runs now.
func readProgram(pid uint32) (p program, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p, err
	}
	return parseProgram(text)
}

func parseProgram(text []byte) (p program, err error) {
	const startCode, startStack = 26 - 3, 28 - 3 // fields, from the one after the name on
	_, fields := procstat.Parse(text)
	if len(fields) <= startStack {
		return p, fmt.Errorf("not a line of /proc/PID/stat: %q", text)
	}
	if p.startCode, err = strconv.ParseUint(string(fields[startCode]), 10, 64); err != nil {
		return p, err
	}
	p.startStack, err = strconv.ParseUint(string(fields[startStack]), 10, 64)
	return p, err
}
