// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package container finds out which container a cgroup belongs to.
//
// A Registry knows the container of each cgroup from four sources, for none of which
// an event waits:
//
//	the cgroup tree        read once at the start       id and runtime, from the path
//	cgroups made, removed  Registry.Made, .Removed      the same, before the first event
//	the runtimes           asked over their sockets     name, image, pod
//	the kubelet's logs     names of files, in the       name, pod
//	                       place of CRI's sockets
//
// Everything that is known stands in one table behind one lock, which nobody holds
// while waiting for anything. One goroutine, the keeper, looks up the cgroups that were
// missed and reads hostnames; each socket has a goroutine that asks for names, and
// another one that waits for them to change.
//
//	registry, err := container.New(config)  // once the making of cgroups is recorded
//	registry.Made(id, path)                 // for each record of that
//	registry.Removed(id)
//	c, known := registry.Lookup(id)         // for each event
//
// where c is a container, or nil and known for the host, or nil and not known for
// neither: when in doubt, an event is not attributed to the host.
//
// A container's identity is that of the outermost container: one that runs in it, or
// that it pretends to run, is only a part of it. docs/TRUST.md says who can pretend
// what.
package container

import (
	"github.com/copenclose/copenclose/internal/container/runtime"
	"github.com/copenclose/copenclose/internal/owner"
	"github.com/copenclose/copenclose/internal/stream"
)

// Container is what is known of a container at one time. Registry.Lookup returns
// another one when more is found out.
type Container = stream.Container

// label is what a container is called where there is room for one word.
func label(c *Container) string {
	switch {
	case c.Pod != "" && c.Name != "":
		return c.Pod + "/" + c.Name
	case c.Pod != "":
		return c.Pod
	case c.Name != "":
		return c.Name
	}
	return shortID(c.ID)
}

// shortID is id, or the 12 digits of it by which people know it.
func shortID(id string) string {
	if runtime.IsID(id) {
		return id[:12]
	}
	return id
}

// liveContainer is a container over its time. What is in Identity does not change; the
// rest is part of the table.
type liveContainer struct {
	runtime.Identity
	details Container               // without what follows from it
	views   map[string]*view        // by the path of the container inside, "" for this one
	cgroups map[uint64]*cgroupEntry // those that exist
	gone    bool
	madeBy  owner.ID // known when names are asked for
}

func newLiveContainer(id runtime.Identity) *liveContainer {
	c := &liveContainer{
		Identity: id,
		details:  Container{Runtime: id.Runtime, ID: id.ID, PodUID: id.PodUID, QoS: id.QoS},
		views:    make(map[string]*view),
		cgroups:  make(map[uint64]*cgroupEntry),
		madeBy:   owner.Nobody,
	}
	if !runtime.IsID(id.ID) {
		c.details.Name = id.ID
	}
	return c
}

// addDetails notes what a runtime says. What it does not say stays as it was.
func addDetails(c *Container, d *runtime.Details) {
	for _, field := range []struct {
		known *string
		said  string
	}{
		{&c.Name, d.Name}, {&c.Image, d.Image}, {&c.Pod, d.Pod}, {&c.Namespace, d.Namespace}, {&c.PodUID, d.PodUID},
	} {
		if field.said != "" {
			*field.known = field.said
		}
	}
}
