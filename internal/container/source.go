// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/copenclose/copenclose/internal/container/runtime"
	"github.com/copenclose/copenclose/internal/owner"
)

// source asks at one place.
type source struct {
	socket string
	logs   *runtime.PodLogs // that are asked instead of a socket
	names  *names
	wake   chan struct{} // has a value if there is something new

	// Of the goroutine of run.
	api   runtime.API // nil until it is known which one is spoken
	noted bool

	mu      sync.Mutex
	wanted  map[*liveContainer]*request
	full    bool            // there were more than maxWanted once, which was noted
	waiters []chan struct{} // closed when nothing is due any more, or the runtime failed
}

// request is a container that is asked for.
type request struct {
	tries int
	due   time.Time
}

func newSource(socket string, n *names) *source {
	return &source{
		socket: socket,
		names:  n,
		wake:   make(chan struct{}, 1),
		wanted: make(map[*liveContainer]*request),
	}
}

// place is where the source asks.
func (s *source) place() string {
	if s.logs != nil {
		return s.logs.Containers
	}
	return s.socket
}

// want asks for containers, again where they were asked for before.
func (s *source) want(containers []*liveContainer) {
	s.mu.Lock()
	full := false
	for _, c := range containers {
		if full = len(s.wanted) >= maxWanted; full {
			break
		}
		s.wanted[c] = &request{}
	}
	tooMany := full && !s.full
	s.full = s.full || full
	s.mu.Unlock()
	if tooMany {
		s.names.noteText(fmt.Sprintf("%d containers wait for a name from %s, further ones are shown by id", maxWanted, s.place()))
	}
	s.ring()
}

func (s *source) ring() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// asking is a container that a runtime is just being asked for.
type asking struct {
	container *liveContainer
	request   *request
}

// run asks for what is wanted. What comes while it waits for an answer goes into the
// next question together.
func (s *source) run(ctx context.Context) {
	retry := s.names.firstRetry
	timer := time.NewTimer(0)
	defer timer.Stop()
	var follower sync.WaitGroup
	defer follower.Wait()
	for following := !s.names.follow; ; {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
		for {
			batch, next := s.due(time.Now())
			if len(batch) == 0 {
				timer.Reset(next)
				break
			}
			began := time.Now()
			pause, err := s.ask(ctx, batch)
			if ctx.Err() != nil {
				return
			}
			s.asked(batch, err == nil)
			if err != nil {
				s.noteOnce(err)
				pause = retry
				retry = min(2*retry, s.names.lastRetry)
			} else {
				retry = s.names.firstRetry
			}
			if api := s.api; api != nil && !following {
				following = true
				follower.Go(func() { s.followNames(ctx, api, began) })
			}
			// Not before that, however much is wanted.
			timer.Reset(pause)
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
		}
	}
}

// due returns the containers to ask for now, or when there will be some. Those that were
// asked for least often come first, because thousands of cgroups that no runtime knows
// must not keep it from a new container.
func (s *source) due(now time.Time) (batch []asking, next time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next = time.Hour
	var byTries [repeats][]asking
	for c, r := range s.wanted {
		if wait := r.due.Sub(now); wait > 0 {
			next = min(next, wait)
		} else if of := &byTries[r.tries]; len(*of) < runtime.MaxQueries {
			*of = append(*of, asking{c, r})
		}
	}
	for _, of := range byTries {
		batch = append(batch, of[:min(len(of), runtime.MaxQueries-len(batch))]...)
	}
	if len(batch) == 0 {
		s.wakeWaiters()
	}
	return batch, next
}

func (s *source) wakeWaiters() {
	for _, w := range s.waiters {
		close(w)
	}
	s.waiters = nil
}

// idle returns a channel that is closed when nothing is due any more, or the runtime
// failed.
func (s *source) idle() <-chan struct{} {
	idle := make(chan struct{})
	s.mu.Lock()
	s.waiters = append(s.waiters, idle)
	s.mu.Unlock()
	s.ring()
	return idle
}

