package output

import (
	"strings"

	"github.com/copenclose/copenclose/bpf"
)

// table writes a header and rows of columns with one space between them.
type table struct {
	columns []Column
	clock   clock
	// The row before. Most events come from the process that the one before
	// came from, so that rows begin alike: as far as the columns are the same,
	// they are copied.
	before          bpf.Event
	containerBefore *Container
	container       *Container // of the row that is being written
	row             []byte
	ends            []int // of each column in row
}

func newTable(columns []Column, c clock) *table {
	t := &table{columns: columns, clock: c, ends: make([]int, len(columns))}
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

func (t *table) event(b []byte, r *bpf.Record, c *Container) []byte {
	t.container = c
	first := t.firstChanged(r.Event)
	row := t.row[:0]
	if first > 0 {
		row = t.row[:t.ends[first-1]]
	}
	last := len(t.columns) - 1
	for i := first; i <= last; i++ {
		start := len(row)
		row = t.columns[i].append(row, r, t, i == last)
		row = t.pad(row, start, i)
		t.ends[i] = len(row)
	}
	row[len(row)-1] = '\n'
	t.row, t.before, t.containerBefore = row, *r.Event, c
	return append(b, row...)
}

// firstChanged is the first column that is not as in the row before.
func (t *table) firstChanged(now *bpf.Event) int {
	if len(t.row) == 0 {
		return 0
	}
	for i := range t.columns {
		if same := t.columns[i].same; same == nil || !same(now, &t.before, t) {
			return i
		}
	}
	return len(t.columns)
}

func (t *table) adjust() { t.clock.adjust() }

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
