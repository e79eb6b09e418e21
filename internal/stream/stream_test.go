// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package stream

import (
	"errors"
	"reflect"
	"testing"

	"github.com/copenclose/copenclose/bpf"
)

// recorder is a Sink that keeps the PIDs of the events it is given.
type recorder struct {
	needs   Needs
	pids    []uint32
	flushed int
	closed  int
	err     error
}

func (r *recorder) Needs() Needs         { return r.needs }
func (r *recorder) Event(e *Event) error { r.pids = append(r.pids, e.PID); return r.err }
func (r *recorder) Flush() error         { r.flushed++; return r.err }
func (r *recorder) Close() error         { r.closed++; return r.err }

func event(pid uint32) *Event {
	return &Event{Record: &bpf.Record{Event: &bpf.Event{PID: pid}}}
}

// All that one of two needs is needed; a field that Or forgets is found here.
func TestNeedsOr(t *testing.T) {
	for i := range reflect.TypeFor[Needs]().NumField() {
		var one, other Needs
		reflect.ValueOf(&one).Elem().Field(i).SetBool(true)
		if one.Or(other) != one || other.Or(one) != one || other.Or(other) != other {
			t.Errorf("%s is lost", reflect.TypeFor[Needs]().Field(i).Name)
		}
	}
}

func TestTee(t *testing.T) {
	a, b := &recorder{needs: Needs{Details: true}}, &recorder{needs: Needs{Hostname: true}}
	if Tee(a) != Sink(a) {
		t.Error("a tee of one is more than that one")
	}
	both := Tee(a, b)
	if want := (Needs{Details: true, Hostname: true}); both.Needs() != want {
		t.Errorf("needs %+v", both.Needs())
	}
	if err := errors.Join(both.Event(event(1)), both.Flush(), both.Close()); err != nil {
		t.Fatal(err)
	}
	a.err = ErrEnough
	if err := both.Event(event(2)); !errors.Is(err, ErrEnough) {
		t.Errorf("the error of a sink became %v", err)
	}
	if err := both.Flush(); !errors.Is(err, ErrEnough) {
		t.Errorf("the error of a flush became %v", err)
	}
	for _, r := range []*recorder{a, b} {
		if !reflect.DeepEqual(r.pids, []uint32{1, 2}) || r.flushed != 2 || r.closed != 1 {
			t.Errorf("got %+v", r)
		}
	}
}

func TestLimit(t *testing.T) {
	var r recorder
	l := Limit(&r, 2)
	for i, want := range []error{nil, ErrEnough, ErrEnough} {
		if err := l.Event(event(uint32(i))); err != want {
			t.Errorf("event %d gave %v, want %v", i, err, want)
		}
	}
	if !reflect.DeepEqual(r.pids, []uint32{0, 1}) {
		t.Errorf("passed %v", r.pids)
	}
	r.err = errors.New("broken")
	if err := Limit(&r, 1).Event(event(9)); err != r.err {
		t.Errorf("the sink's error became %v", err)
	}
}
