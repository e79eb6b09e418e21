// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/copenclose/copenclose/internal/container/runtime"
	"github.com/copenclose/copenclose/internal/escape"
	"github.com/copenclose/copenclose/internal/owner"
)

// settings says how runtimes are found and asked.
type settings struct {
	sockets func(name string, madeBy owner.ID) []string
	logs    runtime.PodLogs
	// answer is the longest that one question may take. Podman is started by the
	// first one.
	answer time.Duration
	// firstRetry and lastRetry bound the wait, which doubles, for a runtime that
	// failed.
	firstRetry, lastRetry time.Duration
	// firstRepeat is the wait, which doubles, before a container is asked for again
	// that the runtime does not know yet: its cgroup is there earlier.
	firstRepeat time.Duration
}

var usual = settings{
	sockets:     runtime.Sockets,
	logs:        runtime.NodeLogs,
	answer:      5 * time.Second,
	firstRetry:  250 * time.Millisecond,
	lastRetry:   30 * time.Second,
	firstRepeat: 50 * time.Millisecond,
}

const (
	repeats = 8 // with firstRepeat, 13 seconds of asking
	// maxWanted bounds what is remembered while a runtime does not answer.
	maxWanted = 1 << 16
)

// names asks the runtimes, one goroutine for each socket.
type names struct {
	registry *Registry
	note     func(string)
	explicit bool
	follow   bool
	settings
	done sync.WaitGroup

	mu      sync.Mutex
	sources map[sourceKey]*source
	missed  map[sourceKey]bool // runtimes without a socket
	refused map[string]bool    // runtimes for which the environment has no socket
}

// sourceKey tells sources apart: those that were found by their runtime and who runs
// it, too.
type sourceKey struct {
	runtime string
	madeBy  owner.ID
	socket  string
}

func newNames(cfg *Config, r *Registry, set settings) *names {
	n := &names{
		registry: r,
		note:     cfg.Note,
		explicit: len(cfg.Sockets) > 0,
		follow:   cfg.Follow,
		settings: set,
		sources:  make(map[sourceKey]*source),
		missed:   make(map[sourceKey]bool),
		refused:  make(map[string]bool),
	}
	if n.note == nil {
		n.note = func(string) {}
	}
	for _, socket := range cfg.Sockets {
		key := sourceKey{socket: socket}
		n.sources[key] = newSource(socket, n)
	}
	return n
}

func (n *names) start(ctx context.Context) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.sources {
		n.done.Go(func() { s.run(ctx) })
	}
}

func (n *names) wait() { n.done.Wait() }

// noteText notes a line, whatever text from a runtime is in it.
func (n *names) noteText(text string) { n.note(escape.String(text)) }

// want asks for containers, until ctx is done.
func (n *names) want(ctx context.Context, containers []*liveContainer) {
	wanted := make(map[sourceKey][]*liveContainer)
	for _, c := range containers {
		key := sourceKey{runtime: c.Runtime, madeBy: c.madeBy}
		wanted[key] = append(wanted[key], c)
	}
	for key, containers := range wanted {
		for _, s := range n.sourcesFor(ctx, key.runtime, key.madeBy) {
			s.want(containers)
		}
	}
}

// sourcesFor returns the sockets where a runtime may answer that a user runs. They are
// looked for anew as long as there is none.
func (n *names) sourcesFor(ctx context.Context, name string, madeBy owner.ID) (found []*source) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.explicit {
		return slices.Collect(maps.Values(n.sources))
	}
	if _, err := runtime.FromEnvironment(name); err != nil && !n.refused[name] {
		n.refused[name] = true
		n.noteText(err.Error())
	}
	paths := n.sockets(name, madeBy)
	for _, path := range paths {
		socket := path
		if madeBy == owner.Root {
			// One socket of root's may have several paths. A user's link is
			// left as it is: it is followed where its owner is known.
			target, err := filepath.EvalSymlinks(path)
			if err != nil {
				continue
			}
			socket = target
		} else if matches, _ := filepath.Glob(path); len(matches) == 0 {
			continue
		}
		key := sourceKey{name, madeBy, socket}
		s := n.sources[key]
		if s == nil {
			s = newSource(socket, n)
			n.sources[key] = s
			n.done.Go(func() { s.run(ctx) })
		}
		if !slices.Contains(found, s) {
			found = append(found, s)
		}
	}
	if len(found) > 0 || len(paths) == 0 {
		return found
	}
	instead := "its containers are shown by id"
	if madeBy == owner.Root && n.logs.Exist() {
		instead = "the names of pods' containers come from " + n.logs.Containers
		found = []*source{n.podLogs(ctx)}
	}
	missed := sourceKey{runtime: name, madeBy: madeBy}
	if !n.missed[missed] {
		n.missed[missed] = true
		n.noteText(fmt.Sprintf("%s does not listen on %s: %s", name, strings.Join(paths, " or "), instead))
	}
	return found
}

// podLogs returns the source that stands in for sockets of CRI.
func (n *names) podLogs(ctx context.Context) *source {
	key := sourceKey{socket: n.logs.Containers}
	s := n.sources[key]
	if s == nil {
		s = newSource("", n)
		s.logs = &n.logs
		n.sources[key] = s
		n.done.Go(func() { s.run(ctx) })
	}
	return s
}

// waitIdle waits until no source has a question that was not asked at least once.
func (n *names) waitIdle(ctx context.Context) error {
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
