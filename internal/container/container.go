// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package container says which container an event belongs to.
//
// A Registry knows the container of each cgroup. What it knows comes from three
// places, none of which the way of an event waits for:
//
//	the cgroup tree      read once at the start       id and runtime, from the path
//	cgroup_mkdir, _rmdir  Registry.Made and Removed    the same, before the first event
//	the runtimes         asked over their sockets     name, image, pod
//
// One goroutine, that of the events, owns the cgroups and calls Made, Removed
// and Lookup. Two kinds of other goroutines work for it: one keeper, which looks
// up what was missed and reads hostnames, and one for each socket, which asks
// for names. What they find out comes back through a list without a lock, or by
// an atomic swap of the pointer to the Container.
//
// The goroutine of the events uses it like this:
//
//	registry, err := container.New(config)  // once cgroup_mkdir is recorded
//	registry.Made(id, path)                 // a cgroup_mkdir in the v2 tree
//	registry.Removed(id)                    // a cgroup_rmdir there
//	c, known := registry.Lookup(id)         // for each event
//
// where c is a container, or nil and known for the host, or nil and not known
// for neither: on doubt an event is not the host's.
//
// To add a runtime, write a file with its engine, put it into the table in
// identify.go and paths that it makes into testdata/paths.txt.
package container

import (
	"sync/atomic"

	"github.com/copenclose/copenclose/internal/stream"
)

// Container is what is known of a container at one time. Registry.Lookup returns
// another one when more is found out.
type Container = stream.Container

func labelOf(c *Container) string {
	switch {
	case c.Pod != "" && c.Name != "":
		return c.Pod + "/" + c.Name
	case c.Pod != "":
		return c.Pod
	case c.Name != "":
		return c.Name
	case isID(c.ID):
		return c.ID[:12]
	}
	return c.ID
}

// live is a container over its time. What was found out last is in now; the rest
// does not change.
type live struct {
	now    atomic.Pointer[Container]
	gone   atomic.Bool
	choose func(*Container) bool
	key    key
	path   string // of its own cgroup
	nested bool   // in another container
}

// key tells containers apart. Not every runtime gives ids that no other gives.
type key struct{ runtime, id string }

func newLive(id Identity, nested bool, choose func(*Container) bool) *live {
	l := &live{key: key{id.Runtime, id.ID}, path: id.Path, nested: nested, choose: choose}
	c := &Container{Runtime: id.Runtime, ID: id.ID, PodUID: id.PodUID, QoS: id.QoS}
	if !isID(id.ID) {
		c.Name = id.ID
	}
	l.finish(c)
	l.now.Store(c)
	return l
}

// finish fills in what follows from the rest.
func (l *live) finish(c *Container) {
	c.Label = labelOf(c)
	c.Chosen = l.choose(c)
}

// learn replaces the container by one that edit was applied to. Any goroutine
// may call it.
func (l *live) learn(edit func(*Container)) {
	for {
		before := l.now.Load()
		after := *before
		edit(&after)
		l.finish(&after)
		if l.now.CompareAndSwap(before, &after) {
			return
		}
	}
}
