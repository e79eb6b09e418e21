// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/escape"
	"github.com/copenclose/copenclose/internal/stream"
)

// JSON is a format for programs.
const JSON Format = "json"

var jsonFormat = registered{
	name: JSON, about: "an object a line with every field, see docs/event.schema.json; what does not apply is absent",
	takes: []string{"latency", "lifetime", "program", "full-path", "timestamp-precision"}, precision: Nanoseconds,
	style: newJSONLines, lists: true,
}

// jsonLines is a style: one object a line. Text that is not valid UTF-8 has U+FFFD for
// each bad byte, and its exact bytes in base64 under its key with _base64 after it.
type jsonLines struct {
	fields  []Field
	clock   *clock
	scratch []byte // for text that has to be put together
	// A file that a close_range closed, and what it has.
	file       stream.Event
	fileRecord bpf.Record
	fileCells  []cell
	// Who forked a process, and what it has.
	parent      *stream.Parent
	parentCells []func([]byte, *stream.Event) []byte
}

func newJSONLines(_ *Options, fields []Field, c *clock) style {
	j := &jsonLines{fields: fields, clock: c, scratch: make([]byte, 0, scratchSize)}
	j.file.Record = &j.fileRecord
	var closed []Field
	for _, f := range fields {
		if f.closed {
			f.calls = nil // files are closed by calls that do not have the field themselves
			closed = append(closed, f)
		}
	}
	j.fileCells = j.cells(closed)
	j.parentCells = []func([]byte, *stream.Event) []byte{
		j.value(Unsigned, `"pid`, func(*stream.Event, []byte) Value { return unsigned(j.parent.PID) }),
		j.value(Text, `"exe`, func(*stream.Event, []byte) Value { return textOf(j.parent.Exe) }),
		j.value(Text, `"comm`, func(*stream.Event, []byte) Value { return textOf(j.parent.Comm) }),
	}
	return j
}

func (j *jsonLines) header(b []byte) []byte { return b }

func (j *jsonLines) line() lineStyle {
	return lineStyle{first: '{', cells: j.cells(j.fields), separator: ',', end: "}\n"}
}

// cells returns a cell for each key of the object, with a comma behind it.
func (j *jsonLines) cells(fields []Field) (cells []cell) {
	for i := 0; i < len(fields); {
		object, _, ok := strings.Cut(fields[i].Name, ".")
		if !ok {
			cells = append(cells, j.cell(&fields[i]))
			i++
			continue
		}
		first := i
		for i < len(fields) && strings.HasPrefix(fields[i].Name, object+".") {
			i++
		}
		cells = append(cells, j.object(object, fields[first:i]))
	}
	return cells
}

// object returns a cell for an object, which have these fields depend on the same.
func (j *jsonLines) object(name string, fields []Field) cell {
	key := `"` + name + `":{`
	var inside []cell
	for i := range fields {
		inside = append(inside, j.cell(&fields[i]))
	}
	return cell{facets: fields[0].facets, calls: fields[0].calls, when: fields[0].when, append: func(b []byte, e *stream.Event) []byte {
		start := len(b)
		b = append(b, key...)
		empty := len(b)
		for i := range inside {
			b = inside[i].append(b, e)
		}
		if len(b) == empty {
			return b[:start]
		}
		b[len(b)-1] = '}'
		return append(b, ',')
	}}
}

// cell returns a cell for a field.
func (j *jsonLines) cell(f *Field) cell {
	_, name, ok := strings.Cut(f.Name, ".")
	if !ok {
		name = f.Name
	}
	return cell{facets: f.facets, calls: f.calls, when: f.when, append: j.value(f.Kind, `"`+name, f.value)}
}

// value returns what appends a key, given as "key, and its value.
func (j *jsonLines) value(kind Kind, name string, value func(*stream.Event, []byte) Value) func([]byte, *stream.Event) []byte {
	key := name + `":`
	switch kind {
	case Unsigned, Duration, Signed, Result:
		return func(b []byte, e *stream.Event) []byte {
			v := value(e, nil)
			switch v.Kind {
			case None:
				return b
			case Signed, Result:
				b = strconv.AppendInt(append(b, key...), v.Signed(), 10)
			default:
				b = strconv.AppendUint(append(b, key...), v.number, 10)
			}
			return append(b, ',')
		}
	case Text, Symbol:
		textKey, base64Key := key+`"`, name+`_base64":"`
		return func(b []byte, e *stream.Event) []byte {
			v := value(e, j.scratch)
			if v.Kind == None {
				return b
			}
			b = append(b, textKey...)
			if v.Kind == Symbol {
				return append(append(b, v.text...), `",`...)
			}
			b, valid := escape.AppendJSON(b, v.text)
			b = append(b, `",`...)
			if valid {
				return b
			}
			b = base64.StdEncoding.AppendEncode(append(b, base64Key...), v.text)
			return append(b, `",`...)
		}
	case Time:
		textKey := key + `"`
		return func(b []byte, e *stream.Event) []byte {
			return append(j.clock.append(append(b, textKey...), e.Time), `",`...)
		}
	case Parents:
		return func(b []byte, e *stream.Event) []byte {
			if e.Program == nil || len(e.Program.Parents) == 0 {
				return b
			}
			return j.appendParents(append(b, key...), e)
		}
	case Files:
		return func(b []byte, e *stream.Event) []byte {
			if value(e, nil).Kind == None {
				return b
			}
			return j.appendFiles(append(b, key...), e)
		}
	}
	return func(b []byte, e *stream.Event) []byte { // True
		if value(e, nil).Kind == None {
			return b
		}
		return append(append(b, key...), "true,"...)
	}
}

// appendFiles appends an object for each file that a close_range closed.
func (j *jsonLines) appendFiles(b []byte, e *stream.Event) []byte {
	b = append(b, '[')
	for closed := range e.Closed() {
		j.fileRecord = closed
		has := traitsOf(&j.file)
		b = append(b, '{')
		for i := range j.fileCells {
			if c := &j.fileCells[i]; c.when.holds(has) {
				b = c.append(b, &j.file)
			}
		}
		b[len(b)-1] = '}'
		b = append(b, ',')
	}
	b[len(b)-1] = ']'
	return append(b, ',')
}

// appendParents appends an object for each process that forked the one before.
func (j *jsonLines) appendParents(b []byte, e *stream.Event) []byte {
	b = append(b, '[')
	for i := range e.Program.Parents {
		j.parent = &e.Program.Parents[i]
		b = append(b, '{')
		for _, cell := range j.parentCells {
			b = cell(b, e)
		}
		b[len(b)-1] = '}'
		b = append(b, ',')
	}
	b[len(b)-1] = ']'
	return append(b, ',')
}
