// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package selection has the list that every filter is: of what is wanted, and of what
// is not.
package selection

import (
	"fmt"
	"strings"
)

// List lets pass what is in Only, or if that is empty, everything; but not what is in
// Except. Where entries of both match, because they are beginnings, the longest decides.
type List[T any] struct{ Only, Except []T }

// Of returns a list of what is wanted.
func Of[T any](only ...T) List[T] { return List[T]{Only: only} }

// Len is how many entries there are.
func (l *List[T]) Len() int { return len(l.Only) + len(l.Except) }

// Passes reports whether the list lets something pass. match returns how long the part
// is that an entry matches, 0 for none of it.
func (l *List[T]) Passes(match func(entry T) int) bool {
	only, except := longest(l.Only, match), longest(l.Except, match)
	if only == 0 && except == 0 {
		return len(l.Only) == 0
	}
	return only > except
}

func longest[T any](entries []T, match func(entry T) int) (length int) {
	for _, entry := range entries {
		length = max(length, match(entry))
	}
	return length
}

// String returns the entries, those of Except after a !.
func (l *List[T]) String() string {
	var words []string
	for _, entry := range l.Only {
		words = append(words, fmt.Sprint(entry))
	}
	for _, entry := range l.Except {
		words = append(words, "!"+fmt.Sprint(entry))
	}
	return strings.Join(words, ",")
}
