// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import (
	"slices"
	"sync/atomic"
)

// A mailbox carries values from any goroutine to one. Neither side waits for
// the other, and nothing is left out when the other is slow.
type mailbox[T any] struct {
	last atomic.Pointer[letter[T]]
	bell chan struct{} // rings after put; nil where nobody listens
}

type letter[T any] struct {
	value  T
	before *letter[T]
}

func (m *mailbox[T]) put(value T) {
	l := &letter[T]{value: value}
	for {
		l.before = m.last.Load()
		if m.last.CompareAndSwap(l.before, l) {
			break
		}
	}
	select {
	case m.bell <- struct{}{}:
	default:
	}
}

func (m *mailbox[T]) empty() bool { return m.last.Load() == nil }

// take returns what was put since it was last called, oldest first.
func (m *mailbox[T]) take() []T {
	var values []T
	for l := m.last.Swap(nil); l != nil; l = l.before {
		values = append(values, l.value)
	}
	slices.Reverse(values)
	return values
}
