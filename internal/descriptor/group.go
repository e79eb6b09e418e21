// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/escape"
	"github.com/copenclose/copenclose/internal/names"
)

// A Group is descriptors that are of the same thing.
type Group struct {
	Kind   string
	Target string // escaped; empty where the kind says all
	State  string // of connections
	Count  int
	Held   uint64 // bytes that deleted files still take
	Tables int    // in how many tables they are
	Most   *Table // that which has most of them

	last      *Table // to count tables
	here, top int    // how many are in last, and in most
}

// What returns the group in words: tcp 10.0.0.7:5432, CLOSE_WAIT.
func (g *Group) What() string {
	what := g.Kind
	if g.Target != "" {
		what += " " + g.Target
	}
	if g.State != "" && g.State != states[stateEstablished] {
		what += ", " + g.State
	}
	return what
}

type groupKey struct{ kind, target, state string }

// A grouper puts descriptors into groups.
type grouper struct {
	listening map[port]bool
	holders   map[uint64]*Descriptor // of unix sockets, by the address of the socket
	held      map[uint64]int         // how many descriptors a file has, by its inode's address
	paths     map[openIn]string      // targets of files that are open more than once
}

// openIn is a file in a table: mount namespaces can have it under different paths.
type openIn struct {
	table *Table
	inode uint64 // its address
}

// port is a local port of one protocol in a network namespace.
type port struct {
	netNS    uint32
	protocol uint16
	number   uint32
}

func portOf(d *Descriptor) port { return port{d.NetNS, d.protocol(), d.Of.Local().Port} }

// newGrouper looks through all that is open, because the other end of a connection
// can be anywhere.
func newGrouper(s *Snapshot) *grouper {
	g := &grouper{
		listening: make(map[port]bool),
		holders:   make(map[uint64]*Descriptor),
		held:      make(map[uint64]int),
		paths:     make(map[openIn]string),
	}
	for d := range s.All() {
		switch {
		case d.Of.Details.Target != bpf.TargetSocket:
			if d.Of.Details.Target == bpf.TargetFile {
				g.held[d.Object]++
			}
		case d.family() == unix.AF_UNIX:
			if g.holders[d.Object] == nil {
				g.holders[d.Object] = d
			}
		case d.DescriptorRow.State == stateListen:
			g.listening[portOf(d)] = true
		}
	}
	return g
}

// group returns descriptors in groups, the largest first.
func (g *grouper) group(descriptors []*Descriptor) []*Group {
	byKey := make(map[groupKey]*Group)
	for _, d := range descriptors {
		key := groupKey{d.Kind(), g.target(d), d.State()}
		group := byKey[key]
		if group == nil {
			group = &Group{Kind: key.kind, Target: key.target, State: key.state}
			byKey[key] = group
		}
		group.add(d)
	}
	groups := make([]*Group, 0, len(byKey))
	for _, group := range byKey {
		groups = append(groups, group)
	}
	slices.SortFunc(groups, func(a, b *Group) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Kind, b.Kind),
			cmp.Compare(a.Target, b.Target), cmp.Compare(a.State, b.State))
	})
	return groups
}

// add counts d. Those of one table come in a row.
func (g *Group) add(d *Descriptor) {
	g.Count++
	g.Held += d.Held
	if d.Table != g.last {
		g.last, g.here = d.Table, 0
		g.Tables++
	}
	if g.here++; g.here > g.top {
		g.Most, g.top = d.Table, g.here
	}
}

// target is what descriptors must have in common to be in one group: the other end of
// a connection, or that where it was accepted; the path of a file that is open more
// than once, else its directory.
func (g *grouper) target(d *Descriptor) string {
	switch d.Of.Details.Target {
	case bpf.TargetSocket:
		return g.socketTarget(d)
	case bpf.TargetFile:
		return g.fileTarget(d)
	case bpf.TargetMemfd, bpf.TargetNamespace:
		return string(escape.Append(nil, d.Of.Name(), true))
	}
	return ""
}

func (g *grouper) fileTarget(d *Descriptor) string {
	where := openIn{d.Table, d.Object}
	if target, ok := g.paths[where]; ok {
		return target
	}
	name := d.Of.Name()
	slash := bytes.LastIndexByte(name, '/')
	if g.held[d.Object] > 1 || slash < 0 || d.Kind() != "file" {
		target := string(d.appendName(nil))
		g.paths[where] = target
		return target
	}
	b := append(escape.Append(nil, name[:slash], true), "/*"...)
	if d.IsDeleted {
		b = append(b, deletedMark...)
	}
	return string(b)
}

func (g *grouper) socketTarget(d *Descriptor) string {
	local, peer := d.ends()
	switch {
	case d.family() == unix.AF_UNIX:
		return g.unixTarget(d, local, peer)
	case d.DescriptorRow.State == stateListen, !isShown(peer) && isShown(local):
		return string(names.AppendAddress(nil, local))
	case isShown(peer) && d.socketType() == unix.SOCK_STREAM && g.listening[portOf(d)]:
		return "accepted at port " + strconv.FormatUint(uint64(local.Port), 10)
	case isShown(peer):
		return string(names.AppendAddress(nil, peer))
	}
	return ""
}

// unixTarget is the name of the socket at either end, or else who is at the other end.
func (g *grouper) unixTarget(d *Descriptor, local, peer bpf.Address) string {
	switch {
	case isShown(peer):
		return string(names.AppendAddress(nil, peer))
	case isShown(local):
		return string(names.AppendAddress(nil, local))
	}
	if other := g.holders[d.Peer]; other != nil {
		return "to " + string(escape.Append(nil, other.Comm(), true))
	}
	return ""
}
