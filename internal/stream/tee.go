// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package stream

import "errors"

// Tee returns a Sink that gives each event to all sinks, in their order. The first
// error, also ErrEnough, ends the stream for all.
func Tee(sinks ...Sink) Sink {
	if len(sinks) == 1 {
		return sinks[0]
	}
	return tee(sinks)
}

type tee []Sink

func (t tee) Needs() (needs Needs) {
	for _, s := range t {
		needs = needs.Or(s.Needs())
	}
	return needs
}

func (t tee) Event(e *Event) (err error) {
	for _, s := range t {
		if sinkErr := s.Event(e); err == nil {
			err = sinkErr
		}
	}
	return err
}

func (t tee) Flush() error { return t.each(Sink.Flush) }

func (t tee) Close() error { return t.each(Sink.Close) }

func (t tee) each(do func(Sink) error) (err error) {
	for _, s := range t {
		err = errors.Join(err, do(s))
	}
	return err
}

// Limit returns a Sink that gives the first n events to sink and wants no more;
// n is more than 0.
func Limit(sink Sink, n uint64) Sink { return &limit{sink, n} }

type limit struct {
	Sink
	left uint64
}

func (l *limit) Event(e *Event) error {
	if l.left == 0 {
		return ErrEnough
	}
	l.left--
	if err := l.Sink.Event(e); err != nil || l.left > 0 {
		return err
	}
	return ErrEnough
}
