// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package option implements the values of flags. Each parses what the user
// wrote and says in one line what is wrong with it; each is a cli.Generic.
package option

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/container"
	"github.com/copenclose/copenclose/internal/names"
)

// Duration is a time like 10s or 1m30s; a bare number is seconds.
type Duration time.Duration

// Set parses s.
func (d *Duration) Set(s string) error {
	if strings.Trim(s, "0123456789") == "" {
		s += "s"
	}
	parsed, err := time.ParseDuration(s)
	if err != nil || parsed <= 0 {
		return errors.New("not a time like 10s or 5m")
	}
	*d = Duration(parsed)
	return nil
}

// String is empty for no time.
func (d *Duration) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

// Size is a number of bytes, like 8M, made a power of two.
type Size struct{ Bytes, Min, Max int }

// Set parses s.
func (n *Size) Set(s string) error {
	bytes, err := units.RAMInBytes(s)
	if err != nil || bytes <= 0 {
		return errors.New("not a size like 8M")
	}
	if bytes > int64(n.Max) {
		return fmt.Errorf("larger than %s", short(n.Max))
	}
	n.Bytes = max(n.Min, 1<<bits.Len64(uint64(bytes-1)))
	return nil
}

func (n *Size) String() string { return short(n.Bytes) }

func short(bytes int) string {
	return units.CustomSize("%.4g%s", float64(bytes), 1024, []string{"", "K", "M", "G"})
}

// Choice is one of a few words; the first is the default.
type Choice struct {
	Word  string
	words []string
}

// NewChoice makes a Choice of words.
func NewChoice[W ~string](words ...W) *Choice {
	c := &Choice{Word: string(words[0])}
	for _, w := range words {
		c.words = append(c.words, string(w))
	}
	return c
}

// Set takes s if it is one of the words.
func (c *Choice) Set(s string) error {
	for _, w := range c.words {
		if s == w {
			c.Word = w
			return nil
		}
	}
	return fmt.Errorf("not one of %s", strings.Join(c.words, ", "))
}

func (c *Choice) String() string { return c.Word }

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

// each calls add for the words of a list.
func each(list string, add func(word string) error) error {
	for word := range strings.SplitSeq(list, ",") {
		if word = strings.TrimSpace(word); word == "" {
			return errors.New("an entry of the list is empty")
		}
		if err := add(word); err != nil {
			return err
		}
	}
	return nil
}

// Numbers is a List of numbers of 32 bits.
type Numbers []uint32

// Set adds the numbers of s.
func (n *Numbers) Set(s string) error {
	return each(s, func(word string) error {
		number, err := strconv.ParseUint(word, 10, 32)
		if err != nil {
			return fmt.Errorf("%q is not a number", word)
		}
		*n = append(*n, uint32(number))
		return nil
	})
}

// String is empty, which Set refuses: urfave/cli sets a flag by its other name to
// the text that it has by the one, and would add the list again.
func (n *Numbers) String() string { return "" }

// Errnos is a List of errno names, as numbers.
type Errnos []uint32

// Set adds the errnos of s.
func (e *Errnos) Set(s string) error {
	return each(s, func(word string) error {
		errno := names.Errno(strings.ToUpper(word))
		if errno == 0 {
			return fmt.Errorf("%q is no errno like ENOENT", word)
		}
		*e = append(*e, errno)
		return nil
	})
}

func (e *Errnos) String() string { return "" }

// Comms is a List of thread names, or with a * at their end, beginnings.
type Comms []string

// commMax is the length of the longest name; TASK_COMM_LEN with its NUL is 16.
const commMax = 15

// Set adds the names of s.
func (c *Comms) Set(s string) error {
	return each(s, func(word string) error {
		name := strings.TrimSuffix(word, "*")
		switch {
		case len(name) > commMax:
			return fmt.Errorf("%q is longer than %d bytes, which no thread's name is", name, commMax)
		case strings.Contains(name, "*"):
			return fmt.Errorf("%q: a * can only be at the end", word)
		}
		*c = append(*c, word)
		return nil
	})
}

// String is empty as that of Numbers is.
func (c *Comms) String() string { return "" }

// Paths is a List of beginnings of paths.
type Paths []string

// Set adds the paths of s.
func (p *Paths) Set(s string) error {
	return each(s, func(word string) error {
		if len(word) > bpf.PrefixMax {
			return fmt.Errorf("a beginning of a path can have %d bytes, not %d", bpf.PrefixMax, len(word))
		}
		*p = append(*p, word)
		return nil
	})
}

func (p *Paths) String() string { return strings.Join(*p, ",") }

// Syscalls is a List of syscalls and groups of them, and with a ! before it, of
// those to leave out. A word that is both is the group.
type Syscalls struct{ only, not []string }

// Set adds the syscalls of s.
func (y *Syscalls) Set(s string) error {
	return each(s, func(word string) error {
		name, negated := strings.CutPrefix(word, "!")
		var names []string
		for _, s := range bpf.Syscalls {
			if s.Exists() && (s.Name == name || s.Group == name) {
				names = append(names, s.Name)
			}
		}
		if names == nil {
			return fmt.Errorf("%q is not traced: there are %s", name, strings.Join((&Syscalls{}).Names(), ", "))
		}
		if negated {
			y.not = append(y.not, names...)
		} else {
			y.only = append(y.only, names...)
		}
		if len(y.Names()) == 0 {
			return errors.New("no syscall is left")
		}
		return nil
	})
}

func (y *Syscalls) String() string { return "" }

// Names are the syscalls that are left, all for an empty list.
func (y *Syscalls) Names() (names []string) {
	for _, s := range bpf.Syscalls {
		if s.Exists() && (len(y.only) == 0 || slices.Contains(y.only, s.Name)) && !slices.Contains(y.not, s.Name) {
			names = append(names, s.Name)
		}
	}
	return names
}

// Cgroups is a List of cgroups, each an id or a path.
type Cgroups []string

// Set adds the cgroups of s.
func (c *Cgroups) Set(s string) error {
	return each(s, func(word string) error {
		if len(*c) == bpf.CgroupsMax {
			return fmt.Errorf("more than %d cgroups", bpf.CgroupsMax)
		}
		*c = append(*c, word)
		return nil
	})
}

func (c *Cgroups) String() string { return strings.Join(*c, ",") }

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

func (c *Containers) String() string { return strings.Join(c.patterns, ",") }
