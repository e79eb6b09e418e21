// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"strings"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stream"
)

// table writes a header and rows of columns with one space between them.
type table struct {
	columns   []Column
	clock     clock
	fullPath  bool              // of opens, where it is known
	container *stream.Container // of the row that is being written
	// Most events come from the process that the one before came from: cells
	// that are the same are copied from its row, which is in the same buffer.
	before row
}

// row is what was written for an event.
type row struct {
	event     bpf.Event // but for its time
	container *stream.Container
	start     int   // in the buffer, noRow if it is not there
	ends      []int // of each cell, from start, with the space behind it
}

const noRow = -1

func newTable(columns []Column, c clock, fullPath bool) *table {
	t := &table{columns: columns, clock: c, fullPath: fullPath, before: row{start: noRow, ends: make([]int, len(columns))}}
	for i := range t.columns {
		if t.columns[i].Name == "time" {
			t.columns[i].width = t.clock.width()
			t.columns[i].right = c.style == Delta
		}
	}
	return t
}

func (t *table) header(b []byte) []byte {
	for i := range t.columns {
		start := len(b)
		b = append(b, strings.ToUpper(t.columns[i].Name)...)
		b = t.pad(b, start, i)
	}
	return append(b[:len(b)-1], '\n')
}

func (t *table) event(b []byte, e *stream.Event) []byte {
	r := e.Record
	t.container = e.Container
	changed := t.changed(r.Event)
	start, before, ends := len(b), t.before.start, t.before.ends
	cell := 0 // where the column begins in the row before
	for i := 0; i < len(t.columns); i++ {
		next := ends[i]
		if t.columns[i].facet&changed != 0 {
			from := len(b)
			b = t.columns[i].append(b, r, t, i == len(t.columns)-1)
			b = t.pad(b, from, i)
			cell, ends[i] = next, len(b)-start
			continue
		}
		moved := len(b) - start - cell
		ends[i] += moved
		for i+1 < len(t.columns) && t.columns[i+1].facet&changed == 0 {
			i++
			next = ends[i]
			ends[i] += moved
		}
		b = append(b, b[before+cell:before+next]...)
		cell = next
	}
	b[len(b)-1] = '\n'
	t.before.start = start
	return b
}

// changed is what is not as it was for the row before, and notes it.
func (t *table) changed(now *bpf.Event) facet {
	before := &t.before
	changed := ofCall
	if !t.clock.same(now.Time) {
		changed |= ofTime
	}
	if t.container != before.container {
		changed |= ofContainer
		before.container = t.container
	}
	if now.Syscall != before.event.Syscall || now.ABI != before.event.ABI {
		changed |= ofSyscall
		before.event.Syscall, before.event.ABI = now.Syscall, now.ABI
	}
	if now.Ret != before.event.Ret {
		changed |= ofResult
		before.event.Ret = now.Ret
	}
	if !now.SameCaller(&before.event) {
		changed |= ofCaller
		before.event = *now
	}
	if before.start == noRow {
		return ^facet(0)
	}
	return changed
}

func (t *table) begin() {
	t.before.start = noRow
	t.clock.adjust()
}

const spaces = "                                                                "

// pad fills the cell of column i, which begins at start, and appends the space
// behind it. A cell that is wider than its column pushes the rest to the right;
// the last one is not filled.
func (t *table) pad(b []byte, start, i int) []byte {
	c := &t.columns[i]
	missing := c.width - (len(b) - start)
	switch {
	case missing <= 0 || i == len(t.columns)-1 && !c.right:
		return append(b, ' ')
	case c.right:
		b = append(b, spaces[:missing+1]...)
		copy(b[start+missing:], b[start:len(b)-missing])
		copy(b[start:start+missing], spaces)
		b[len(b)-1] = ' '
		return b
	}
	return append(b, spaces[:missing+1]...)
}
