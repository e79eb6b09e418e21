// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/copenclose/copenclose/internal/cgroup"
)

const (
	// keepGone and maxGone bound how long, and how many, cgroups are remembered
	// that are gone. Their last events are in the buffer for well under a second
	// unless the reader is held up.
	keepGone = time.Minute
	maxGone  = 4096
	// settled is when a container has set its hostname at the latest, if no
	// runtime tells when it runs.
	settled = time.Second
)

// Config says where a Registry asks and whom it tells. The zero value asks all
// runtimes where they usually listen.
type Config struct {
	// Sockets of runtimes to ask, with the API of Docker or CRI, instead of
	// those that are found. With NoNames none is asked.
	Sockets []string
	NoNames bool
	// Note is told what the user should know, once each: a line without a
	// newline. Any goroutine may call it.
	Note func(string)
	// Choose says of each Container whether it is chosen; nil chooses none. Any
	// goroutine may call it.
	Choose func(*Container) bool
	// Changed is called for every cgroup that exists at the start or is made
	// later, with its container or nil for the host's, and again when more is
	// found out about the container. Removed is called once when a cgroup is
	// gone, and Changed not after that. New calls them, and then one goroutine
	// that is not that of the events; while it is held up there, so are names.
	Changed func(cgroup uint64, c *Container)
	Removed func(cgroup uint64)
}

// Registry knows the container of each cgroup. Made, Removed and Lookup belong
// to one goroutine, which never waits in them; the other methods may be called
// from any.
type Registry struct {
	// Of the goroutine of the events.
	cgroups    map[uint64]place
	latest     uint64 // the cgroup that was looked up last and what was found:
	found      place  // events come in runs. 0 for none; no cgroup has that id
	containers map[key]*live
	gone       []departure // oldest first
	departures uint64

	learnt mailbox[finding] // from the keeper
	news   mailbox[news]    // to the keeper

	tree    *cgroup.Tree
	choose  func(*Container) bool
	changed func(uint64, *Container)
	removed func(uint64)
	names   *names
	cancel  context.CancelFunc
	done    sync.WaitGroup

	mu      sync.Mutex
	running map[*live][]uint64 // their cgroups
}

// place is what is known of a cgroup.
type place struct {
	live    *live  // its container, nil for none
	known   bool   // false after it was asked for and before it was found
	removed bool   // while it was not known
	leaving uint64 // the number of its departure, 0 for none
}

// departure is a cgroup that is to be forgotten.
type departure struct {
	number, cgroup uint64
	at             time.Time
}

// finding is the answer to a cgroup that was asked for.
type finding struct {
	cgroup uint64
	path   string
}

type event int

const (
	made event = iota
	removed
	asked
	named
	runs
)

type news struct {
	event  event
	cgroup uint64
	live   *live
}

// New reads the cgroup tree and starts asking for names. Call it once cgroups
// that are made are being recorded, so that none is missed in between.
func New(cfg Config) (*Registry, error) {
	t, err := cgroup.Open()
	if err != nil {
		return nil, err
	}
	r := newRegistry(cfg, t)
	err = t.Walk(r.add)
	if err != nil {
		t.Close()
		return nil, err
	}
	r.start()
	return r, nil
}

func newRegistry(cfg Config, t *cgroup.Tree) *Registry {
	r := &Registry{
		cgroups:    make(map[uint64]place),
		containers: make(map[key]*live),
		news:       mailbox[news]{bell: make(chan struct{}, 1)},
		tree:       t,
		choose:     cfg.Choose,
		changed:    cfg.Changed,
		removed:    cfg.Removed,
		running:    make(map[*live][]uint64),
	}
	if r.choose == nil {
		r.choose = func(*Container) bool { return false }
	}
	if r.removed == nil {
		r.removed = func(uint64) {}
	}
	if r.changed == nil {
		r.changed = func(uint64, *Container) {}
	}
	if !cfg.NoNames {
		r.names = newNames(cfg.Sockets, cfg.Note, r.answered)
	}
	return r
}

func (r *Registry) start() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	if r.names != nil {
		r.names.start(ctx)
	}
	r.handle(ctx, r.news.take(), 0)
	r.done.Go(func() { r.keep(ctx) })
}

