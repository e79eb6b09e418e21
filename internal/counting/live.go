// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package counting

import (
	"sync"
	"time"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stream"
)

// Live has a Book and its Samples while the source runs: it takes the source's records
// on one goroutine and gives snapshots on others. It is a stream.Records.
type Live struct {
	mu      sync.Mutex
	records stream.Records
	book    *Book
	samples *Samples
}

// NewLive returns a Live of samples of the last window, or of all time for 0. latency
// says that the source measures how long calls take.
func NewLive(window time.Duration, latency bool) *Live {
	book := NewBook(nil, nil, latency)
	return &Live{book: book, samples: NewSamples(book, window)}
}

// Sink returns where records must give their events.
func (l *Live) Sink() stream.Sink { return l.samples }

// Begin has l count what source does, before that runs. It hands records on to records.
func (l *Live) Begin(source Source, containers Containers, records stream.Records) {
	l.book.source, l.book.containers, l.records = source, containers, records
}

// Record: see stream.Records.
func (l *Live) Record(r *bpf.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Kind == bpf.CgroupRemoved {
		l.book.Removed(r.CgroupID, time.Now())
	}
	return l.records.Record(r)
}

// Flush: see stream.Records.
func (l *Live) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.records.Flush()
}

// Take returns all that was counted so far.
func (l *Live) Take() (*Snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.book.Take(time.Now())
}

// Tend takes from the source what it has no room to keep: the paths of executables, and
// the totals of cgroups that are gone. It must be called about every second.
func (l *Live) Tend() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.book.tend(time.Now())
}

// Read calls read while nothing changes.
func (l *Live) Read(read func(*Samples)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	read(l.samples)
}
