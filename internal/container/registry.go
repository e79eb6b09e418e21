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
	"github.com/copenclose/copenclose/internal/container/runtime"
	"github.com/copenclose/copenclose/internal/owner"
)

// hostnameGrace is how long after a container was made its hostname is read, if no
// runtime reports that the container runs.
const hostnameGrace = time.Second

// Config says what a Registry asks, and what it calls. The zero value asks all runtimes
// where they usually listen.
type Config struct {
	// Sockets of runtimes to ask, with the API of Docker or CRI, instead of those
	// that are found. With NoNames none is asked.
	Sockets []string
	NoNames bool
	// Follow keeps names up to date with what the runtimes report.
	Follow bool
	// Note is given what the user should know, once each: a line of printable text
	// without a newline. Any goroutine may call it.
	Note func(string)
	// Choose reports whether a container is one of those that were asked for, nil
	// of none; see Container.Chosen. Like Changed and Removed it must return at
	// once, and must not call the Registry.
	Choose func(*Container) bool
	// Changed is called for every cgroup that exists at the start or is made later,
	// with its container or nil for the host's, and again when more is found out
	// about the container. Removed is called when a cgroup is removed. All calls of
	// both are made one after the other, in the order of what happened: after
	// Removed there is no Changed with that cgroup.
	Changed func(cgroup uint64, c *Container)
	Removed func(cgroup uint64)
}

// Registry knows the container of each cgroup. Its methods may be called from any
// goroutine. Made, Removed and Lookup wait for nothing.
type Registry struct {
	tree  *cgroup.Tree
	names *names // nil where none is asked for
	stop  context.CancelFunc
	done  sync.WaitGroup

	recent *recent // those of table

	mu    sync.Mutex // of table and tasks
	table *table
	tasks tasks
}

// tasks is what the keeper is to do.
type tasks struct {
	wake      chan struct{} // has a value if there is something new
	cgroups   []uint64      // to look up
	fresh     []*liveContainer
	hostnames []hostnameTask
}

// hostnameTask is a container whose hostname is to be read.
type hostnameTask struct {
	container *liveContainer
	due       time.Time
}

// New reads the cgroup tree and starts to ask for names. Call it once it is being
// recorded which cgroups are made, so that none is missed in between.
func New(cfg Config) (*Registry, error) {
	tree, err := cgroup.Open()
	if err != nil {
		return nil, err
	}
	r := newRegistry(cfg, tree, usual)
	r.mu.Lock()
	err = tree.Walk(func(id uint64, path string) { r.add(r.table.addCgroup(id, path), time.Now()) })
	r.mu.Unlock()
	if err != nil {
		tree.Close()
		return nil, err
	}
	r.start()
	return r, nil
}

func newRegistry(cfg Config, tree *cgroup.Tree, set settings) *Registry {
	r := &Registry{tree: tree, table: newTable(&cfg), tasks: tasks{wake: make(chan struct{}, 1)}}
	r.recent = r.table.recent
	if !cfg.NoNames {
		r.names = newNames(&cfg, r, set)
	}
	return r
}

// start reads the hostnames of the containers that there are, and begins to do so for
// others.
func (r *Registry) start() {
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	if r.names != nil {
		r.names.start(ctx)
	}
	next := r.work(ctx)
	r.done.Go(func() { r.keep(ctx, next) })
}

// Close ends all asking, and waits until nothing calls Config.Changed any more.
func (r *Registry) Close() {
	r.stop()
	r.done.Wait()
	if r.names != nil {
		r.names.wait()
	}
	r.tree.Close()
}

// Warning is cgroup.PartialView, or nil where all cgroups of the host are seen.
func (r *Registry) Warning() error { return r.tree.Warning() }

// Lookup returns the container of a cgroup, nil for a cgroup of the host. The second
// result reports whether that is known; a cgroup that is not is looked up for later.
func (r *Registry) Lookup(cgroup uint64) (c *Container, known bool) {
	e := r.recent.find(cgroup)
	if e == nil {
		e = r.entry(cgroup)
	}
	v := e.view.Load()
	if v == nil {
		return nil, false
	}
	return v.now.Load(), true
}

func (r *Registry) entry(cgroup uint64) *cgroupEntry {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.table.cgroups[cgroup]
	if e == nil {
		e = r.expect(cgroup, time.Now())
	}
	r.recent.add(e)
	return e
}

// Made notes a new cgroup of the v2 tree; those of v1 hierarchies have ids of their
// own, which must not come here. path is from the root of the tree; if it was cut, pass
// "" and it will be looked up.
func (r *Registry) Made(cgroup uint64, path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.table.forgetExpired(now)
	if path == "" {
		r.expect(cgroup, now)
		return
	}
	r.add(r.table.addCgroup(cgroup, path), now.Add(hostnameGrace))
}

// Removed notes that a cgroup is gone. It is still known for its last events.
func (r *Registry) Removed(cgroup uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.table.forgetExpired(now)
	r.table.dropCgroup(cgroup, now)
}