// Close ends asking and waits until that has ended.
func (r *Registry) Close() {
	r.cancel()
	r.done.Wait()
	if r.names != nil {
		r.names.wait()
	}
	r.tree.Close()
}

// Warning is cgroup.PartialView, or nil where all cgroups of the host are seen.
func (r *Registry) Warning() error { return r.tree.Warning() }

// Lookup returns the container of a cgroup, nil for a cgroup of the host.
// Whether that is known is the second result; a cgroup that is not is looked up
// for later.
func (r *Registry) Lookup(cgroup uint64) (c *Container, known bool) {
	if !r.learnt.empty() {
		r.learn()
	}
	if cgroup != r.latest || cgroup == 0 {
		p, ok := r.cgroups[cgroup]
		if !ok {
			r.ask(cgroup)
			return nil, false
		}
		r.latest, r.found = cgroup, p
	}
	if r.found.live == nil {
		return nil, r.found.known
	}
	return r.found.live.now.Load(), true
}

func (r *Registry) set(cgroup uint64, p place) {
	r.cgroups[cgroup] = p
	r.latest = 0
}

func (r *Registry) drop(cgroup uint64) {
	delete(r.cgroups, cgroup)
	r.latest = 0
}

// Made tells of a new cgroup in the v2 tree; those of v1 hierarchies have ids of
// their own that must not come here. path is from the root of the tree; if it
// was cut, pass "" and it will be looked up.
func (r *Registry) Made(cgroup uint64, path string) {
	r.forget(time.Now())
	if path == "" {
		r.drop(cgroup)
		r.ask(cgroup)
		return
	}
	r.add(cgroup, path)
}

// Removed tells that a cgroup is gone. It is still known for its last events.
func (r *Registry) Removed(cgroup uint64) {
	now := time.Now()
	r.forget(now)
	p, ok := r.cgroups[cgroup]
	if !ok || p.leaving != 0 {
		if ok && !p.known {
			p.removed = true
			r.set(cgroup, p)
		}
		return
	}
	r.set(cgroup, r.depart(p, cgroup, now))
	if p.live != nil && p.live.now.Load().CgroupID == cgroup {
		p.live.gone.Store(true)
		if r.containers[p.live.key] == p.live {
			delete(r.containers, p.live.key)
		}
	}
	r.news.put(news{removed, cgroup, p.live})
}

func (r *Registry) add(cgroup uint64, path string) {
	if p, ok := r.cgroups[cgroup]; ok && p.known && p.leaving == 0 {
		return
	}
	l := r.home(path)
	if l != nil && l.path == path && l.now.Load().CgroupID != cgroup {
		l.learn(func(c *Container) { c.CgroupID = cgroup })
	}
	r.set(cgroup, place{live: l, known: true})
	r.news.put(news{made, cgroup, l})
}

// home is the container that the cgroup at path belongs to. Cgroups inside a
// container can be given any name by whom they were delegated to: the id of a
// container that runs elsewhere is not believed there.
func (r *Registry) home(path string) *live {
	id, ok := Identify(path)
	for ok {
		outer, nested := Identify(id.outside())
		l := r.containers[key{id.Runtime, id.ID}]
		switch {
		case l != nil && l.path == id.Path:
			return l
		case l == nil || l.nested && !nested:
			l = newLive(id, nested, r.choose)
			r.containers[l.key] = l
			return l
		case !nested:
			// One container with two cgroups.
			return l
		}
		id = outer
	}
	return nil
}

// ask has the keeper look the cgroup up. That it was asked for is remembered
// like a cgroup that is gone.
func (r *Registry) ask(cgroup uint64) {
	now := time.Now()
	r.forget(now)
	r.set(cgroup, r.depart(place{}, cgroup, now))
	r.news.put(news{asked, cgroup, nil})
}

func (r *Registry) learn() {
	for _, f := range r.learnt.take() {
		if p, ok := r.cgroups[f.cgroup]; ok && !p.known && !p.removed {
			r.add(f.cgroup, f.path)
		}
	}
}

