// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/copenclose/copenclose/internal/stream"
)

// formats has every format, the default first. Each has a file.
var formats = []*registered{
	&tableFormat,
	&wideFormat,
	&jsonFormat,
	&tsvFormat,
	&straceFormat,
}

// Format is the name of a format.
type Format string

// registered is a format that --output can name.
type registered struct {
	name  Format
	about string
	// takes are the options that change what it looks like, by the names of the flags.
	takes []string
	// precision is the unit of the last digit of times, unless another one is asked for.
	precision Precision

	// columns returns the names of the fields that each line has. A format without it
	// has every field that is not OnlyColumn.
	columns func(*Options) []string
	style   func(*Options, []Field, *clock) style
	paged   bool // a screen has the header again on each page
	fits    bool // and the columns fit it
	lists   bool // a List can have it
	// forPeople says that values are shortened where people need no more.
	forPeople bool

	// format makes a format that is not lines of fields.
	format func(*Options) (format, stream.Needs)
}

// format is one way to write events.
type format interface {
	// header appends what comes before all events.
	header(b []byte) []byte
	// begin appends to an empty buffer what comes before the next event. Some time may
	// have passed.
	begin(b []byte) []byte
	// event appends one line.
	event(b []byte, e *stream.Event) []byte
	// longest returns more bytes than any line has.
	longest() int
}

// Formats returns the names of the formats, the default first.
func Formats() (list []Format) {
	for _, r := range formats {
		list = append(list, r.name)
	}
	return list
}

// About returns what the format is, in one line.
func (f Format) About() string { return f.registered().about }

// Refuses reports whether the option with this flag changes what other formats look
// like, but not this one.
func (f Format) Refuses(flag string) bool {
	takes := func(r *registered) bool { return slices.Contains(r.takes, flag) }
	return !takes(f.registered()) && slices.ContainsFunc(formats, takes)
}

func (f Format) registered() *registered {
	i := slices.IndexFunc(formats, func(r *registered) bool { return r.name == f })
	if i < 0 {
		return formats[0]
	}
	return formats[i]
}

// Options says what lines look like.
type Options struct {
	Format    Format    // "" for the first one
	CgroupID  bool      // containers by cgroup id instead of hostname
	Latency   bool      // how long calls took
	Lifetime  bool      // how long what is closed was open
	Program   bool      // what the process runs, and who forked it
	FullPath  bool      // in tables, of opens the file's own path, not the path as given
	Columns   []string  // names of fields, or changes like +latency and -gid; none for those of the format
	NoHeader  bool      //
	Time      TimeStyle // "" and AutoTime for that of the format
	Precision Precision // "" and AutoPrecision for that of the format and the style
	Screen    Screen    // that lines are written to, nil for a pipe or a file
	Color     bool
	Unicode   bool // arrows and dots that are not ASCII

	width          int  // of the screen that lines have to fit, 0 for any
	unbounded      bool // columns become as wide as what is in them
	zone           *time.Location
	realtimeOffset func() int64
}

// build returns the format that o describes, and what it needs.
func (o *Options) build() (format, stream.Needs, error) {
	r := o.Format.registered()
	if r.format != nil {
		f, needs := r.format(o)
		return f, needs, nil
	}
	if o.Screen != nil && r.paged {
		return newPages(o, r)
	}
	return o.rows(r)
}

func (o *Options) rows(r *registered) (*rows, stream.Needs, error) {
	fields, err := o.fields(r)
	if err != nil {
		return nil, stream.Needs{}, err
	}
	needs := stream.Needs{Latency: o.Latency, Lifetime: o.Lifetime}
	for _, f := range fields {
		needs.File = needs.File || o.FullPath && f.Kind == Detail
		if r.columns == nil {
			f.needs.Latency, f.needs.Lifetime = false, false // objects have them where they are asked for
		}
		needs = needs.Or(f.needs)
	}
	c := newClock(o, r.precision)
	rows := newRows(r.style(o, fields, c), c)
	rows.lineMax = textMax + shortMax
	if r.columns != nil {
		// Columns can have the same text more than once.
		for _, f := range fields {
			if f.needs.Details && (f.Kind == Text || f.Kind == Detail) {
				rows.lineMax += textMax
			}
		}
	}
	for _, f := range fields {
		if f.needs.Programs {
			rows.lineMax += programMax
		}
	}
	return rows, needs, nil
}

// fields returns what each line has.
func (o *Options) fields(r *registered) (fields []Field, err error) {
	if r.columns == nil {
		for _, f := range Fields {
			if f.needs.Programs && !o.Program {
				if !f.OfExec {
					continue
				}
				f = ofExecAlone(f)
			}
			if !f.OnlyColumn {
				fields = append(fields, f)
			}
		}
		return fields, nil
	}
	names := o.Columns
	if areChanges(names) {
		if names, err = edit(r.columns(o), names); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		f, ok := Find(name)
		if !ok {
			return nil, noColumn(name)
		}
		fields = append(fields, *f)
	}
	return fields, nil
}

// areChanges reports whether columns are changes to those of a format.
func areChanges(columns []string) bool {
	return !slices.ContainsFunc(columns, func(c string) bool { return !isChange(c) })
}

func isChange(column string) bool {
	return strings.HasPrefix(column, "+") || strings.HasPrefix(column, "-")
}

// edit adds and removes columns. What is added comes before what follows it in Fields.
func edit(columns, changes []string) ([]string, error) {
	for _, change := range changes {
		field, ok := Find(change[1:])
		if !ok {
			return nil, noColumn(change[1:])
		}
		place := order(field.Name)
		at := slices.IndexFunc(columns, func(c string) bool { return order(c) >= place })
		has := at >= 0 && order(columns[at]) == place
		switch {
		case change[0] == '+' && at < 0:
			columns = append(columns, field.Name)
		case change[0] == '+' && !has:
			columns = slices.Insert(columns, at, field.Name)
		case change[0] == '-' && has:
			columns = slices.Delete(columns, at, at+1)
		case change[0] == '-':
			return nil, fmt.Errorf("column %s is not there to be left out", field.Header())
		}
	}
	if len(columns) == 0 {
		return nil, errors.New("no column is left")
	}
	return columns, nil
}

func noColumn(name string) error { return fmt.Errorf("no column %q; --columns help lists them", name) }
