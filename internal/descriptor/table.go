// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"bufio"
	"io"
	"strings"
	"unicode/utf8"
)

// A table is rows of cells for people, as wide as the widest cell of each column. It
// is made for a hundred thousand rows, for which tablewriter takes seconds.
type table struct {
	columns []column
	rows    [][]string
	below   map[int][]string // lines after a row
}

type column struct {
	name     string
	right    bool // aligned to the right, for numbers
	optional bool // left out if it has no text in any row
	width    int  // 0 if it is left out
}

// newTable makes a table with these columns. Those with a ? before their names are
// optional, and those with a > are aligned to the right.
func newTable(columns ...string) *table {
	t := &table{}
	for _, name := range columns {
		var c column
		name, c.optional = strings.CutPrefix(name, "?")
		c.name, c.right = strings.CutPrefix(name, ">")
		t.columns = append(t.columns, c)
	}
	return t
}

// none stands in a cell without text.
const none = "-"

// addBelow adds lines after the last row.
func (t *table) addBelow(lines ...string) {
	if t.below == nil {
		t.below = make(map[int][]string)
	}
	last := len(t.rows) - 1
	t.below[last] = append(t.below[last], lines...)
}

// add adds a row.
func (t *table) add(cells ...string) {
	for i, cell := range cells {
		if cell == "" {
			cells[i] = none
		}
	}
	t.rows = append(t.rows, cells)
}

func (t *table) write(out io.Writer) error {
	header := make([]string, len(t.columns))
	for i := range t.columns {
		header[i] = t.columns[i].name
		t.fit(i)
	}
	w := bufio.NewWriterSize(out, 1<<16)
	t.writeRow(w, header)
	for i, row := range t.rows {
		t.writeRow(w, row)
		for _, line := range t.below[i] {
			w.WriteString(line)
			w.WriteByte('\n')
		}
	}
	return w.Flush()
}

// fit sets the width of column i.
func (t *table) fit(i int) {
	c, isThere := &t.columns[i], false
	width := len(c.name)
	for _, row := range t.rows {
		width = max(width, utf8.RuneCountInString(row[i]))
		isThere = isThere || row[i] != none
	}
	if isThere || !c.optional {
		c.width = width
	}
}

func (t *table) writeRow(w *bufio.Writer, cells []string) {
	last := len(cells) - 1
	for i, cell := range cells {
		c := &t.columns[i]
		if c.width == 0 {
			continue
		}
		missing := c.width - utf8.RuneCountInString(cell)
		if c.right {
			pad(w, missing)
		}
		w.WriteString(cell)
		if i < last {
			if !c.right {
				pad(w, missing)
			}
			w.WriteString("  ")
		}
	}
	w.WriteByte('\n')
}

func pad(w *bufio.Writer, n int) {
	for range n {
		w.WriteByte(' ')
	}
}