// expect has the keeper look a cgroup up. mu is held.
func (r *Registry) expect(cgroup uint64, now time.Time) *cgroupEntry {
	r.table.forgetExpired(now)
	e := r.table.expectCgroup(cgroup, now)
	r.tasks.cgroups = append(r.tasks.cgroups, cgroup)
	r.tasks.ring()
	return e
}

// add has the keeper find out more about a container, unless it is nil. mu is held.
func (r *Registry) add(c *liveContainer, due time.Time) {
	if c == nil {
		return
	}
	r.tasks.fresh = append(r.tasks.fresh, c)
	r.tasks.hostnames = append(r.tasks.hostnames, hostnameTask{c, due})
	r.tasks.ring()
}

func (t *tasks) ring() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// take removes and returns what is to be done now, and when there is more to do.
func (t *tasks) take(now time.Time) (cgroups []uint64, fresh, named []*liveContainer, next time.Duration) {
	cgroups, t.cgroups = t.cgroups, nil
	fresh, t.fresh = t.fresh, nil
	next = time.Hour
	t.hostnames = slices.DeleteFunc(t.hostnames, func(h hostnameTask) bool {
		if wait := h.due.Sub(now); wait > 0 {
			next = min(next, wait)
			return false
		}
		named = append(named, h.container)
		return true
	})
	return cgroups, fresh, named, next
}

// keep is the keeper's goroutine.
func (r *Registry) keep(ctx context.Context, next time.Duration) {
	timer := time.NewTimer(next)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.tasks.wake:
		case <-timer.C:
		}
		timer.Reset(r.work(ctx))
	}
}

// work does what is to be done now, and returns after which time there is more to do.
func (r *Registry) work(ctx context.Context) time.Duration {
	for {
		now := time.Now()
		r.mu.Lock()
		cgroups, fresh, named, next := r.tasks.take(now)
		r.mu.Unlock()
		if len(cgroups)+len(fresh)+len(named) == 0 || ctx.Err() != nil {
			return next
		}
		for _, cgroup := range cgroups {
			if path, err := r.tree.Path(cgroup); err == nil {
				r.mu.Lock()
				r.add(r.table.foundCgroup(cgroup, path), now.Add(hostnameGrace))
				r.mu.Unlock()
			}
		}
		for _, c := range named {
			r.readHostname(c)
		}
		if r.names != nil && len(fresh) > 0 {
			r.names.want(ctx, r.owned(fresh))
		}
	}
}

// owned finds out who made containers.
func (r *Registry) owned(containers []*liveContainer) []*liveContainer {
	for _, c := range containers {
		madeBy := r.tree.MadeBy(c.Path)
		r.mu.Lock()
		c.madeBy = madeBy
		r.mu.Unlock()
	}
	return containers
}

func (r *Registry) readHostname(c *liveContainer) {
	pid := r.tree.FirstProcess(c.Path)
	if pid == 0 {
		return
	}
	if name, err := hostnameOf(pid); err == nil {
		r.update(c, func(c *Container) { c.Hostname = name })
	}
}

func (r *Registry) update(c *liveContainer, edit func(*Container)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.table.update(c, edit)
}

// answered notes what a runtime says of a container.
func (r *Registry) answered(c *liveContainer, d *runtime.Details) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.table.update(c, func(c *Container) { addDetails(c, d) })
	if d.Running {
		r.tasks.hostnames = append(r.tasks.hostnames, hostnameTask{c, time.Now()})
		r.tasks.ring()
	}
}

// gone reports whether a container exists no more.
func (r *Registry) gone(c *liveContainer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return c.gone
}

// existing returns the containers with this id that a user made.
func (r *Registry) existing(id string, madeBy owner.ID) (found []*liveContainer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.table.containers {
		if c.ID == id && c.madeBy == madeBy {
			found = append(found, c)
		}
	}
	return found
}

// List returns the containers that run, with those inside, ordered by label.
func (r *Registry) List() (list []*Container) {
	type listed struct {
		path string
		*Container
	}
	var running []listed
	r.mu.Lock()
	for _, c := range r.table.containers {
		for _, v := range c.views {
			shown, path := *v.now.Load(), c.Path
			if v.inner.ID != "" {
				// These are of the outer one.
				path, shown.Hostname, shown.CgroupID = v.inner.Path, "", 0
			}
			running = append(running, listed{path, &shown})
		}
	}
	r.mu.Unlock()

	for _, l := range running {
		if r.tree.Has(l.path) {
			l.PID = r.tree.FirstProcess(l.path)
			list = append(list, l.Container)
		}
	}
	slices.SortFunc(list, func(a, b *Container) int {
		return cmp.Or(strings.Compare(a.Label, b.Label), strings.Compare(a.ID, b.ID))
	})
	return list
}

// WaitForNames waits until every runtime was asked for the containers that there are,
// or ctx is done. It is for a list that is made once.
func (r *Registry) WaitForNames(ctx context.Context) error {
	if r.names == nil {
		return nil
	}
	if err := r.names.waitIdle(ctx); err != nil {
		return fmt.Errorf("wait for the names of containers: %w", err)
	}
	return nil
}
