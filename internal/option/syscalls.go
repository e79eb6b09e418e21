// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package option

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/copenclose/copenclose/bpf"
)

// Syscalls is a List of syscalls and groups of them, and with a ! before it, of
// those to leave out. A word that is both is the group.
type Syscalls struct {
	only, not []string
	whole     []string // those of only that are not there for what they close
	words     []string
}

// All is the group of all syscalls that can be traced.
const All = "all"

// Set adds the syscalls of s, in upper or lower case.
func (y *Syscalls) Set(s string) error {
	return eachWord(s, func(word string) error {
		name, negated := strings.CutPrefix(strings.ToLower(word), "!")
		var names, whole []string
		for _, s := range bpf.Syscalls {
			if !s.Exists() || !stands(name, s) {
				continue
			}
			names = append(names, s.Name)
			if !s.OnlyCloses || name != s.Group {
				whole = append(whole, s.Name)
			}
		}
		if names == nil {
			return fmt.Errorf("not traced: there are %s, and the groups %s",
				strings.Join(every(), ", "), strings.Join(groups(), ", "))
		}
		if negated {
			y.not = append(y.not, names...)
		} else {
			y.only, y.whole = append(y.only, names...), append(y.whole, whole...)
		}
		if len(y.Names()) == 0 {
			return errors.New("no syscall is left")
		}
		y.words = append(y.words, word)
		return nil
	})
}

// stands reports whether name stands for a syscall.
func stands(name string, s bpf.Syscall) bool {
	return name == All || name == s.Name || name == s.Group || slices.Contains(s.Also, name)
}

func (y *Syscalls) String() string { return strings.Join(y.words, ",") }

// Words returns what an entry can be, without a !.
func (y *Syscalls) Words() (words []string) {
	words = groups()
	for _, name := range every() {
		if !slices.Contains(words, name) {
			words = append(words, name)
		}
	}
	return words
}

// Names are the syscalls that are left, of those that are traced by default for an
// empty list.
func (y *Syscalls) Names() (names []string) {
	for _, s := range bpf.Syscalls {
		wanted := slices.Contains(y.only, s.Name) || len(y.only) == 0 && s.ByDefault
		if s.Exists() && wanted && !slices.Contains(y.not, s.Name) {
			names = append(names, s.Name)
		}
	}
	return names
}

// OnlyCloses are those of Names that are there for what they close, and only for that.
func (y *Syscalls) OnlyCloses() (names []string) {
	for _, s := range bpf.Syscalls {
		if s.OnlyCloses && slices.Contains(y.Names(), s.Name) && !slices.Contains(y.whole, s.Name) {
			names = append(names, s.Name)
		}
	}
	return names
}

// every returns the names of all syscalls that can be traced.
func every() (names []string) {
	for _, s := range bpf.Syscalls {
		if s.Exists() {
			names = append(names, s.Name)
		}
	}
	return names
}

func groups() (names []string) {
	names = append(names, All)
	for _, s := range bpf.Syscalls {
		for _, group := range append(s.Also, s.Group) {
			if s.Exists() && !slices.Contains(names, group) && isGroup(group) {
				names = append(names, group)
			}
		}
	}
	return names
}

// isGroup reports whether a name stands for more than the syscall of this name.
func isGroup(name string) bool {
	return slices.ContainsFunc(bpf.Syscalls[:], func(s bpf.Syscall) bool { return s.Name != name && stands(name, s) })
}
