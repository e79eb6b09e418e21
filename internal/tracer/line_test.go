// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"io"
	"slices"
	"testing"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/attribution"
	"github.com/copenclose/copenclose/internal/output"
	"github.com/copenclose/copenclose/internal/stream"
)

// The whole way from ring to line. Only here does this package know the stages after
// it.

// lines is a full ring, and what writes a line for each of its records: of a
// program that opens and closes a file again and again.
func lines(t testing.TB, format output.Format) (r *ringInMemory, to stream.Records, n int) {
	t.Helper()
	w, err := output.NewWriter(io.Discard, output.Options{Format: format, NoHeader: true})
	if err != nil {
		t.Fatal(err)
	}
	path := []byte("/var/www/html/index.html")
	var pair [2][]byte
	for i, name := range []string{"openat", "close"} {
		syscall := slices.IndexFunc(bpf.Syscalls[:], func(s bpf.Syscall) bool { return s.Name == name })
		d := bpf.Draft{Event: bpf.Event{Syscall: uint8(syscall)}}
		if format != output.Table {
			d.Details = &bpf.Details{Target: []bpf.Target{bpf.TargetPath, bpf.TargetFile}[i]}
			if d.Name = path; i == 0 {
				d.Given, d.Name = path, nil
			}
		}
		pair[i] = d.Append(nil)
	}
	r = newRingInMemory(8 << 20)
	for r.head+uint64(ringHeader+len(pair[0])+8) <= r.mask+1 {
		r.put(pair[n%2], 0)
		n++
	}
	return r, attribution.Pass(w), n
}

// write has the lines of all records written, as Tracer.Run does.
func (r *ringInMemory) write(to stream.Records) (n int, err error) {
	r.read = 0
	if n, err = r.drain(to.Record); err != nil {
		return n, err
	}
	return n, to.Flush()
}

var formats = []output.Format{output.Table, output.Wide, output.JSON}

func TestRingToLineAllocatesNothing(t *testing.T) {
	for _, format := range formats {
		r, to, n := lines(t, format)
		made := testing.AllocsPerRun(5, func() {
			if written, err := r.write(to); err != nil || written != n {
				t.Fatalf("%s: %d lines of %d: %v", format, written, n, err)
			}
		})
		if made != 0 {
			t.Errorf("%s: %v allocations for %d events", format, made, n)
		}
	}
}

func BenchmarkRingToLine(b *testing.B) {
	for _, format := range formats {
		b.Run(string(format), func(b *testing.B) {
			r, to, n := lines(b, format)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.write(to); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
		})
	}
}
