// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/clipperhouse/displaywidth"

	"github.com/copenclose/copenclose/internal/escape"
	"github.com/copenclose/copenclose/internal/names"
	"github.com/copenclose/copenclose/internal/stream"
)

// The formats for people.
const (
	Table Format = "table"
	Wide  Format = "wide"
)

var tableOptions = []string{"columns", "use-cgv2", "full-path", "latency", "lifetime", "program", "time", "timestamp-precision", "no-header", "color"}

var tableFormat = registered{
	name: Table, about: "who made which call, in the columns of the first copenclose",
	takes: tableOptions, precision: Seconds,
	columns: func(o *Options) []string {
		columns := append([]string{"time", hostColumn(o), "pid", "uid", "gid", "syscall", "comm"}, programColumns(o)...)
		if o.Latency {
			columns = append(columns, "lat")
		}
		if o.Lifetime {
			columns = append(columns, lifetimeColumns...)
		}
		return columns
	},
	style: newTable, paged: true, lists: true, forPeople: true,
}

var wideFormat = registered{
	name: Wide, about: "more columns: container, fd, result and what the call was about; fits a terminal, and is whole in a pipe or a file",
	takes: tableOptions, precision: Seconds,
	columns: func(o *Options) []string {
		columns := append([]string{"time", hostColumn(o), "container", "pid", "uid", "gid", "syscall", "comm"}, programColumns(o)...)
		columns = append(columns, "fd", "ret")
		if o.Latency {
			columns = append(columns, "lat")
		}
		if o.Lifetime {
			columns = append(columns, lifetimeColumns...)
		}
		return fit(append(columns, "detail"), o.width)
	},
	style: newTable, paged: true, fits: true,
}

// lifetimeColumns are what --lifetime shows; JSON has the rest.
var lifetimeColumns = []string{"lifetime", "made_by", "last"}

// programColumns are what --program shows; JSON has the arguments, too.
func programColumns(o *Options) []string {
	if !o.Program {
		return nil
	}
	return []string{"exe", "parents"}
}

func hostColumn(o *Options) string {
	if o.CgroupID {
		return "cgroupid"
	}
	return "hostname"
}

// widthMax is how wide a column can become, so that one long cell does not move the
// rest of all rows far to the right.
const widthMax = 40

// table is a style: columns with one space between them.
type table struct {
	fields  []Field
	columns []column
	clock   *clock
	detail  detailStyle
	dots    string // stand for what is cut
	colors  bool
	screen  int // what lines have to fit, 0 for anything
	wider   int // how often columns became wider
	// The host's rows are dim once there were some of containers.
	showsContainers, dims bool
}

// column is a column of a table.
type column struct {
	header string
	width  int // a cell that is wider makes it wider, up to max
	max    int
	cuts   bool // a cell that is wider than max is cut
	right  bool
	last   bool
}

func newTable(o *Options, fields []Field, c *clock) style {
	t := &table{
		fields: fields, columns: make([]column, len(fields)), clock: c, colors: o.Color, screen: o.width,
		dots: "..", detail: detailStyle{fullPath: o.FullPath, arrows: asciiArrows, short: isNarrow(o.width)},
	}
	if o.Unicode {
		t.dots, t.detail.arrows = "…", unicodeArrows
	}
	for i, f := range fields {
		col := &t.columns[i]
		*col = column{header: strings.ToUpper(f.Header()), width: f.width, max: widthMax, right: f.right, last: i == len(fields)-1}
		if f.Kind == Time {
			col.width, col.right = c.width(), c.style == Delta
		}
		if o.unbounded {
			col.max = math.MaxInt
		}
		if o.width > 0 {
			fitColumn(col, f.Name, o.width)
		}
		col.width = max(col.width, len(col.header))
		t.showsContainers = t.showsContainers || f.needs.Containers
	}
	return t
}

// SGR sequences, ECMA-48 8.3.117.
const (
	bold  = "\x1b[1m"
	dim   = "\x1b[2m"
	red   = "\x1b[31m"
	plain = "\x1b[0m"
)

func (t *table) header(b []byte) []byte {
	if t.colors {
		b = append(b, bold...)
	}
	for i := range t.columns {
		start := len(b)
		b = append(b, t.columns[i].header...)
		b = t.fill(b, start, &t.columns[i])
	}
	if b = b[:len(b)-1]; t.colors {
		b = append(b, plain...)
	}
	return append(b, '\n')
}

func (t *table) color(e *stream.Event) string {
	t.dims = t.dims || t.showsContainers && e.Container != nil && e.Container != stream.Unknown
	switch {
	case names.IsFailure(e.Ret):
		return red
	case t.dims && e.Container == nil:
		return dim
	}
	return ""
}

func (t *table) line() lineStyle {
	l := lineStyle{cells: t.cells(), separator: ' ', end: "\n", wider: &t.wider}
	if t.colors {
		l.color, l.end = t.color, plain+l.end
	}
	return l
}

// cells returns the columns. A column is never empty.
func (t *table) cells() (cells []cell) {
	scratch := make([]byte, 0, scratchSize)
	for i := range t.fields {
		f, c := &t.fields[i], &t.columns[i]
		value := f.value
		if f.calls != nil || f.when != (condition{}) {
			value = f.Value
		}
		cells = append(cells, cell{facets: f.facets, append: t.cell(f.Kind, c, value, scratch)})
	}
	return cells
}

