// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// How the sockets are asked; tests are less patient.
var (
	// answerTimeout is for one question. Podman is started by the first one.
	answerTimeout = 5 * time.Second
	// firstRetry and lastRetry bound the wait, which doubles, for a runtime
	// that failed.
	firstRetry = 250 * time.Millisecond
	lastRetry  = 30 * time.Second
	// firstRepeat is the wait, which doubles, before a container is asked for
	// again that the runtime does not know yet: its cgroup is there earlier.
	firstRepeat = 50 * time.Millisecond
)

const (
	repeats = 8 // with firstRepeat, 13 seconds of asking
	// maxWanted bounds what is remembered while a runtime does not answer.
	maxWanted = 4096
	// maxAsked is for one question: its ids go into a URL.
	maxAsked = 100
)

// answer is what a runtime tells of a container.
type answer struct {
	id        string
	name      string
	image     string
	pod       string
	namespace string
	podUID    string
	running   bool
}

func (a *answer) addTo(c *Container) {
	c.Name, c.Image, c.Pod, c.Namespace = a.name, a.image, a.pod, a.namespace
	if a.podUID != "" {
		c.PodUID = a.podUID
	}
}

// api is a way to talk to a runtime.
type api interface {
	// ask returns an answer for each of ids that the runtime knows, and maybe
	// for others.
	ask(ctx context.Context, ids []string) ([]answer, error)
}

// names asks the runtimes, one goroutine for each socket.
type names struct {
	note     func(string)
	answered func(*live, answer)
	explicit bool

	ctx  context.Context
	done sync.WaitGroup

	mu      sync.Mutex
	sources map[string]*source // by socket
	missed  map[string]bool    // runtimes without a socket
}

func newNames(sockets []string, note func(string), answered func(*live, answer)) *names {
	if note == nil {
		note = func(string) {}
	}
	n := &names{
		note:     note,
		answered: answered,
		explicit: len(sockets) > 0,
		sources:  make(map[string]*source),
		missed:   make(map[string]bool),
	}
	for _, socket := range sockets {
		n.sources[socket] = newSource(socket, "", n)
	}
	return n
}

func (n *names) start(ctx context.Context) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ctx = ctx
	for _, s := range n.sources {
		n.done.Go(func() { s.run(ctx) })
	}
}

func (n *names) wait() { n.done.Wait() }

// want asks for containers.
func (n *names) want(containers []*live) {
	byRuntime := make(map[string][]*live)
	for _, l := range containers {
		byRuntime[l.key.runtime] = append(byRuntime[l.key.runtime], l)
	}
	for runtime, wanted := range byRuntime {
		for _, s := range n.of(runtime) {
			s.want(wanted)
		}
	}
}

// of returns the sockets where a runtime may answer. They are looked for anew as
// long as there is none.
func (n *names) of(runtime string) []*source {
	n.mu.Lock()
	defer n.mu.Unlock()
	var found []*source
	for _, s := range n.sources {
		if s.runtime == "" || s.runtime == runtime {
			found = append(found, s)
		}
	}
	i := slices.IndexFunc(engines, func(e engine) bool { return e.name == runtime })
	if n.explicit || i < 0 || len(engines[i].sockets) == 0 {
		return found
	}
	// Each user has a Podman of their own: look again even if there is one.
	for _, pattern := range engines[i].sockets {
		sockets, _ := filepath.Glob(pattern)
		for _, socket := range sockets {
			// One socket may have several names.
			if target, err := filepath.EvalSymlinks(socket); err == nil {
				socket = target
			}
			if n.sources[socket] == nil {
				s := newSource(socket, runtime, n)
				n.sources[socket] = s
				n.done.Go(func() { s.run(n.ctx) })
				found = append(found, s)
			}
		}
	}
	if len(found) == 0 && !n.missed[runtime] {
		n.missed[runtime] = true
		n.note(fmt.Sprintf("%s does not listen on %s: its containers are shown by id",
			runtime, strings.Join(engines[i].sockets, " or ")))
	}
	return found
}

