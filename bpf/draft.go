// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package bpf

import (
	"encoding/binary"
	"slices"
	"unsafe"
)

// Draft is a record before it is put into bytes, for who plays the kernel's part.
type Draft struct {
	Event
	Comm     string // at most 16 bytes
	Hostname string // at most 64 bytes
	// Sampled is nil but where calls are counted.
	Sampled *Sampled
	// Details is nil for a record that has none; then nothing below is in it.
	Details     *Details
	Given, Name []byte
	// Socket is nil for a record without one; then it has no addresses.
	Socket             *Socket
	Peer, Local, Asked Address
	Lifetime           *Lifetime
	// Closed are the files that a close_range closed, of which only the Details and
	// what is below them is in the record.
	Closed []Draft
}

// Append appends the record that View reads as what the draft says; b has a multiple
// of 8 bytes. The flags and parts that say what follows are set as it is.
func (d *Draft) Append(b []byte) []byte {
	event := d.Event
	copy(event.comm[:], d.Comm)
	copy(event.hostname[:], d.Hostname)
	if d.Sampled != nil {
		*(*Sampled)(unsafe.Pointer(&event.hostname)) = *d.Sampled
	}
	event.Flags &^= HasDetails
	if d.Details != nil {
		event.Flags |= HasDetails
	}
	b = append(b, bytesOf(&event)...)
	if d.Details == nil {
		return b
	}
	return d.appendDetails(b)
}

func (d *Draft) appendDetails(b []byte) []byte {
	details := *d.Details
	details.Parts = 0
	details.givenLen = uint16(len(d.Given))
	text := slices.Concat(d.Given, d.Name)
	var socket Socket
	if d.Socket != nil {
		socket = *d.Socket
		details.Parts |= HasSocket
		socket.peer, socket.local, socket.asked = d.Peer.encode(), d.Local.encode(), d.Asked.encode()
		text = slices.Concat(text, d.Peer.Unix, d.Local.Unix, d.Asked.Unix)
	}
	if d.Lifetime != nil {
		details.Parts |= HasLifetime
	}
	for _, closed := range d.Closed {
		text = pad(closed.appendDetails(text))
	}
	details.textLen = uint32(len(text))
	b = append(append(b, bytesOf(&details)...), text...)
	if d.Socket != nil {
		b = append(pad(b), bytesOf(&socket)...)
	}
	if d.Lifetime != nil {
		b = append(pad(b), bytesOf(d.Lifetime)...)
	}
	return b
}

// DescriptorDraft is a row of a snapshot before it is put into bytes.
type DescriptorDraft struct {
	Descriptor
	Comm string // at most 16 bytes
	Of   Draft  // what is open; its Event is not in the row
}

// Append appends the row that DescriptorRow.View reads as what the draft says; b has
// a multiple of 8 bytes.
func (d *DescriptorDraft) Append(b []byte) []byte {
	descriptor := d.Descriptor
	copy(descriptor.comm[:], d.Comm)
	return pad(d.Of.appendDetails(append(b, bytesOf(&descriptor)...)))
}

// bytesOf is a part of a record as it lies in memory.
func bytesOf[T any](part *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(part)), unsafe.Sizeof(*part))
}

// pad fills b up to a multiple of 8 bytes.
func pad(b []byte) []byte { return append(b, make([]byte, align(len(b))-len(b))...) }

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
