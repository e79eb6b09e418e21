// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package otlp

import (
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/names"
	"github.com/copenclose/copenclose/internal/output"
	"github.com/copenclose/copenclose/internal/stream"
)

const (
	// failuresMax bounds how many kinds of failures are told apart in a container and
	// an interval; further ones are counted in one record.
	failuresMax = 200
	// failingMax bounds the containers with failures in an interval.
	failingMax = 4096
)

// failureFields are what failures are told apart by.
var failureFields = []string{"comm", "uid", "error", "path", "addr", "port", "local_addr", "local_port"}

// Failures sums up calls that failed, and gives a Sink one record for each kind of
// failure and interval. It is a stream.Sink. Calls that failed only for now or by a
// signal (EAGAIN, EINPROGRESS, EINTR) are left out and counted.
type Failures struct {
	sink *Sink
	mu   sync.Mutex
	all  map[*stream.Container]map[string]*failure // nil is the host
	rest failure                                   // of containers beyond failingMax
	own  *encoder                                  // of attributes, apart from the sink's
	text []byte                                    // scratch
	stop func()
}

// failure is calls that failed in the same way.
type failure struct {
	group       uint8  // index into bpf.Syscalls of one of the group
	attributes  []byte // as in a record
	body        []byte
	count       uint64
	first, last uint64 // CLOCK_MONOTONIC in ns
}

// NewFailures returns a Failures that gives sink its records every interval.
func NewFailures(sink *Sink, interval time.Duration) *Failures {
	f := &Failures{sink: sink, own: newEncoder("", nil), all: make(map[*stream.Container]map[string]*failure)}
	ticker, done := time.NewTicker(interval), make(chan struct{})
	f.stop = func() { ticker.Stop(); close(done) }
	go func() {
		for {
			select {
			case <-ticker.C:
				f.report()
			case <-done:
				return
			}
		}
	}()
	return f
}

// Needs: what failures are told apart by.
func (f *Failures) Needs() stream.Needs { return stream.Needs{Details: true, Containers: true} }

// Event counts an event if it is a failure.
func (f *Failures) Event(e *stream.Event) error {
	if !names.IsFailure(e.Ret) {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	kinds, ok := f.all[e.Container]
	if !ok {
		if len(f.all) >= failingMax {
			f.rest.add(e)
			return nil
		}
		kinds = make(map[string]*failure)
		f.all[e.Container] = kinds
	}
	// What is shown of a failure is its key.
	f.text = append(f.text[:0], bpf.Syscalls[e.Syscall].Group...)
	group := len(f.text)
	f.text = f.own.appendFailure(f.text, e)
	one := kinds[string(f.text)]
	if one == nil {
		one = &failure{group: e.Syscall}
		if len(kinds) < failuresMax {
			one.attributes = slices.Clone(f.text[group:])
			one.body = describe(e)
			kinds[string(f.text)] = one
		} else if one = kinds[""]; one == nil {
			one = &failure{group: e.Syscall, body: []byte("other failures")}
			kinds[""] = one
		}
	}
	one.add(e)
	return nil
}

func (f *failure) add(e *stream.Event) {
	if f.count == 0 {
		f.first = e.Time
	}
	f.count++
	f.last = e.Time
}

// describe returns a failure in words: open ENOENT /etc/hosts.
func describe(e *stream.Event) []byte {
	b := append([]byte(bpf.Syscalls[e.Syscall].Group), ' ')
	b = append(append(b, names.Error(e.Ret)...), ' ')
	return output.AppendDetail(b, e.Record)
}

// report gives the sink what was counted, and begins anew.
func (f *Failures) report() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c, kinds := range f.all {
		for _, one := range kinds {
			f.sink.addFailure(c, one)
		}
	}
	if f.rest.count > 0 {
		f.rest.body = []byte("failures of other containers")
		f.sink.addFailure(stream.Unknown, &f.rest)
	}
	clear(f.all)
	f.rest = failure{}
}

// Flush does nothing: records come every interval.
func (f *Failures) Flush() error { return nil }

// Close gives the sink what was counted since the last interval, and closes it.
func (f *Failures) Close() error {
	f.stop()
	f.report()
	return f.sink.Close()
}

func (s *Sink) addFailure(c *stream.Container, one *failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin()
	s.encoder.addFailure(c, one)
	s.sendFull()
}

// appendFailure appends the attributes that failures are told apart by.
func (e *encoder) appendFailure(b []byte, event *stream.Event) []byte {
	for i := range e.failures {
		b = e.appendAttribute(b, &e.failures[i], event)
	}
	return b
}

// addFailure encodes the record of calls that failed in the same way.
func (e *encoder) addFailure(c *stream.Container, one *failure) {
	b := appendFixed(e.record[:0], recordTime, uint64(int64(one.last)+e.offset))
	b = appendNumber(b, recordSeverity, 13)
	b = appendText(b, recordSeverityText, warn)
	e.text = strconv.AppendUint(e.text[:0], one.count, 10)
	e.text = append(append(e.text, " times "...), one.body...)
	e.value = appendAnyText(e.value[:0], e.text)
	b = appendText(b, recordBody, e.value)
	b = append(b, one.attributes...)
	for _, n := range []struct {
		key   []byte
		value uint64
	}{{countKey, one.count}, {firstKey, uint64(int64(one.first) + e.offset)}} {
		e.value = appendNumber(e.value[:0], anyInt, n.value)
		b = appendKeyValue(b, n.key, e.value)
	}
	e.value = appendText(e.value[:0], anyString, []byte(bpf.Syscalls[one.group].Group))
	b = appendKeyValue(b, operationKey, e.value)
	b = appendFixed(b, recordObserved, e.observed)
	b = appendText(b, recordEventName, failuresName)
	e.append(c, b)
}

var (
	countKey     = keyOf("copenclose.count")
	firstKey     = keyOf("copenclose.first_unix_nano")
	operationKey = keyOf("copenclose.operation")
	failuresName = []byte("copenclose.failures")
)
