// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package output turns events into lines. It appends to one buffer and writes it
// when asked to, or when it is full.
package output

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"github.com/copenclose/copenclose/bpf"
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
	Limit     uint64 // events to take, 0 for no limit
}

// Container is what lines say of a container.
type Container struct {
	Label                                            string // where there is room for one word
	ID, Name, Image, Runtime, Pod, PodUID, Namespace string
}

// Unknown is a container of which not even that is known whether it is one.
var Unknown = Container{Label: "unknown", Runtime: "unknown"}

// format is one way to write events; one file each. The containers are nil for the
// host.
type format interface {
	header(b []byte) []byte
	begin() // the buffer is empty; some time may have passed
	event(b []byte, r *bpf.Record, c, peer *Container) []byte
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

// Needs is what must be sent for this. The error is that of NewWriter.
func (o *Options) Needs() (Needs, error) {
	if o.Format == JSON {
		return Needs{Hostname: true, Details: true, Latency: o.Latency, Containers: true, File: true}, nil
	}
	columns, err := o.columns()
	needs := Needs{Latency: o.Latency, File: o.FullPath}
	for _, c := range columns {
		needs.Hostname = needs.Hostname || c.needs.Hostname
		needs.Details = needs.Details || c.needs.Details
		needs.Latency = needs.Latency || c.needs.Latency
		needs.Containers = needs.Containers || c.needs.Containers
	}
	return needs, err
}

// ErrEnough is returned with the last event that was asked for.
var ErrEnough = errors.New("enough events")

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

// Writer writes lines.
type Writer struct {
	out    io.Writer
	format format
	buffer []byte
	limit  uint64
	taken  uint64
	shown  uint64
}

// NewWriter writes a header to out, and returns what writes a line for each
// event.
func NewWriter(out io.Writer, o Options) (*Writer, error) {
	f, err := o.format()
	if err != nil {
		return nil, err
	}
	w := &Writer{out: out, format: f, limit: o.Limit, buffer: make([]byte, 0, bufferSize+lineMax)}
	if !o.NoHeader {
		_, err = out.Write(f.header(nil))
	}
	return w, err
}

// Event appends a line. c is the container of the caller, and peer that of who is at
// the other end of a unix socket; nil for the host.
func (w *Writer) Event(r *bpf.Record, c, peer *Container) error {
	if len(w.buffer) == 0 {
		w.format.begin()
	}
	w.buffer = w.format.event(w.buffer, r, c, peer)
	w.taken++
	if w.taken == w.limit {
		return ErrEnough
	}
	if len(w.buffer) >= bufferSize {
		return w.Flush()
	}
	return nil
}

// Flush writes the lines that were appended.
func (w *Writer) Flush() error {
	n, err := w.out.Write(w.buffer)
	if n == len(w.buffer) {
		w.shown = w.taken
	} else {
		w.shown += uint64(bytes.Count(w.buffer[:n], []byte{'\n'}))
	}
	w.buffer = w.buffer[:0]
	return err
}

// Shown is how many lines were written, and Unwritten how many events were taken
// whose lines could not be.
func (w *Writer) Shown() uint64     { return w.shown }
func (w *Writer) Unwritten() uint64 { return w.taken - w.shown }
