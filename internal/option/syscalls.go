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
	words     []string
}

// Set adds the syscalls of s, in upper or lower case.
func (y *Syscalls) Set(s string) error {
	return eachWord(s, func(word string) error {
		name, negated := strings.CutPrefix(strings.ToLower(word), "!")
		var names []string
		for _, s := range bpf.Syscalls {
			if s.Exists() && (s.Name == name || s.Group == name) {
				names = append(names, s.Name)
			}
		}
		if names == nil {
			return fmt.Errorf("not traced: there are %s, and the groups %s",
				strings.Join((&Syscalls{}).Names(), ", "), strings.Join(groups(), ", "))
		}
		if negated {
			y.not = append(y.not, names...)
		} else {
			y.only = append(y.only, names...)
		}
		if len(y.Names()) == 0 {
			return errors.New("no syscall is left")
		}
		y.words = append(y.words, word)
		return nil
	})
}

func (y *Syscalls) String() string { return strings.Join(y.words, ",") }

// Words returns what an entry can be, without a !.
func (y *Syscalls) Words() []string { return append(groups(), (&Syscalls{}).Names()...) }

// Names are the syscalls that are left, all for an empty list.
func (y *Syscalls) Names() (names []string) {
	for _, s := range bpf.Syscalls {
		if s.Exists() && (len(y.only) == 0 || slices.Contains(y.only, s.Name)) && !slices.Contains(y.not, s.Name) {
			names = append(names, s.Name)
		}
	}
	return names
}

func groups() (names []string) {
	for _, s := range bpf.Syscalls {
		if s.Exists() && !slices.Contains(names, s.Group) {
			names = append(names, s.Group)
		}
	}
	return names
}