// cell returns what appends the cells of a column.
func (t *table) cell(kind Kind, c *column, value func(*stream.Event, []byte) Value, scratch []byte) func([]byte, *stream.Event) []byte {
	switch kind {
	case Text:
		return func(b []byte, e *stream.Event) []byte {
			start := len(b)
			b = appendText(b, value(e, scratch), c.last)
			if isASCII(b[start:]) {
				return t.fill(b, start, c)
			}
			return t.fit(b, start, c)
		}
	case Parents:
		return func(b []byte, e *stream.Event) []byte {
			start := len(b)
			if v := value(e, scratch); v.Kind == None {
				b = append(b, '-')
			} else {
				b = append(b, v.text...)
			}
			return t.fit(b, start, c)
		}
	case Detail:
		return func(b []byte, e *stream.Event) []byte {
			start := len(b)
			b = t.detail.append(b, e.Record, c.last)
			if c.last && t.screen == 0 {
				return append(b, ' ')
			}
			return t.fit(b, start, c)
		}
	case Time:
		return func(b []byte, e *stream.Event) []byte {
			return t.fill(t.clock.append(b, e.Time), len(b), c)
		}
	}
	return func(b []byte, e *stream.Event) []byte {
		return t.fill(appendPlain(b, value(e, scratch)), len(b), c)
	}
}

// appendText appends a value of Text, or - for none.
func appendText(b []byte, v Value, spaces bool) []byte {
	if len(v.text) == 0 {
		return append(b, '-')
	}
	return escape.Append(b, v.text, spaces)
}

// appendPlain appends what is printable as it is, or - for none.
func appendPlain(b []byte, v Value) []byte {
	switch v.Kind {
	case Symbol:
		return append(b, v.text...)
	case Unsigned, Files:
		return strconv.AppendUint(b, v.number, 10)
	case Signed:
		return strconv.AppendInt(b, v.Signed(), 10)
	case Result:
		if name := names.Error(int32(v.Signed())); name != "" {
			return append(b, name...)
		}
		return strconv.AppendInt(b, v.Signed(), 10)
	case Duration:
		return appendDuration(b, v.number)
	case True:
		return append(b, "yes"...)
	}
	return append(b, '-')
}

const spaces = "                                                                "

// fill makes the ASCII text from start on a cell of column c, and appends the space
// behind it.
func (t *table) fill(b []byte, start int, c *column) []byte {
	missing := c.width - (len(b) - start)
	if missing < 0 || missing >= len(spaces) || c.right || c.last {
		return t.fit(b, start, c)
	}
	return append(b, spaces[:missing+1]...)
}

// fit does the same for any text: it cuts a cell, or makes its column wider. The last
// column is not filled.
func (t *table) fit(b []byte, start int, c *column) []byte {
	width := widthOf(b[start:])
	if limit := t.limit(b[:start], c); limit > 0 && width > limit {
		b, width = cutMiddle(b, start, limit, t.dots)
	}
	if wider := min(width, c.max); wider > c.width && !c.last {
		c.width = wider
		t.wider++
	}
	missing := max(c.width-width, 0)
	switch {
	case c.right:
		for range missing {
			b = append(b, ' ')
		}
		copy(b[start+missing:], b[start:len(b)-missing])
		for i := range missing {
			b[start+i] = ' '
		}
	case !c.last:
		for range missing {
			b = append(b, ' ')
		}
	}
	return append(b, ' ')
}

// limit returns how wide the cell behind b can be before it is cut, 0 for any width.
func (t *table) limit(b []byte, c *column) int {
	switch {
	case t.screen > 0 && c.last:
		return max(t.screen-t.lineWidth(b), leastRoom)
	case c.cuts:
		return c.max
	}
	return 0
}

// lineWidth returns how wide the line at the end of b is.
func (t *table) lineWidth(b []byte) int {
	line := b[bytes.LastIndexByte(b, '\n')+1:]
	if len(line) > 0 && line[0] == '\x1b' {
		line = line[bytes.IndexByte(line, 'm')+1:]
	}
	return widthOf(line)
}

// widthOf returns how many columns of a terminal text takes that is printable.
func widthOf(b []byte) int {
	if isASCII(b) {
		return len(b)
	}
	return displaywidth.Bytes(b)
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// cutMiddle replaces what is in the middle of the text from start on by dots, so that
// it takes at most so many columns of a terminal. The end of a path says most, so more
// of it is left. It returns how many columns the text takes then.
func cutMiddle(b []byte, start, width int, dots string) (_ []byte, cut int) {
	cut = displaywidth.String(dots)
	room := max(width-cut, 0)
	from, left := start, room/3
	for from < len(b) {
		r, size := utf8.DecodeRune(b[from:])
		if left -= displaywidth.Rune(r); left < 0 {
			break
		}
		from += size
		cut += displaywidth.Rune(r)
	}
	to, left := len(b), room-room/3
	for to > from {
		r, size := utf8.DecodeLastRune(b[from:to])
		if left -= displaywidth.Rune(r); left < 0 {
			break
		}
		to -= size
		cut += displaywidth.Rune(r)
	}
	return slices.Replace(b, from, to, []byte(dots)...), cut
}