func (r *Registry) depart(p place, cgroup uint64, now time.Time) place {
	r.departures++
	p.leaving = r.departures
	r.gone = append(r.gone, departure{r.departures, cgroup, now})
	return p
}

// forget drops the cgroups that have been gone for too long.
func (r *Registry) forget(now time.Time) {
	n := 0
	for n < len(r.gone) && (len(r.gone)-n > maxGone || now.Sub(r.gone[n].at) > keepGone) {
		if d := r.gone[n]; r.cgroups[d.cgroup].leaving == d.number {
			r.drop(d.cgroup)
		}
		n++
	}
	r.gone = r.gone[n:]
}

// keep is the keeper's goroutine.
func (r *Registry) keep(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.news.bell:
			r.handle(ctx, r.news.take(), settled)
		}
	}
}

// handle works through batch. New containers get their hostname read after wait.
func (r *Registry) handle(ctx context.Context, batch []news, wait time.Duration) {
	var wanted []*live
	for _, n := range batch {
		if ctx.Err() != nil {
			return
		}
		switch n.event {
		case made:
			if n.live == nil {
				r.changed(n.cgroup, nil)
				continue
			}
			if first := r.settle(n.live, n.cgroup); first {
				wanted = append(wanted, n.live)
				time.AfterFunc(wait, func() { r.news.put(news{runs, 0, n.live}) })
			}
			r.changed(n.cgroup, n.live.now.Load())
		case removed:
			if n.live != nil {
				r.leave(n.live, n.cgroup)
			}
			r.removed(n.cgroup)
		case asked:
			if path, err := r.tree.Path(n.cgroup); err == nil {
				r.learnt.put(finding{n.cgroup, path})
			}
		case runs:
			r.readHostname(n.live)
			r.tellChanged(n.live)
		case named:
			r.tellChanged(n.live)
		}
	}
	if r.names != nil {
		r.names.want(wanted)
	}
}

// settle notes that the container has cgroup, and tells whether that is its
// first one.
func (r *Registry) settle(l *live, cgroup uint64) (first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running[l] = append(r.running[l], cgroup)
	return len(r.running[l]) == 1
}

func (r *Registry) leave(l *live, cgroup uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rest := slices.DeleteFunc(r.running[l], func(id uint64) bool { return id == cgroup })
	if len(rest) == 0 || l.gone.Load() {
		delete(r.running, l)
		return
	}
	r.running[l] = rest
}

func (r *Registry) tellChanged(l *live) {
	r.mu.Lock()
	cgroups := slices.Clone(r.running[l])
	r.mu.Unlock()
	for _, id := range cgroups {
		r.changed(id, l.now.Load())
	}
}

func (r *Registry) readHostname(l *live) {
	pid := r.tree.FirstProcess(l.path)
	if pid == 0 {
		return
	}
	if name, err := hostnameOf(pid); err == nil {
		l.learn(func(c *Container) { c.Hostname = name })
	}
}

// answered is called by the goroutine of a socket.
func (r *Registry) answered(l *live, a answer) {
	l.learn(a.addTo)
	e := named
	if a.running {
		e = runs
	}
	r.news.put(news{e, 0, l})
}

// List returns the containers that run, ordered by label.
func (r *Registry) List() []*Container {
	r.mu.Lock()
	var running []*live
	for l := range r.running {
		running = append(running, l)
	}
	r.mu.Unlock()

	var list []*Container
	for _, l := range running {
		if !r.tree.Has(l.path) {
			continue
		}
		if l.now.Load().Hostname == "" {
			r.readHostname(l)
		}
		c := *l.now.Load()
		c.PID = r.tree.FirstProcess(l.path)
		list = append(list, &c)
	}
	slices.SortFunc(list, func(a, b *Container) int {
		return cmp.Or(strings.Compare(a.Label, b.Label), strings.Compare(a.ID, b.ID))
	})
	return list
}

// Settle waits until every socket was asked for the containers there are, or
// ctx is done. For who wants a list and then leaves.
func (r *Registry) Settle(ctx context.Context) error {
	if r.names == nil {
		return nil
	}
	if err := r.names.settle(ctx); err != nil {
		return fmt.Errorf("wait for the names of containers: %w", err)
	}
	return nil
}
