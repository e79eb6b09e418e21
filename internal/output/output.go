// Package output turns events into lines. It appends to one buffer and writes it
// when asked to, or when it is full.
package output

import (
	"bytes"
	"errors"
	"io"

	"github.com/copenclose/copenclose/bpf"
)

// ErrEnough is returned with the last event that was asked for.
var ErrEnough = errors.New("enough events")

// bufferSize is what one write takes at most, and as much as a pipe does.
const bufferSize = 64 << 10

// Writer writes a table. It is the tracer's Sink.
type Writer struct {
	out     io.Writer
	columns []column
	clock   Clock
	buffer  []byte
	limit   uint64
	taken   uint64
	shown   uint64
}

// NewWriter writes the header, and then a row for each event, to out. After limit
// events Event returns ErrEnough; 0 is no limit.
func NewWriter(out io.Writer, columns []column, limit uint64) (*Writer, error) {
	w := &Writer{out: out, columns: columns, limit: limit, buffer: make([]byte, 0, bufferSize)}
	w.clock.Adjust()
	header := appendRow(nil, columns, func(b []byte, c *column) []byte { return append(b, c.header...) })
	_, err := out.Write(header)
	return w, err
}

// Event appends a row.
func (w *Writer) Event(e *bpf.Event) error {
	w.buffer = appendRow(w.buffer, w.columns, func(b []byte, c *column) []byte { return c.append(b, e, &w.clock) })
	w.taken++
	if w.taken == w.limit {
		return ErrEnough
	}
	if len(w.buffer) >= bufferSize-rowReserve {
		return w.Flush()
	}
	return nil
}

// rowReserve is more than a row can take.
const rowReserve = 1024

// Flush writes the rows that were appended.
func (w *Writer) Flush() error {
	n, err := w.out.Write(w.buffer)
	w.shown += uint64(bytes.Count(w.buffer[:n], []byte{'\n'}))
	w.buffer = w.buffer[:0]
	w.clock.Adjust()
	return err
}

// Shown is how many rows were written, and Unwritten how many events were taken
// whose rows could not be.
func (w *Writer) Shown() uint64     { return w.shown }
func (w *Writer) Unwritten() uint64 { return w.taken - w.shown }
