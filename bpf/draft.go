// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package bpf

import (
	"encoding/binary"
	"unsafe"
)

// Draft is a record before it is put into bytes, for who plays the kernel's part.
type Draft struct {
	Event
	Comm     string // at most 16 bytes
	Hostname string // at most 64 bytes
	// Details is nil for a record that has none; then nothing below is in it.
	Details            *Details
	Given, Name        []byte
	Peer, Local, Asked Address
	// Closed are the files that a close_range closed, of which only the Details and
	// what is below them is in the record.
	Closed []Draft
}

// Append appends the record that View reads as what the draft says.
func (d *Draft) Append(b []byte) []byte {
	event := d.Event
	copy(event.comm[:], d.Comm)
	copy(event.hostname[:], d.Hostname)
	b = append(b, unsafe.Slice((*byte)(unsafe.Pointer(&event)), eventSize)...)
	if d.Details == nil {
		return b
	}
	return d.appendDetails(b)
}

func (d *Draft) appendDetails(b []byte) []byte {
	var text []byte
	details := *d.Details
	details.givenLen = uint16(len(d.Given))
	text = append(append(text, d.Given...), d.Name...)
	for _, end := range []struct {
		to   *address
		from Address
	}{{&details.peer, d.Peer}, {&details.local, d.Local}, {&details.asked, d.Asked}} {
		*end.to = end.from.encode()
		text = append(text, end.from.Unix...)
	}
	for _, closed := range d.Closed {
		text = closed.appendDetails(text)
		text = append(text, make([]byte, -len(text)&7)...)
	}
	details.textLen = uint32(len(text))
	b = append(b, unsafe.Slice((*byte)(unsafe.Pointer(&details)), detailsSize)...)
	return append(b, text...)
}

// encode is the inverse of Record.address, without the text.
func (a Address) encode() (e address) {
	e.port, e.scopeID, e.textLen = uint16(a.Port), a.Zone, uint16(len(a.Unix))
	switch {
	case a.IsVsock:
		e.port, e.scopeID = 0, a.Port
		binary.NativeEndian.PutUint32(e.ip[:], a.CID)
	case a.IP.IsValid():
		copy(e.ip[:], a.IP.AsSlice())
	}
	return e
}

// CgroupMade is the draft of the record that says that a cgroup was made at path.
func CgroupMade(id uint64, path string) Draft {
	return Draft{Event: Event{CgroupID: id, Syscall: cgroupMade}, Details: &Details{}, Name: []byte(path)}
}

// CgroupRemoved is the draft of the record that says that a cgroup was removed.
func CgroupRemoved(id uint64) Draft {
	return Draft{Event: Event{CgroupID: id, Syscall: cgroupRemoved}, Details: &Details{}}
}
