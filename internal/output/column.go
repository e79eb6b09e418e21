package output

import (
	"strconv"

	"github.com/copenclose/copenclose/bpf"
)

// A column is one entry for the header and the rows of every table.
type column struct {
	header string
	width  int
	right  bool
	append func(b []byte, e *bpf.Event, c *Clock) []byte
}

// The columns there are.
var (
	timeColumn = column{"TIME", 20, false, func(b []byte, e *bpf.Event, c *Clock) []byte {
		return c.appendSeconds(b, e.Time)
	}}
	hostnameColumn = column{"HOSTNAME", 16, false, func(b []byte, e *bpf.Event, _ *Clock) []byte {
		if len(e.Hostname()) == 0 {
			return append(b, '-')
		}
		return appendEscaped(b, e.Hostname(), false)
	}}
	cgroupColumn = column{"CGROUPID", 8, true, func(b []byte, e *bpf.Event, _ *Clock) []byte {
		return strconv.AppendUint(b, e.CgroupID, 10)
	}}
	pidColumn = column{"PID", 6, false, func(b []byte, e *bpf.Event, _ *Clock) []byte {
		return strconv.AppendUint(b, uint64(e.PID), 10)
	}}
	uidColumn = column{"UID", 6, false, func(b []byte, e *bpf.Event, _ *Clock) []byte {
		return strconv.AppendUint(b, uint64(e.UID), 10)
	}}
	gidColumn = column{"GID", 6, false, func(b []byte, e *bpf.Event, _ *Clock) []byte {
		return strconv.AppendUint(b, uint64(e.GID), 10)
	}}
	syscallColumn = column{"SYSCALL", 8, false, func(b []byte, e *bpf.Event, _ *Clock) []byte {
		return append(b, bpf.Syscalls[e.Syscall].Name...)
	}}
	commColumn = column{"COMM", 15, false, func(b []byte, e *bpf.Event, _ *Clock) []byte {
		return appendEscaped(b, e.Comm(), true)
	}}
)

// Hostnames is the table that names containers by their UTS node name,
// CgroupIDs the one that does by their cgroup v2 id.
var (
	Hostnames = []column{timeColumn, hostnameColumn, pidColumn, uidColumn, gidColumn, syscallColumn, commColumn}
	CgroupIDs = []column{timeColumn, cgroupColumn, pidColumn, uidColumn, gidColumn, syscallColumn, commColumn}
)

// appendRow appends a line of cells. A cell that is wider than its column pushes
// the rest to the right; the last one is not padded.
func appendRow(b []byte, columns []column, cell func(b []byte, c *column) []byte) []byte {
	for i := range columns {
		c := &columns[i]
		start := len(b)
		b = cell(b, c)
		if missing := c.width - (len(b) - start); missing > 0 {
			switch {
			case c.right:
				b = insertSpaces(b, start, missing)
			case i < len(columns)-1:
				b = append(b, spaces[:missing]...)
			}
		}
		b = append(b, ' ')
	}
	b[len(b)-1] = '\n'
	return b
}

const spaces = "                                                                "

func insertSpaces(b []byte, at, n int) []byte {
	b = append(b, spaces[:n]...)
	copy(b[at+n:], b[at:])
	copy(b[at:], spaces[:n])
	return b
}
