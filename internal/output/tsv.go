// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"strconv"

	"github.com/copenclose/copenclose/internal/escape"
	"github.com/copenclose/copenclose/internal/stream"
)

var tsvFormat = registered{
	name: "tsv", about: "values with tabs between them, for DuckDB, cut and spreadsheets; empty where a field does not apply",
	takes: []string{"columns", "use-cgv2", "full-path", "latency", "lifetime", "program", "time", "timestamp-precision", "no-header"}, precision: Microseconds,
	columns: valueColumns, style: newTSV, lists: true,
}

// valueColumns returns the columns of formats for programs.
func valueColumns(o *Options) []string {
	columns := append([]string{"time", hostColumn(o), "container", "pid", "uid", "gid", "syscall", "comm"}, programColumns(o)...)
	columns = append(columns, "fd", "ret", "error")
	if o.Latency {
		columns = append(columns, "latency_ns")
	}
	if o.Lifetime {
		columns = append(columns, lifetimeColumns...)
	}
	return append(columns, "detail")
}

// tsv is a style: values with tabs between them. What could end a value or a line is
// escaped as in tables.
type tsv struct {
	fields  []Field
	clock   *clock
	detail  detailStyle
	scratch []byte
}

func newTSV(o *Options, fields []Field, c *clock) style {
	return &tsv{fields, c, detailStyle{fullPath: o.FullPath, arrows: asciiArrows}, make([]byte, 0, scratchSize)}
}

func (t *tsv) header(b []byte) []byte {
	for _, f := range t.fields {
		b = append(append(b, f.Name...), '\t')
	}
	return append(b[:len(b)-1], '\n')
}

func (t *tsv) line() lineStyle {
	return lineStyle{cells: t.cells(), separator: '\t', end: "\n"}
}

func (t *tsv) cells() (cells []cell) {
	for i := range t.fields {
		f := &t.fields[i]
		cells = append(cells, cell{facets: f.facets, append: func(b []byte, e *stream.Event) []byte {
			return append(t.append(b, f.Value(e, t.scratch), e), '\t')
		}})
	}
	return cells
}

// append appends a value as programs read it, nothing for None.
func (t *tsv) append(b []byte, v Value, e *stream.Event) []byte {
	switch v.Kind {
	case Text:
		return escape.Append(b, v.text, true)
	case Detail:
		start := len(b)
		if b = t.detail.append(b, e.Record, true); string(b[start:]) == "-" {
			return b[:start]
		}
		return b
	case Unsigned, Duration, Files:
		return strconv.AppendUint(b, v.number, 10)
	case Signed, Result:
		return strconv.AppendInt(b, v.Signed(), 10)
	case Symbol, Parents:
		return append(b, v.text...)
	case Time:
		return t.clock.append(b, v.number)
	case True:
		return append(b, "true"...)
	}
	return b
}
