// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package option

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/container"
	"github.com/copenclose/copenclose/internal/selection"
)

// EntryError says what is wrong with an entry of a list.
type EntryError struct {
	Entry string
	Err   error
}

func (e *EntryError) Error() string { return fmt.Sprintf("%q: %v", e.Entry, e.Err) }

func (e *EntryError) Unwrap() error { return e.Err }

// each calls add for the entries of a list with commas between them.
func each(list string, add func(entry string) error) error {
	for entry := range strings.SplitSeq(list, ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			return errors.New("an entry of the list is empty")
		}
		if err := add(entry); err != nil {
			return &EntryError{entry, err}
		}
	}
	return nil
}

// eachWord is each for entries without blanks in them, which may as well stand
// between them: pidof prints such a list.
func eachWord(list string, add func(word string) error) error {
	list = strings.TrimSpace(list)
	separates := func(r rune) bool { return r == ',' || unicode.IsSpace(r) }
	if strings.ContainsFunc(list, unicode.IsSpace) && !strings.Contains(list, ",,") {
		list = strings.Join(strings.FieldsFunc(list, separates), ",")
	}
	return each(list, add)
}

// Selection is a list of what is wanted and, after a !, of what is not.
type Selection[T any] struct{ selection.List[T] }

// add parses the entries of list, which split finds.
func (s *Selection[T]) add(split func(list string, add func(entry string) error) error, list string, parse func(word string) (T, error)) error {
	return split(list, func(entry string) error {
		word, except := strings.CutPrefix(entry, "!")
		if word = strings.TrimSpace(word); word == "" {
			return errors.New("a ! with nothing after it")
		}
		parsed, err := parse(word)
		if err != nil {
			return err
		}
		if except {
			s.Except = append(s.Except, parsed)
		} else {
			s.Only = append(s.Only, parsed)
		}
		return nil
	})
}

// List is words with commas between them. A flag that is given again adds to it.
type List []string

// Set adds the words of s.
func (l *List) Set(s string) error {
	return each(s, func(word string) error {
		*l = append(*l, word)
		return nil
	})
}

func (l *List) String() string { return strings.Join(*l, ",") }

// Sockets is a List of unix sockets. A unix:// before them is left out.
type Sockets []string

// Set adds the sockets of s.
func (l *Sockets) Set(s string) error {
	return each(s, func(word string) error {
		socket := strings.TrimPrefix(word, "unix://")
		if scheme, _, ok := strings.Cut(socket, "://"); ok {
			return fmt.Errorf("only unix sockets can be asked, not %s", scheme)
		}
		if socket == "" {
			return errors.New("no path of a socket")
		}
		*l = append(*l, socket)
		return nil
	})
}

func (l *Sockets) String() string { return strings.Join(*l, ",") }

// Comms is a Selection of thread names, or with a * at their end, beginnings.
type Comms struct{ Selection[string] }

// commMax is the length of the longest name; TASK_COMM_LEN with its NUL is 16.
const commMax = 15

// Set adds the names of s.
func (c *Comms) Set(s string) error {
	return c.add(each, s, func(word string) (string, error) {
		name := strings.TrimSuffix(word, "*")
		switch {
		case len(name) > commMax:
			return "", fmt.Errorf("a thread's name has at most %d bytes", commMax)
		case strings.Contains(name, "*"):
			return "", errors.New("a * can only be at the end; for other patterns, use -o json and jq")
		case c.Len() == bpf.CommsMax:
			return "", fmt.Errorf("more than %d names", bpf.CommsMax)
		}
		return word, nil
	})
}

// Paths is a Selection of beginnings of paths. A * at their end is left out.
type Paths struct{ Selection[string] }

// Set adds the paths of s.
func (p *Paths) Set(s string) error {
	return p.add(each, s, func(word string) (string, error) {
		path := strings.TrimRight(word, "*")
		switch {
		case path == "":
			return "", errors.New("every path begins so")
		case strings.Contains(path, "*"):
			return "", errors.New("paths are chosen by their beginnings; a * can only be at the end")
		case strings.HasPrefix(path, "~"):
			return "", errors.New("no shell has replaced the ~; write $HOME, or leave out the quotes")
		case len(path) > bpf.PrefixMax:
			return "", fmt.Errorf("the beginning of a path can have %d bytes, not %d", bpf.PrefixMax, len(path))
		case p.Len() == bpf.PathsMax:
			return "", fmt.Errorf("more than %d paths", bpf.PathsMax)
		}
		return path, nil
	})
}

// Cgroups is a Selection of cgroups, each an id or a path.
type Cgroups struct{ Selection[string] }

// Set adds the cgroups of s.
func (c *Cgroups) Set(s string) error {
	return c.add(each, s, func(word string) (string, error) {
		if c.Len() == bpf.CgroupsMax {
			return "", fmt.Errorf("more than %d cgroups", bpf.CgroupsMax)
		}
		return word, nil
	})
}

// Containers is a List of patterns that a container must match, or with a ! before
// them must not; see container.Match.
type Containers struct {
	Match    func(*container.Container) bool // nil for an empty list
	patterns []string
}

// Set adds the patterns of s.
func (c *Containers) Set(s string) (err error) {
	c.patterns = append(c.patterns, s)
	c.Match, err = container.Match(c.patterns)
	return err
}

// Each returns what a container must be like to match one pattern, by pattern. Those
// that leave out are not among them.
func (c *Containers) Each() map[string]func(*container.Container) bool {
	each := make(map[string]func(*container.Container) bool)
	for _, list := range c.patterns {
		for pattern := range strings.SplitSeq(list, ",") {
			pattern = strings.TrimSpace(pattern)
			if match, err := container.Match([]string{pattern}); err == nil && !strings.HasPrefix(pattern, "!") {
				each[pattern] = match
			}
		}
	}
	return each
}

func (c *Containers) String() string { return strings.Join(c.patterns, ",") }
