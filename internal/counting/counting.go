// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package counting turns what the kernel counted into rates, ranks and sums.
//
//	tracer.Totals -> Book.Take -> Snapshot -> Since -> Rows -> Rank -> a table, JSON, the screen
//	sampled calls -> Samples ------------------------> Targets, estimated
//
// The sums are exact: each call that passed the filters is in one cell of a Snapshot,
// or in Other. What calls were about is estimated from samples, with the error.
package counting

import (
	"sync/atomic"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stream"
)

// Operation is a group of syscalls.
type Operation uint8

// The operations, named as the groups of bpf.Syscalls.
const (
	Open Operation = iota
	Accept
	Connect
	Close
	Else       // any other group
	Operations // how many there are
)

func (o Operation) String() string {
	return [...]string{"open", "accept", "connect", "close", "other"}[o]
}

// operationOf returns the operation of an index into bpf.Syscalls.
var operationOf = func() (of [len(bpf.Syscalls)]Operation) {
	for i, s := range bpf.Syscalls {
		of[i] = Else
		for o := range Else {
			if s.Group == o.String() {
				of[i] = o
			}
		}
	}
	return of
}()

// An Origin is a container over its time, the host, or what is not known. Two are the
// same if their pointers are.
type Origin struct {
	container atomic.Pointer[stream.Container] // as it was known last; nil for the host
	gone      atomic.Bool
}

func newOrigin(c *stream.Container) *Origin {
	o := &Origin{}
	o.container.Store(c)
	return o
}

// Host, Unknown and Rest are the origins that are no container. Rest has what was done
// in containers that are gone, when there were too many of them to tell apart.
var (
	Host    = newOrigin(nil)
	Unknown = newOrigin(stream.Unknown)
	Rest    = newOrigin(&stream.Container{Label: "(gone)"})
)

// Container returns what is known of the container, nil for the host.
func (o *Origin) Container() *stream.Container { return o.container.Load() }

// Gone reports whether the container has ended.
func (o *Origin) Gone() bool { return o.gone.Load() }

// Label returns what to call it where there is room for a word: "-" is the host.
func (o *Origin) Label() string {
	if c := o.Container(); c != nil {
		return c.Label
	}
	return "-"
}

// A Cell is what calls are told apart by.
type Cell struct {
	Origin  *Origin
	Program *Program
	UID     uint32 // 0 where users are not counted
	Error   uint16 // errno, 0 of a call that did not fail
	Syscall uint8  // index into bpf.Syscalls
}

// Operation returns the group of c's syscall.
func (c *Cell) Operation() Operation { return operationOf[c.Syscall] }

// A Count is how many calls there were, and how long they took; nil where that was
// not asked for.
type Count struct {
	Calls     uint64
	Latencies *Latencies
}

func (c *Count) add(d Count) {
	c.Calls += d.Calls
	if d.Latencies == nil {
		return
	}
	if c.Latencies == nil {
		c.Latencies = new(Latencies)
	}
	c.Latencies.add(d.Latencies)
}

// A Sum is the calls of some cells.
type Sum struct {
	Operations [Operations]Count
	Failures   [Operations]uint64
}

func (s *Sum) add(c *Cell, n Count) {
	o := c.Operation()
	s.Operations[o].add(n)
	if c.Error != 0 {
		s.Failures[o] += n.Calls
	}
}

// Add adds what t has.
func (s *Sum) Add(t *Sum) {
	for o := range Operations {
		s.Operations[o].add(t.Operations[o])
		s.Failures[o] += t.Failures[o]
	}
}

// Calls returns how many calls there were of all operations.
func (s *Sum) Calls() (n uint64) {
	for _, c := range s.Operations {
		n += c.Calls
	}
	return n
}

// Failed returns how many of them failed.
func (s *Sum) Failed() (n uint64) {
	for _, f := range s.Failures {
		n += f
	}
	return n
}

// Latencies returns how long the calls of all operations took, nil where that was not
// asked for.
func (s *Sum) Latencies() *Latencies {
	var all Count
	for _, c := range s.Operations {
		all.add(c)
	}
	return all.Latencies
}
