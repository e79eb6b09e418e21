// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
)

// OtherEnds finds who has the other end of a pipe or a connection on this host.
type OtherEnds struct {
	byObject map[uint64][]*Descriptor // pipes and unix sockets
	byEnds   map[ends][]*Descriptor   // connections of IP, by their own ends
}

type ends struct {
	protocol    uint16
	local, peer netip.AddrPort
}

func endsOf(d *Descriptor) ends {
	return ends{d.protocol(), addrPort(d.Of.Local()), addrPort(d.Of.Peer())}
}

// addrPort leaves out how IPv6 writes IPv4, which the other end need not do.
func addrPort(a bpf.Address) netip.AddrPort {
	return netip.AddrPortFrom(a.IP.Unmap(), uint16(a.Port))
}

func isConnection(d *Descriptor) bool {
	return d.Of.Details.Target == bpf.TargetSocket && d.Of.Peer().IP.IsValid() && d.Of.Peer().Port != 0
}

// OtherEnds looks through all that is open.
func (s *Snapshot) OtherEnds() *OtherEnds {
	o := &OtherEnds{byObject: make(map[uint64][]*Descriptor), byEnds: make(map[ends][]*Descriptor)}
	for d := range s.All() {
		switch {
		case d.Of.Details.Target == bpf.TargetPipe, d.Of.Details.Target == bpf.TargetSocket && d.family() == unix.AF_UNIX:
			o.byObject[d.Object] = append(o.byObject[d.Object], d)
		case isConnection(d):
			o.byEnds[endsOf(d)] = append(o.byEnds[endsOf(d)], d)
		}
	}
	return o
}

// Of returns a descriptor of the other end of d, one of another process if there is
// one; nil if nobody here has it.
func (o *OtherEnds) Of(d *Descriptor) *Descriptor {
	var found *Descriptor
	for _, other := range o.candidates(d) {
		switch {
		case other.File == d.File:
		case other.Table != d.Table:
			return other
		case found == nil:
			found = other
		}
	}
	return found
}

func (o *OtherEnds) candidates(d *Descriptor) (candidates []*Descriptor) {
	switch {
	case d.Of.Details.Target == bpf.TargetPipe:
		for _, other := range o.byObject[d.Object] {
			if other.OpenFlags&unix.O_ACCMODE != d.OpenFlags&unix.O_ACCMODE {
				candidates = append(candidates, other)
			}
		}
	case d.Of.Details.Target == bpf.TargetSocket && d.family() == unix.AF_UNIX:
		return o.byObject[d.Peer]
	case isConnection(d):
		own := endsOf(d)
		for _, other := range o.byEnds[ends{own.protocol, own.peer, own.local}] {
			// Network namespaces can have the same addresses, those of the
			// loopback all do.
			if other.NetNS == d.NetNS || !own.local.Addr().IsLoopback() {
				candidates = append(candidates, other)
			}
		}
	}
	return candidates
}
