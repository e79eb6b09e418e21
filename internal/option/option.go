// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package option implements the values of flags. Each parses what the user
// wrote, and says in one line what is wrong with it: a flag.Value without its
// zero.
package option

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
)

var errNotPositive = errors.New("must be more than 0")

// Duration is a time like 10s, 1m30s or 1.5; a bare number is seconds.
type Duration time.Duration

// Set parses s.
func (d *Duration) Set(s string) error {
	if strings.Trim(s, "-.0123456789") == "" {
		s += "s"
	}
	parsed, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return errors.New("not a time like 10s or 5m")
	case parsed <= 0:
		return errNotPositive
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

// Count is a number of events, 0 for no limit.
type Count uint64

// Set parses s, which must be more than 0.
func (n *Count) Set(s string) error {
	parsed, err := strconv.ParseUint(s, 10, 64)
	switch {
	case err != nil:
		return errors.New("not a number")
	case parsed == 0:
		return errNotPositive
	}
	*n = Count(parsed)
	return nil
}

// String is empty for no limit.
func (n *Count) String() string {
	if *n == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(*n), 10)
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
		return fmt.Errorf("larger than %s", formatSize(n.Max))
	}
	n.Bytes = max(n.Min, 1<<bits.Len64(uint64(bytes-1)))
	return nil
}

func (n *Size) String() string { return formatSize(n.Bytes) }

func formatSize(bytes int) string {
	return units.CustomSize("%.4g%s", float64(bytes), 1024, []string{"", "K", "M", "G"})
}

// Choice is one of a few words; the first is the default.
type Choice struct {
	Word  string
	words []string
	also  map[string]string // other names of words
}

// NewChoice makes a Choice of words.
func NewChoice[W ~string](words ...W) *Choice {
	c := &Choice{Word: string(words[0])}
	for _, w := range words {
		c.words = append(c.words, string(w))
	}
	return c
}

// Also makes name another name of word.
func (c *Choice) Also(name, word string) *Choice {
	if c.also == nil {
		c.also = make(map[string]string)
	}
	c.also[name] = word
	return c
}

// Set takes s if it is one of the words, in upper or lower case.
func (c *Choice) Set(s string) error {
	s = strings.ToLower(s)
	if word, ok := c.also[s]; ok {
		s = word
	}
	for _, w := range c.words {
		if s == w {
			c.Word = w
			return nil
		}
	}
	return fmt.Errorf("not one of %s", strings.Join(c.words, ", "))
}

func (c *Choice) String() string { return c.Word }

// Words returns what there is to choose from.
func (c *Choice) Words() []string { return c.words }

// Path is the path of a file, empty for none.
type Path string

// Set takes any s but the empty one.
func (p *Path) Set(s string) error {
	if s == "" {
		return errors.New("empty")
	}
	*p = Path(s)
	return nil
}

func (p *Path) String() string { return string(*p) }

// Text is any text that is not empty.
type Text string

// Set sets the text.
func (t *Text) Set(s string) error {
	if s == "" {
		return errors.New("it is empty")
	}
	*t = Text(s)
	return nil
}

func (t *Text) String() string { return string(*t) }
