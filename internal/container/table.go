// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import (
	"sync/atomic"
	"time"

	"github.com/copenclose/copenclose/internal/container/runtime"
)

const (
	// keepGone and maxGone bound how long, and how many, cgroups are remembered
	// that are gone. Their last events are in the buffer for well under a second
	// unless the reader is held up.
	keepGone = time.Minute
	maxGone  = 4096
)

// table is what is known of cgroups and containers. Its methods wait for nothing, and
// are called with Registry.mu held, so that what they call is called in the order of
// what happened.
type table struct {
	choose  func(*Container) bool
	changed func(cgroup uint64, c *Container)
	removed func(cgroup uint64)

	cgroups    map[uint64]*cgroupEntry
	containers map[string]*liveContainer // those that exist, by the path of their own cgroup
	expiries   []expiry                  // oldest first
	latest     uint64                    // the number of the latest expiry
	recent     *recent
}

// cgroupEntry is what is known of a cgroup.
type cgroupEntry struct {
	cgroup  uint64
	view    atomic.Pointer[view] // nil as long as it is not known
	of      *liveContainer       // nil for the host, and if it is not known
	removed bool
	expiry  uint64 // the number of its expiry, 0 for none
}

// view is a container as one of its cgroups shows it: with the container inside that
// the cgroup belongs to, if there is one.
type view struct {
	inner   runtime.Identity // ID is empty for the container itself
	now     atomic.Pointer[Container]
	cgroups int // that exist and have it
}

// host is the view of all cgroups of no container.
var host view

// expiry is when an entry is to be forgotten.
type expiry struct {
	number uint64
	entry  *cgroupEntry
	begins time.Time
}

func newTable(cfg *Config) *table {
	t := &table{
		choose:     cfg.Choose,
		changed:    cfg.Changed,
		removed:    cfg.Removed,
		cgroups:    make(map[uint64]*cgroupEntry),
		containers: make(map[string]*liveContainer),
		recent:     new(recent),
	}
	if t.choose == nil {
		t.choose = func(*Container) bool { return false }
	}
	if t.changed == nil {
		t.changed = func(uint64, *Container) {}
	}
	if t.removed == nil {
		t.removed = func(uint64) {}
	}
	return t
}

// addCgroup notes a cgroup that exists. It returns the cgroup's container if that was
// not known before, or else nil.
func (t *table) addCgroup(cgroup uint64, path string) (fresh *liveContainer) {
	e := t.cgroups[cgroup]
	switch {
	case e == nil:
		e = &cgroupEntry{cgroup: cgroup}
		t.cgroups[cgroup] = e
	case e.view.Load() != nil && e.expiry == 0:
		return nil
	}
	e.expiry, e.removed = 0, false
	outer, inner := runtime.Identify(path)
	if outer.ID == "" {
		e.view.Store(&host)
		t.changed(cgroup, nil)
		return nil
	}
	c := t.containers[outer.Path]
	if c == nil {
		c = newLiveContainer(outer)
		t.containers[outer.Path] = c
		fresh = c
	}
	if path == outer.Path {
		t.update(c, func(c *Container) { c.CgroupID = cgroup })
	}
	if inner == outer {
		inner = runtime.Identity{}
	}
	v := c.views[inner.Path]
	if v == nil {
		v = &view{inner: inner}
		v.now.Store(t.snapshot(c, v))
		c.views[inner.Path] = v
	}
	v.cgroups++
	e.of = c
	e.view.Store(v)
	c.cgroups[cgroup] = e
	t.changed(cgroup, v.now.Load())
	return fresh
}

// dropCgroup notes that a cgroup is gone. It is still known for its last events.
func (t *table) dropCgroup(cgroup uint64, now time.Time) {
	t.removed(cgroup)
	e := t.cgroups[cgroup]
	if e == nil || e.removed {
		return
	}
	e.removed = true
	if e.expiry == 0 {
		t.expire(e, now)
	}
	c := e.of
	if c == nil {
		return
	}
	delete(c.cgroups, cgroup)
	v := e.view.Load()
	if v.cgroups--; v.cgroups == 0 && v.inner.ID != "" {
		delete(c.views, v.inner.Path)
	}
	if c.details.CgroupID == cgroup || len(c.cgroups) == 0 {
		c.gone = true
		if t.containers[c.Path] == c {
			delete(t.containers, c.Path)
		}
	}
}

// expectCgroup notes a cgroup that is being looked up.
func (t *table) expectCgroup(cgroup uint64, now time.Time) *cgroupEntry {
	if e := t.cgroups[cgroup]; e != nil {
		t.forget(e)
	}
	e := &cgroupEntry{cgroup: cgroup}
	t.cgroups[cgroup] = e
	t.expire(e, now)
	return e
}

// foundCgroup notes the path of a cgroup that was being looked up; see addCgroup.
func (t *table) foundCgroup(cgroup uint64, path string) (fresh *liveContainer) {
	if e := t.cgroups[cgroup]; e != nil && e.view.Load() == nil && !e.removed {
		return t.addCgroup(cgroup, path)
	}
	return nil
}

// update notes what was found out about a container, and has each of its cgroups show
// that.
func (t *table) update(c *liveContainer, edit func(*Container)) {
	before := c.details
	if edit(&c.details); c.details == before {
		return
	}
	for _, v := range c.views {
		v.now.Store(t.snapshot(c, v))
	}
	for cgroup, e := range c.cgroups {
		t.changed(cgroup, e.view.Load().now.Load())
	}
}

// snapshot returns what a view shows of a container now.
func (t *table) snapshot(c *liveContainer, v *view) *Container {
	s := c.details
	s.Label = label(&s)
	if v.inner.ID != "" {
		s.Inner, s.InnerRuntime = v.inner.ID, v.inner.Runtime
		s.Label += "/" + shortID(v.inner.ID)
	}
	s.Chosen = t.choose(&s)
	return &s
}

// expire has an entry forgotten after a while.
func (t *table) expire(e *cgroupEntry, now time.Time) {
	t.latest++
	e.expiry = t.latest
	t.expiries = append(t.expiries, expiry{t.latest, e, now})
}

// forgetExpired forgets the cgroups that have been gone for too long.
func (t *table) forgetExpired(now time.Time) {
	n := 0
	for n < len(t.expiries) && (len(t.expiries)-n > maxGone || now.Sub(t.expiries[n].begins) > keepGone) {
		if x := t.expiries[n]; x.entry.expiry == x.number {
			t.forget(x.entry)
		}
		n++
	}
	clear(t.expiries[:n])
	t.expiries = t.expiries[n:]
}

func (t *table) forget(e *cgroupEntry) {
	if t.cgroups[e.cgroup] == e {
		delete(t.cgroups, e.cgroup)
	}
	t.recent.forget(e)
}

// recent has some of the cgroups that were looked up last, for looking them up again
// without a lock.
type recent [64]atomic.Pointer[cgroupEntry]

// find returns the entry of a cgroup, or nil.
func (r *recent) find(cgroup uint64) *cgroupEntry {
	if e := r[cgroup%uint64(len(r))].Load(); e != nil && e.cgroup == cgroup {
		return e
	}
	return nil
}

func (r *recent) add(e *cgroupEntry) { r[e.cgroup%uint64(len(r))].Store(e) }

func (r *recent) forget(e *cgroupEntry) {
	r[e.cgroup%uint64(len(r))].CompareAndSwap(e, nil)
}
