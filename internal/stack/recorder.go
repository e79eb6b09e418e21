// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package stack

import (
	"sync"
	"time"

	"github.com/copenclose/copenclose/bpf"
)

// A Call is one that made a descriptor, and where.
type Call struct {
	Time        uint64 // CLOCK_MONOTONIC in ns
	Table, File uint64 // addresses
	PID, FD     uint32
	Creator     uint32 // index into bpf.Creators
	Stack       *Stack
}

// A Recorder resolves stacks while others look at other things, each process on its own:
// reading a process's files can take for ever where they lie on a file system that
// somebody answers for, or does not (FUSE).
type Recorder struct {
	resolver *Resolver
	mu       sync.Mutex
	calls    []Call
	counts   RecorderCounts
	workers  map[uint32]*worker // by PID
	stuck    int
	given    map[uint32]bool // up: processes that do not answer
	idle     *sync.Cond
}

// RecorderCounts says what became of stacks.
type RecorderCounts struct {
	Resolved uint64
	Gone     uint64 // the process had ended, or ran another program
	Skipped  uint64 // came while too many were under way, or of a process that does not answer
}

// worker resolves the stacks of one process.
type worker struct {
	queue []*bpf.CallStack
	since time.Time // when it took the one that it is at
	stuck bool
}

const (
	workersMax = 16
	queueMax   = 64
	// patience is how long a stack may take. Then its process is given up, and the worker is
	// left waiting, of which there may be stuckMax.
	patience = 5 * time.Second
	stuckMax = 256
	callsMax = 1 << 16 // that nobody has collected
)

// NewRecorder returns a Recorder.
func NewRecorder() *Recorder {
	r := &Recorder{resolver: NewResolver(), workers: make(map[uint32]*worker), given: make(map[uint32]bool)}
	r.idle = sync.NewCond(&r.mu)
	return r
}

// Add resolves a stack in the background. It keeps s.
func (r *Recorder) Add(s *bpf.CallStack) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.giveUp()
	w := r.workers[s.PID]
	switch {
	case r.given[s.PID], w == nil && len(r.workers)-r.stuck >= workersMax, w != nil && len(w.queue) >= queueMax:
		r.counts.Skipped++
	case w != nil:
		w.queue = append(w.queue, s)
	default:
		w = &worker{queue: []*bpf.CallStack{s}, since: time.Now()}
		r.workers[s.PID] = w
		go r.work(s.PID, w)
	}
}

// giveUp finds workers that wait for what does not come.
func (r *Recorder) giveUp() {
	for pid, w := range r.workers {
		if !w.stuck && time.Since(w.since) > patience && r.stuck < stuckMax {
			w.stuck, r.given[pid] = true, true
			r.stuck++
			r.counts.Skipped += uint64(len(w.queue))
			w.queue = nil
			r.idle.Broadcast()
		}
	}
}

func (r *Recorder) work(pid uint32, w *worker) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(w.queue) > 0 {
		s := w.queue[0]
		w.queue, w.since = w.queue[1:], time.Now()
		r.mu.Unlock()
		found, err := r.resolver.Resolve(s)
		r.mu.Lock()
		switch {
		case err != nil:
			r.counts.Gone++
		case len(r.calls) >= callsMax:
			r.counts.Skipped++
		default:
			r.counts.Resolved++
			r.calls = append(r.calls, Call{s.Time, s.Table, s.File, s.PID, s.FD, s.Creator, found})
		}
	}
	if w.stuck { // it came after all
		r.stuck--
		delete(r.given, pid)
	}
	delete(r.workers, pid)
	r.idle.Broadcast()
}

// Collect returns the calls that were resolved since it was called before. It waits for
// those that are under way.
func (r *Recorder) Collect() []Call {
	timer := time.AfterFunc(patience, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.giveUp()
		r.idle.Broadcast()
	})
	defer timer.Stop()
	deadline := time.Now().Add(patience + time.Second)
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.workers) > r.stuck && time.Now().Before(deadline) {
		r.idle.Wait()
	}
	calls := r.calls
	r.calls = nil
	return calls
}

// Counts returns what became of all stacks so far.
func (r *Recorder) Counts() RecorderCounts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}