// settle waits until no socket has a question that was not asked at least once.
func (n *names) settle(ctx context.Context) error {
	n.mu.Lock()
	sources := slices.Collect(maps.Values(n.sources))
	n.mu.Unlock()
	for _, s := range sources {
		select {
		case <-s.idle():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// source asks at one socket.
type source struct {
	socket  string
	runtime string // empty where any may answer
	names   *names
	bell    chan struct{}

	mu     sync.Mutex
	wanted map[*live]*question
	idlers []chan struct{}

	api   api
	noted bool
}

// question is a container that is asked for.
type question struct {
	tries int
	due   time.Time
}

func newSource(socket, runtime string, n *names) *source {
	return &source{
		socket: socket, runtime: runtime, names: n,
		bell:   make(chan struct{}, 1),
		wanted: make(map[*live]*question),
	}
}

func (s *source) want(containers []*live) {
	s.mu.Lock()
	for _, l := range containers {
		if len(s.wanted) < maxWanted {
			s.wanted[l] = &question{}
		}
	}
	s.mu.Unlock()
	select {
	case s.bell <- struct{}{}:
	default:
	}
}

// run asks for what is wanted. What comes while it waits for an answer goes
// into the next question together.
func (s *source) run(ctx context.Context) {
	retry := firstRetry
	timer := time.NewTimer(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.bell:
		case <-timer.C:
		}
		for {
			batch, next := s.due(time.Now())
			if len(batch) == 0 {
				timer.Reset(next)
				break
			}
			err := s.ask(ctx, batch)
			if ctx.Err() != nil {
				return
			}
			s.asked(batch, err == nil)
			if err == nil {
				retry = firstRetry
				continue
			}
			s.complain(err)
			// Not before that, however often the bell rings.
			timer.Reset(retry)
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			retry = min(2*retry, lastRetry)
		}
	}
}

// due returns the containers to ask for now, or when there will be some.
func (s *source) due(now time.Time) (batch []*live, next time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next = time.Hour
	for l, q := range s.wanted {
		switch wait := q.due.Sub(now); {
		case wait > 0:
			next = min(next, wait)
		case len(batch) < maxAsked:
			batch = append(batch, l)
		}
	}
	if len(batch) == 0 {
		for _, idle := range s.idlers {
			close(idle)
		}
		s.idlers = nil
	}
	return batch, next
}

// idle returns a channel that is closed when nothing is due any more, or the
// runtime failed.
func (s *source) idle() <-chan struct{} {
	idle := make(chan struct{})
	s.mu.Lock()
	s.idlers = append(s.idlers, idle)
	s.mu.Unlock()
	select {
	case s.bell <- struct{}{}:
	default:
	}
	return idle
}

func (s *source) ask(ctx context.Context, batch []*live) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTimeout, fmt.Errorf("no answer within %v", answerTimeout))
	defer cancel()
	answers, err := s.exchange(ctx, batch)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		s.api = nil
		return err
	}
	known := make(map[string]answer, len(answers))
	for _, a := range answers {
		known[a.id] = a
	}
	for _, l := range batch {
		a, ok := known[l.key.id]
		if !ok {
			continue
		}
		s.names.answered(l, a)
		if a.running {
			s.mu.Lock()
			delete(s.wanted, l)
			s.mu.Unlock()
		}
	}
	return nil
}

func (s *source) exchange(ctx context.Context, batch []*live) ([]answer, error) {
	if s.api == nil {
		var err error
		if s.api, err = connect(ctx, s.socket); err != nil {
			return nil, err
		}
	}
	ids := make([]string, 0, len(batch))
	for _, l := range batch {
		ids = append(ids, l.key.id)
	}
	return s.api.ask(ctx, ids)
}

// asked puts what is still wanted off, or gives it up. A runtime that failed
// was not asked.
func (s *source) asked(batch []*live, answered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range batch {
		q := s.wanted[l]
		if q == nil {
			continue
		}
		if answered {
			q.due = time.Now().Add(firstRepeat << q.tries)
			q.tries++
		}
		if q.tries == repeats || l.gone.Load() {
			delete(s.wanted, l)
		}
	}
	if !answered {
		for _, idle := range s.idlers {
			close(idle)
		}
		s.idlers = nil
	}
}

func (s *source) complain(err error) {
	if s.noted {
		return
	}
	s.noted = true
	s.names.note(fmt.Sprintf("no names from %s, its containers are shown by id until it answers: %v", s.socket, err))
}

// connect finds out which API is spoken at a socket.
func connect(ctx context.Context, socket string) (api, error) {
	docker := newDockerAPI(socket)
	err := docker.ping(ctx)
	// Whoever speaks something else breaks off; that is no reason to break off
	// where nobody listens or nobody answers.
	if err == nil || errors.As(err, new(statusError)) || isDialError(err) || ctx.Err() != nil {
		return docker, err
	}
	cri := newCRI(socket)
	if criErr := cri.ping(ctx); criErr != nil {
		return nil, fmt.Errorf("neither the API of Docker nor CRI: %w; %w", err, criErr)
	}
	return cri, nil
}

func isDialError(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// short is the error of an http.Client without the URL, in which there may be a
// hundred ids.
func short(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		return u.Err
	}
	return err
}

// statusError is what a server answers that did not do what it was asked.
type statusError struct{ request, status, message string }

func (e statusError) Error() string { return fmt.Sprintf("%s: %s: %s", e.request, e.status, e.message) }

// newClient returns a client for a socket. It keeps no connection: a runtime may
// be gone when it is asked again, and Podman stays only for who is connected.
func newClient(socket string, protocols *http.Protocols) http.Client {
	return http.Client{Transport: &http.Transport{
		Protocols:         protocols,
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
}

// maxAnswer bounds what is read from a runtime, in bytes.
const maxAnswer = 64 << 20
