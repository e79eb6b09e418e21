// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package otlp

import (
	"sync"
	"time"

	"github.com/copenclose/copenclose/internal/output"
	"github.com/copenclose/copenclose/internal/stream"
)

const (
	// A batch is sent when it has so many records, is so large, or its first record
	// is so old.
	batchRecords = 8192
	batchSize    = 1 << 20
	batchAge     = time.Second
)

// Sink sends events. It is a stream.Sink, which never waits for the server.
type Sink struct {
	queue   *queue
	latency bool

	mu      sync.Mutex // a batch is also sent when no more events come
	encoder *encoder
	buffer  []byte
	due     *time.Timer // when the batch is old enough; it runs while there are records
}

// NewSink returns a Sink. The attributes are those of every resource. note is given
// what the user should know, a line each; any goroutine may call it.
func NewSink(cfg Config, version string, latency bool, attributes []Attribute, note func(string)) (*Sink, error) {
	c, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	said := func(err error) {
		if err != nil {
			note("send to " + cfg.Endpoint.Redacted() + ": " + err.Error())
			return
		}
		note("send to " + cfg.Endpoint.Redacted() + ": works again")
	}
	return newSink(newQueue(c, queueMax, said), version, latency, append(attributes, cfg.Resource...)), nil
}

func newSink(q *queue, version string, latency bool, attributes []Attribute) *Sink {
	s := &Sink{queue: q, latency: latency, encoder: newEncoder(version, attributes)}
	s.due = time.AfterFunc(time.Hour, s.sendDue)
	s.due.Stop()
	return s
}

// Needs: everything that is an attribute.
func (s *Sink) Needs() stream.Needs {
	return stream.Needs{Hostname: true, Details: true, File: true, Containers: true, Latency: s.latency}
}

// Event adds an event to the batch.
func (s *Sink) Event(e *stream.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin()
	s.encoder.add(e)
	s.sendFull()
	return nil
}

// begin begins a batch if there is none.
func (s *Sink) begin() {
	if s.encoder.records > 0 {
		return
	}
	s.encoder.observed = uint64(time.Now().UnixNano())
	s.encoder.offset = output.RealtimeOffset()
	s.due.Reset(batchAge)
}

// sendFull queues the batch if it is large enough.
func (s *Sink) sendFull() {
	if s.encoder.records == batchRecords || s.encoder.size >= batchSize {
		s.send()
	}
}

// Flush does nothing: a batch is sent when it is large or old enough.
func (s *Sink) Flush() error { return nil }

func (s *Sink) sendDue() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send()
}

// send queues the batch, if there are records. The caller holds s.mu.
func (s *Sink) send() {
	s.due.Stop()
	if n := s.encoder.records; n > 0 {
		s.buffer = s.queue.put(batch{s.encoder.finish(s.buffer[:0]), n})
	}
}

// Close sends what waits, for some seconds at most. What is not sent then is dropped
// and counted.
func (s *Sink) Close() error {
	s.sendDue()
	s.queue.close(closeTimeout)
	return nil
}

// Account says what became of the records so far. It may be called from any goroutine.
func (s *Sink) Account() Account { return s.queue.counts() }