// ask asks one question. Before the next one it should pause for as long as ask says.
func (s *source) ask(ctx context.Context, batch []asking) (pause time.Duration, err error) {
	began := time.Now()
	limit := s.names.answer
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %v", limit))
	defer cancel()
	answers, by, err := s.exchange(ctx, batch)
	// What came before an error is an answer, too, so that the next question is shorter.
	known := make(map[string]*runtime.Details, len(answers))
	for i := range answers {
		known[answers[i].ID] = &answers[i]
	}
	for _, a := range batch {
		d := known[a.container.ID]
		switch {
		case d != nil && a.container.madeBy == by:
			s.names.registry.answered(a.container, d)
			if d.Running {
				s.drop(a)
			}
		case err == nil && a.container.madeBy != by:
			s.drop(a) // it is not this runtime's
		}
	}
	if err != nil {
		s.api = nil
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return 0, err
	}
	if by != owner.Root {
		// Half of a CPU is enough for what a user may have us read.
		pause = time.Since(began)
	}
	return pause, nil
}

// drop ends asking for a container, unless it was wanted again meanwhile.
func (s *source) drop(a asking) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted[a.container] == a.request {
		delete(s.wanted, a.container)
	}
}

// exchange asks about the containers of the batch that the owner of the socket made.
func (s *source) exchange(ctx context.Context, batch []asking) (_ []runtime.Details, by owner.ID, err error) {
	if s.logs != nil {
		answers, err := s.logs.Ask(queriesOf(batch, owner.Root))
		return answers, owner.Root, err
	}
	socket, err := runtime.OpenSocket(s.socket)
	if err != nil {
		return nil, owner.Nobody, err
	}
	defer socket.Close()
	by = socket.Owner()
	if by == owner.Nobody {
		return nil, by, errors.New("more than one user could have put it there")
	}
	queries := queriesOf(batch, by)
	if len(queries) == 0 {
		return nil, by, nil
	}
	if s.api == nil {
		if s.api, err = runtime.Connect(ctx, socket); err != nil {
			return nil, by, err
		}
	}
	answers, err := s.api.Ask(ctx, socket, queries)
	return answers, by, err
}

func queriesOf(batch []asking, madeBy owner.ID) (queries []runtime.Query) {
	for _, a := range batch {
		if a.container.madeBy == madeBy {
			queries = append(queries, runtime.Query{ID: a.container.ID, PodUID: a.container.PodUID})
		}
	}
	return queries
}

// asked puts off what is still wanted, or drops what was asked for often enough. A
// runtime that failed was not asked.
func (s *source) asked(batch []asking, answered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range batch {
		if s.wanted[a.container] != a.request {
			continue
		}
		if answered {
			a.request.due = time.Now().Add(s.names.firstRepeat << a.request.tries)
			a.request.tries++
		}
		if a.request.tries == repeats || s.names.registry.gone(a.container) {
			delete(s.wanted, a.container)
		}
	}
	if !answered {
		s.wakeWaiters()
	}
}

func (s *source) noteOnce(err error) {
	if s.noted {
		return
	}
	s.noted = true
	s.names.noteText(fmt.Sprintf("no names from %s, its containers are shown by id until it answers: %v", s.place(), err))
}

// followNames asks again for each container that the runtime says was renamed since
// then, until ctx is done.
func (s *source) followNames(ctx context.Context, api runtime.API, since time.Time) {
	for retry := s.names.firstRetry; ; retry = min(2*retry, s.names.lastRetry) {
		err := s.follow(ctx, api, since)
		if errors.Is(err, runtime.ErrNoEvents) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(retry):
		}
	}
}

func (s *source) follow(ctx context.Context, api runtime.API, since time.Time) error {
	socket, err := runtime.OpenSocket(s.socket)
	if err != nil {
		return err
	}
	defer socket.Close()
	by := socket.Owner()
	return api.Follow(ctx, socket, since, func(id string) { s.want(s.names.registry.existing(id, by)) })
}
