// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package output turns events into lines. It appends to one buffer and writes it
// when asked to, or when it is full.
package output

import (
	"bytes"
	"io"
	"slices"
	"sync/atomic"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stream"
)

// Format names a format.
type Format string

// The formats there are.
const (
	Table Format = "table"
	Wide  Format = "wide"
	JSON  Format = "json"
)

// Options says what lines look like.
type Options struct {
	Format    Format
	CgroupID  bool     // containers by cgroup id instead of hostname
	Latency   bool     // how long calls took
	FullPath  bool     // in tables, of opens the file's own path, not the path as given
	Columns   []string // of a table; none for those of the format
	NoHeader  bool
	Time      TimeStyle
	Precision Precision
}

// format is one way to write events; one file each.
type format interface {
	header(b []byte) []byte
	begin() // the buffer is empty; some time may have passed
	event(b []byte, e *stream.Event) []byte
}

func (o *Options) columns() ([]Column, error) {
	if len(o.Columns) > 0 {
		return columns(o.Columns...)
	}
	names := []string{"time", "hostname", "pid", "uid", "gid", "syscall", "comm"}
	if o.CgroupID {
		names[1] = "cgroupid"
	}
	if o.Format == Wide {
		names = slices.Insert(names, 2, "container")
		names = append(names, "fd", "ret")
		if o.Latency {
			names = append(names, "lat")
		}
		names = append(names, "detail")
	}
	return columns(names...)
}

func (o *Options) format() (format, error) {
	if o.Format == JSON {
		return newJSONLines(), nil
	}
	c, err := o.columns()
	if err != nil {
		return nil, err
	}
	return newTable(c, newClock(o.Time, o.Precision), o.FullPath), nil
}

// needs is what events must have for this. The error is that of NewWriter.
func (o *Options) needs() (stream.Needs, error) {
	if o.Format == JSON {
		return stream.Needs{Hostname: true, Details: true, Latency: o.Latency, Containers: true, File: true}, nil
	}
	columns, err := o.columns()
	needs := stream.Needs{Latency: o.Latency, File: o.FullPath}
	for _, c := range columns {
		needs = needs.Or(c.needs)
	}
	return needs, err
}

const (
	// bufferSize is from how much on a write is due. For each write the kernel
	// touches the file's pages at both ends twice, so that more is cheaper.
	bufferSize = 256 << 10
	// lineMax is more than the longest line. Text is at most two paths, of which every
	// byte can become six, and their base64. A close_range has the files it closed
	// there: each takes so many bytes that its keys have room in eight times as many.
	// The rest is what is in every line, with two containers.
	lineMax = 8*2*bpf.TextMax + 16<<10
)

// Writer writes a line for each event. It is a stream.Sink.
type Writer struct {
	out    io.Writer
	format format
	needs  stream.Needs
	buffer []byte
	header int    // lines at the start of buffer that are no events
	events uint64 // lines after them
	taken  uint64
	shown  atomic.Uint64
}

// NewWriter returns what writes lines to out. The first Flush writes the header, also
// before any event.
func NewWriter(out io.Writer, o Options) (*Writer, error) {
	f, err := o.format()
	if err != nil {
		return nil, err
	}
	needs, err := o.needs()
	if err != nil {
		return nil, err
	}
	w := &Writer{out: out, format: f, needs: needs, buffer: make([]byte, 0, bufferSize+lineMax)}
	w.format.begin()
	if !o.NoHeader {
		w.buffer = f.header(w.buffer)
		w.header = bytes.Count(w.buffer, newline)
	}
	return w, nil
}

var newline = []byte{'\n'}

// Needs is what events must have.
func (w *Writer) Needs() stream.Needs { return w.needs }

// Event appends a line.
func (w *Writer) Event(e *stream.Event) error {
	if len(w.buffer) == 0 {
		w.format.begin()
	}
	w.buffer = w.format.event(w.buffer, e)
	w.events++
	w.taken++
	if len(w.buffer) >= bufferSize {
		return w.Flush()
	}
	return nil
}

// Flush writes the lines that were appended. What cannot be written is dropped, and
// is not Shown.
func (w *Writer) Flush() error {
	if len(w.buffer) == 0 {
		return nil
	}
	n, err := w.out.Write(w.buffer)
	written := w.events
	if n < len(w.buffer) {
		written = uint64(max(bytes.Count(w.buffer[:n], newline)-w.header, 0))
	}
	w.shown.Add(written)
	w.header, w.events, w.buffer = 0, 0, w.buffer[:0]
	return err
}

// Close: see stream.Sink.
func (w *Writer) Close() error { return nil }

// Shown is how many events were written, and Unwritten how many were taken whose lines
// could not be. Shown may be called at any time and from any goroutine.
func (w *Writer) Shown() uint64     { return w.shown.Load() }
func (w *Writer) Unwritten() uint64 { return w.taken - w.shown.Load() }
