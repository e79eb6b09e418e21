// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package output turns events into lines, and lists of containers. Each format has a
// file; what they show of an event is written once, in the table Fields. The lines are
// appended to one buffer, which is written when asked to, or when it is full.
package output

import (
	"bytes"
	"io"
	"sync/atomic"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stream"
)

// bufferSize is from how much on a write is due. Larger writes are cheaper: each write
// touches the partial page at either end once more.
const bufferSize = 256 << 10

// What is at most in a line, of which each byte can become six, and base64 with it:
// textMax from the text of a record, two paths or the files that a close_range closed,
// and shortMax from all the rest, with two containers.
const (
	textMax  = 8 * 2 * bpf.TextMax
	shortMax = 16 << 10
)

// Writer writes a line for each event. It is a stream.Sink.
type Writer struct {
	out    io.Writer
	format format
	needs  stream.Needs
	page   pager // nil if there is no screen
	buffer []byte
	head   int // how much of the buffer is no event's

	taken  uint64        // events
	inside uint64        // those whose lines are in the buffer
	shown  atomic.Uint64 // those whose lines were written
}

// pager is a format that can be full: then the next event begins in an empty buffer.
type pager interface{ isFull() bool }

// NewWriter returns what writes lines to out. The first Flush writes the header, also
// before any event. The error is a usage error.
func NewWriter(out io.Writer, o Options) (*Writer, error) {
	f, needs, err := o.build()
	if err != nil {
		return nil, err
	}
	w := &Writer{out: out, format: f, needs: needs, buffer: make([]byte, 0, bufferSize+f.longest())}
	w.page, _ = f.(pager)
	if !o.NoHeader {
		w.buffer = f.header(w.buffer)
		w.head = len(w.buffer)
	}
	return w, nil
}

// Needs returns what must be recorded for the lines.
func (w *Writer) Needs() stream.Needs { return w.needs }

// Event appends a line.
func (w *Writer) Event(e *stream.Event) error {
	if len(w.buffer) == 0 {
		w.buffer = w.format.begin(w.buffer)
		w.head = len(w.buffer)
	}
	w.buffer = w.format.event(w.buffer, e)
	w.taken++
	w.inside++
	if len(w.buffer) >= bufferSize || w.page != nil && w.page.isFull() {
		return w.Flush()
	}
	return nil
}

// Flush writes the lines that were appended. What cannot be written is dropped, and is
// not Shown.
func (w *Writer) Flush() error {
	if len(w.buffer) == 0 {
		return nil
	}
	n, err := w.out.Write(w.buffer)
	if n < len(w.buffer) {
		lines := w.buffer[min(w.head, n):n]
		w.inside = uint64(bytes.Count(lines, []byte{'\n'}))
	}
	w.shown.Add(w.inside)
	w.buffer, w.head, w.inside = w.buffer[:0], 0, 0
	return err
}

// Close: see stream.Sink.
func (w *Writer) Close() error { return nil }

// Shown returns how many events have a line that was written whole. It may be called at
// any time and from any goroutine.
func (w *Writer) Shown() uint64 { return w.shown.Load() }

// Unwritten returns how many events were taken whose lines could not be written.
func (w *Writer) Unwritten() uint64 { return w.taken - w.shown.Load() }
