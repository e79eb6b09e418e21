// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package otlp

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// queueMax bounds what waits to be sent, in bytes.
	queueMax = 16 << 20
	// firstWait and lastWait bound the wait, which doubles, before a request is sent
	// again.
	firstWait = 500 * time.Millisecond
	lastWait  = 30 * time.Second
	// closeTimeout bounds how long Close waits for the rest to be sent.
	closeTimeout = 5 * time.Second
)

// Account is what became of the records that were made. Made is the sum of the others
// and, until Close, of those that wait.
type Account struct {
	Made     uint64
	Sent     uint64 // and not rejected
	Rejected uint64 // by the server
	Dropped  uint64 // because the queue was full, or the server away when the tool ended
	// Requests and Bytes were sent, before compression.
	Requests uint64
	Bytes    uint64
	Waiting  uint64 // bytes in the queue
	LastSent time.Time
}

// batch is one request.
type batch struct {
	request []byte
	records int
}

// sender is what a queue sends with; it is a client but for tests.
type sender interface {
	send(ctx context.Context, request []byte) (rejected int, err error)
}

// queue sends batches one after the other, on a goroutine of its own, so that a slow
// or dead server delays nobody. A batch that finds no room is dropped and counted.
type queue struct {
	sender sender
	note   func(error) // is given the error when sending begins to fail, and nil when it works again
	max    int

	mu      sync.Mutex
	wake    sync.Cond
	waiting []batch
	size    int
	unused  [][]byte // buffers of batches that were sent
	closing bool
	account Account

	cancel context.CancelFunc
	done   chan struct{}
}

func newQueue(s sender, limit int, note func(error)) *queue {
	ctx, cancel := context.WithCancel(context.Background())
	q := &queue{sender: s, note: note, max: limit, cancel: cancel, done: make(chan struct{})}
	q.wake.L = &q.mu
	go q.run(ctx)
	return q
}

// put queues a batch and returns a buffer for the next one. It never waits for the
// server.
func (q *queue) put(b batch) (buffer []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.account.Made += uint64(b.records)
	if q.closing || q.size+len(b.request) > q.max {
		q.account.Dropped += uint64(b.records)
		return b.request[:0]
	}
	q.waiting = append(q.waiting, b)
	q.size += len(b.request)
	q.wake.Signal()
	if n := len(q.unused); n > 0 {
		buffer = q.unused[n-1]
		q.unused = q.unused[:n-1]
	}
	return buffer
}

// unusedMax bounds how many buffers are kept for later batches.
const unusedMax = 2

func (q *queue) run(ctx context.Context) {
	defer close(q.done)
	for {
		b, ok := q.next()
		if !ok {
			return
		}
		rejected, err := q.deliver(ctx, b)
		q.settle(b, rejected, err)
	}
}

// next returns the batch that waited for longest, which stays in the queue. It is
// false when the queue is closing and empty.
func (q *queue) next() (batch, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 {
		if q.closing {
			return batch{}, false
		}
		q.wake.Wait()
	}
	return q.waiting[0], true
}

// deliver sends a batch until the server takes it, refuses it for good, or ctx is
// done.
func (q *queue) deliver(ctx context.Context, b batch) (rejected int, err error) {
	failing := false
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		rejected, err = q.sender.send(ctx, b.request)
		var r *refusal
		if err == nil || errors.As(err, &r) && !r.again {
			if failing || err != nil {
				q.note(err)
			}
			return rejected, err
		}
		if ctx.Err() != nil {
			return 0, err
		}
		if !failing {
			q.note(err)
			failing = true
		}
		// Tools that lost the same server do not come back all at once.
		pause := wait/2 + rand.N(wait/2)
		if r != nil && r.after > 0 {
			pause = r.after
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return 0, err
		}
	}
}

// settle takes the first batch out of the queue and accounts for it.
func (q *queue) settle(b batch, rejected int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var r *refusal
	records := uint64(b.records)
	switch {
	case err == nil:
		gone := min(uint64(rejected), records)
		q.account.Rejected += gone
		q.account.Sent += records - gone
		q.account.Requests++
		q.account.Bytes += uint64(len(b.request))
		q.account.LastSent = time.Now()
	case errors.As(err, &r) && !r.again:
		q.account.Rejected += records
	default:
		q.account.Dropped += records
	}
	q.waiting = q.waiting[1:]
	q.size -= len(b.request)
	if len(q.unused) < unusedMax {
		q.unused = append(q.unused, b.request[:0])
	}
}

// counts returns the account so far. It may be called from any goroutine.
func (q *queue) counts() Account {
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.account
	a.Waiting = uint64(q.size)
	return a
}

// close sends what waits, for at most timeout, and drops and counts the rest.
func (q *queue) close(timeout time.Duration) {
	q.mu.Lock()
	q.closing = true
	q.wake.Signal()
	q.mu.Unlock()
	select {
	case <-q.done:
	case <-time.After(timeout):
	}
	q.cancel()
	<-q.done
}
