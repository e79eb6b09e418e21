// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package counting

import (
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stream"
)

// Samples are calls that were recorded as well as counted. Each stands for a number of
// calls of its container on its CPU, so that sums over samples are estimates of sums over
// calls, without bias. It is a stream.Sink.
type Samples struct {
	book   *Book
	window time.Duration // for which they are kept, 0 for ever
	now    func() time.Time
	list   []sample // oldest first
}

// samplesMax bounds the samples. When there are more, half of them stand for all.
const samplesMax = 1 << 15

// targetMax bounds how long a target is kept, in bytes.
const targetMax = 512

type sample struct {
	at         time.Time
	cell       Cell // without the program
	executable bpf.Executable
	target     string
	weight     float64
}

// NewSamples returns Samples of what book counts, of the last window, or of all
// time for 0.
func NewSamples(book *Book, window time.Duration) *Samples {
	return &Samples{book: book, window: window, now: time.Now}
}

// Needs: see stream.Sink.
func (s *Samples) Needs() stream.Needs {
	return stream.Needs{Details: true, File: true, Containers: true}
}

// Event takes a sampled call.
func (s *Samples) Event(e *stream.Event) error {
	target := targetOf(e.Record)
	if len(target) == 0 {
		return nil
	}
	if len(s.list) >= samplesMax {
		s.thin()
	}
	sampled := e.Sampled()
	cell := Cell{Origin: s.book.origin(e.Container), Syscall: e.Syscall, UID: e.UID}
	if e.Ret < 0 {
		cell.Error = uint16(-e.Ret)
	}
	s.list = append(s.list, sample{s.now(), cell, sampled.Executable, string(target), float64(sampled.Weight)})
	return nil
}

// thin leaves out one of each two samples, by chance, and doubles the other.
func (s *Samples) thin() {
	kept := s.list[:0]
	for i := 0; i+1 < len(s.list); i += 2 {
		one := s.list[i+int(rand.Uint32()&1)]
		one.weight *= 2
		kept = append(kept, one)
	}
	clear(s.list[len(kept):])
	s.list = kept
}

// expire drops the samples that are too old.
func (s *Samples) expire() {
	if s.window == 0 {
		return
	}
	n, oldest := 0, s.now().Add(-s.window)
	for n < len(s.list) && s.list[n].at.Before(oldest) {
		n++
	}
	if n > 0 {
		kept := copy(s.list, s.list[n:])
		clear(s.list[kept:])
		s.list = s.list[:kept]
	}
}

// Flush: see stream.Sink.
func (s *Samples) Flush() error { return nil }

// Close: see stream.Sink.
func (s *Samples) Close() error { return nil }

// targetOf returns what a call was about: a path, absolute if that is known, also of what
// was received, or the address of a peer; of one that connected here without its port, which says nothing.
func targetOf(r *bpf.Record) []byte {
	var target []byte
	switch operationOf[r.Syscall] {
	case Open:
		if target = r.Name(); len(target) == 0 {
			target = r.Given()
		}
	case Connect:
		address := r.Asked()
		if address.IsZero() {
			address = r.Peer()
		}
		target = appendPeer(nil, address, true)
	case Accept:
		target = appendPeer(nil, r.Peer(), false)
	case Else:
		if bpf.Syscalls[r.Syscall].Makes == bpf.Receives {
			target = r.Name()
		}
	}
	return target[:min(len(target), targetMax)]
}

func appendPeer(b []byte, a bpf.Address, withPort bool) []byte {
	switch {
	case a.IsVsock:
		b = strconv.AppendUint(append(b, "vsock:"...), uint64(a.CID), 10)
	case a.IP.Is4() || a.IP.Is4In6():
		b = a.IP.Unmap().AppendTo(b)
	case a.IP.IsValid() && withPort:
		b = append(a.IP.AppendTo(append(b, '[')), ']')
	case a.IP.IsValid():
		b = a.IP.AppendTo(b)
	case len(a.Unix) > 0 && a.Unix[0] == 0:
		return append(append(b, "unix:@"...), a.Unix[1:]...)
	case len(a.Unix) > 0:
		return append(append(b, "unix:"...), a.Unix...)
	default:
		return nil
	}
	if !withPort {
		return b
	}
	return strconv.AppendUint(append(b, ':'), uint64(a.Port), 10)
}
