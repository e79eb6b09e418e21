// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package stream is the seam between what gives events and what takes them.
//
//	Source -> Records (attribution) -> Sink
//
// A Source gives records: the tracer, live from the kernel. One stage, package
// attribution, finds out whose they are. A Sink takes the events that come out: a
// format of package output, or several sinks through Tee. What sinks need decides
// what the source records.
//
// All of it happens on the goroutine of Source.Run, without an allocation for an
// event.
package stream

import (
	"context"
	"errors"

	"github.com/copenclose/copenclose/bpf"
)

// An Event is a record and whose it is. It is valid until the Sink returns.
type Event struct {
	*bpf.Record
	Container *Container // of the caller; nil for the host
	Peer      *Container // of who is at the other end of a unix socket; nil for the host
	Program   *Program   // of the caller; nil where it is not known, or not asked for
}

// Needs is what must be recorded, and found out, for an event.
type Needs struct {
	Hostname   bool // bpf.Event.Hostname
	Details    bool // bpf.Record.Details
	Latency    bool // how long the call took, in Details
	Lifetime   bool // how long what is closed was open, in Details
	File       bool // of opens the absolute path of the file, in Details
	Containers bool // the names of containers
	Programs   bool // Event.Program
}

// Or returns what one of both needs.
func (n Needs) Or(m Needs) Needs {
	return Needs{
		Hostname:   n.Hostname || m.Hostname,
		Details:    n.Details || m.Details,
		Latency:    n.Latency || m.Latency,
		Lifetime:   n.Lifetime || m.Lifetime,
		File:       n.File || m.File,
		Containers: n.Containers || m.Containers,
		Programs:   n.Programs || m.Programs,
	}
}

// A Sink takes events.
type Sink interface {
	Needs() Needs
	// Event takes one event. An error ends the stream; ErrEnough ends it as
	// asked.
	Event(*Event) error
	// Flush is called when no more events are there for now.
	Flush() error
	// Close is called once, after the last Flush. It flushes nothing.
	Close() error
}

// Records takes what a Source gives.
type Records interface {
	// Record takes one record of any kind, which is valid until it returns. An
	// error ends the stream.
	Record(*bpf.Record) error
	// Flush is called when no more records are there for now.
	Flush() error
}

// A Source gives records, in the order of their times.
type Source interface {
	// Run hands records to r until ctx is done or r returns an error, which it
	// returns.
	Run(ctx context.Context, r Records) error
	// Counts returns what became of the calls that were not handed over. It may
	// be called at any time and from any goroutine.
	Counts() (Counts, error)
}

// Counts is what became of the calls that a Source did not hand over.
type Counts struct {
	Filtered uint64 // left out, as asked
	Lost     uint64 // no room in the buffer
	Limited  uint64 // over the rate that a container may have
	// Missed is how many calls the kernel did not show to a program because the
	// one before it on that CPU had been preempted in the program. Some of them
	// would have been filtered, and on the tracepoint, been of other syscalls.
	Missed uint64
	// Unfollowed is how many children of followed processes found no room in the
	// list, so that nothing that they did was recorded.
	Unfollowed uint64
	// Unread is how many events the buffer held when Run returned an error.
	Unread uint64
}

// Dropped is how many of a container's calls were to be recorded and were not.
type Dropped struct {
	Lost    uint64 // no room in the buffer
	Limited uint64 // over the rate
}

// ErrEnough is returned by a Sink with the last event that it wants.
var ErrEnough = errors.New("enough events")
