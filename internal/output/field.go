// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"unsafe"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stream"
)

// A Field is one fact of an event. The table Fields has each of them once; formats
// show them as columns, keys or attributes.
type Field struct {
	// Name is the key in JSON, the name in tsv, and one for --columns. A part of an
	// object has the object's name and a point in front: container.id.
	Name string
	// Column is a shorter name for --columns and the header of a table, "" for none.
	Column string
	About  string
	Kind   Kind
	// OnlyColumn says that objects do not have the field, because they have what it is
	// made of.
	OnlyColumn bool
	// OfExec says that rows of exec have the field also where programs are not asked for.
	OfExec bool

	alias  string // another name for --columns
	width  int    // of a column, at least
	right  bool   // a column has it on the right
	needs  stream.Needs
	facets facet
	calls  func(bpf.Syscall) bool // nil: every call can have it
	when   condition
	closed bool // each file that a close_range closed has it, too
	value  func(e *stream.Event, scratch []byte) Value
}

// Header returns what a column is called, without capitals.
func (f *Field) Header() string {
	if f.Column != "" {
		return f.Column
	}
	return f.Name
}

// Needs returns what must be recorded for the field.
func (f *Field) Needs() stream.Needs { return f.needs }

// Value returns the field of an event, of kind None if the event does not have it. Its
// text is in the event, or appended to scratch.
func (f *Field) Value(e *stream.Event, scratch []byte) Value {
	if f.calls != nil && !f.calls(bpf.Syscalls[e.Syscall]) || !f.when.holds(traitsOf(e)) {
		return Value{}
	}
	return f.value(e, scratch)
}

// Kind says what a value is.
type Kind uint8

// The kinds there are.
const (
	None     Kind = iota // the event does not have the field
	Unsigned             // a number
	Signed               // a number that can be below 0
	Text                 // any bytes: programs, runtimes or the network chose them
	Symbol               // text of this program: printable ASCII without spaces
	True                 //
	Time                 // CLOCK_MONOTONIC in ns
	Duration             // in ns
	Result               // what a call returned: a number, below 0 an errno
	Files                // what a close_range closed, see bpf.Record.Closed; the number is how many are not there
	Detail               // what the call was about, in words: see appendDetail
	Parents              // who forked the process, see stream.Program; as text, which is escaped
)

// A Value is a field of one event.
type Value struct {
	Kind   Kind
	number uint64
	text   []byte
}

// Number returns the value of Unsigned, Time and Duration.
func (v Value) Number() uint64 { return v.number }

// Signed returns the value of Signed and Result.
func (v Value) Signed() int64 { return int64(v.number) }

// Text returns the value of Text and Symbol. It is not to be changed, and valid as
// long as the event is.
func (v Value) Text() []byte { return v.text }

func unsigned[N uint32 | uint64](n N) Value { return Value{Kind: Unsigned, number: uint64(n)} }

func signed(n int32) Value { return Value{Kind: Signed, number: uint64(int64(n))} }

// text returns the value of text, None for no text.
func text(b []byte) Value {
	if len(b) == 0 {
		return Value{}
	}
	return Value{Kind: Text, text: b}
}

// textOf returns the value of a string, without a copy.
func textOf(s string) Value { return text(unsafe.Slice(unsafe.StringData(s), len(s))) }

// symbol returns the value of a name, None for no name.
func symbol(name string) Value {
	if name == "" {
		return Value{}
	}
	return Value{Kind: Symbol, text: unsafe.Slice(unsafe.StringData(name), len(name))}
}

// symbols returns the value of text that was made of names and numbers, None for none.
func symbols(b []byte) Value {
	if len(b) == 0 {
		return Value{}
	}
	return Value{Kind: Symbol, text: b}
}

func truth(is bool) Value {
	if !is {
		return Value{}
	}
	return Value{Kind: True}
}

// facet is what a field depends on. As long as that is as it was for the event before of
// the same syscall, the field is, too.
type facet uint16

const (
	ofTime facet = 1 << iota
	ofCaller
	ofContainer // or of its program
	ofABI       // or on nothing but the syscall
	ofResult
	ofArguments // of the call, without the path
	ofKind      // of its target
	ofCall      // anything else, which counts as different each time
)

// trait is a set of what is to be known of an event to see which fields it has.
type trait uint64

const (
	isRemarked  trait = 1 << 0 // times a bpf.Remark, of 8 bits
	isOf        trait = 1 << 8 // shifted by a bpf.Target, of 16
	hasFailed   trait = 1 << 24
	hasLatency  trait = 1 << 25
	hasClosed   trait = 1 << 26
	hasSocket   trait = 1 << 27
	hasPeer     trait = 1 << 28 // a process at the other end of a unix socket
	hasLimit    trait = 1 << 29 // that let the call fail
	hasVia      trait = 1 << 30 // it was no syscall
	hasSlot     trait = 1 << 31 // a direct descriptor
	hasLifetime trait = 1 << 32
	hasProgram  trait = 1 << 33
)

// isOn returns the traits of calls on these.
func isOn(targets ...bpf.Target) (t trait) {
	for _, target := range targets {
		t |= isOf << target
	}
	return t
}

func traitsOf(e *stream.Event) (t trait) {
	if e.Record == nil {
		return 0
	}
	if e.Ret < 0 {
		t |= hasFailed
	}
	if e.Program != nil {
		t |= hasProgram
	}
	if e.Flags&(bpf.ViaIOUring|bpf.ViaExec) != 0 {
		t |= hasVia
	}
	d := e.Details
	if d == nil {
		return t
	}
	t |= trait(d.Remarks)*isRemarked | isOf<<(d.Target&15)
	if d.Latency != 0 {
		t |= hasLatency
	}
	if d.SlotAfter != 0 {
		t |= hasSlot
	}
	if e.Lifetime != nil {
		t |= hasLifetime
	}
	if e.HasClosed() {
		t |= hasClosed
	}
	if _, _, known := e.Limit(); known {
		t |= hasLimit
	}
	if e.Socket != nil && d.Target == bpf.TargetSocket {
		t |= hasSocket
		if e.Socket.PeerPID != 0 {
			t |= hasPeer
		}
	}
	return t
}

// condition says which events have a field: those with all of these traits and, unless
// that is empty, with one of these, which are targets.
type condition struct{ all, any trait }

func (c *condition) holds(has trait) bool {
	return c.all&^has == 0 && (c.any == 0 || c.any&has != 0)
}

// on returns the condition for calls on a target, and whether it can hold.
func (c condition) on(target bpf.Target) (_ condition, possible bool) {
	if c.any != 0 && c.any&(isOf<<target) == 0 || c.all&hasSocket != 0 && target != bpf.TargetSocket {
		return c, false
	}
	return condition{all: c.all}, true
}
