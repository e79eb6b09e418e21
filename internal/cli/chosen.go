// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"log"
	"slices"
	"strings"
	"sync"

	"github.com/copenclose/copenclose/internal/option"
	"github.com/copenclose/copenclose/internal/stream"
)

// chosen notes which patterns of --container match nothing, since a wrong name would
// look like a container that does nothing.
type chosen struct {
	matches func(*stream.Container) bool

	mu        sync.Mutex
	unmatched map[string]func(*stream.Container) bool // by pattern
	names     []string                                // of containers, at most namesMax
}

// namesMax bounds what is remembered to find a name that is like a pattern.
const namesMax = 1000

func watch(patterns *option.Containers, matches func(*stream.Container) bool) *chosen {
	return &chosen{matches: matches, unmatched: patterns.Each()}
}

// match reports whether c is chosen. It may be called by any goroutine.
func (w *chosen) match(c *stream.Container) bool {
	if c != nil {
		w.see(c)
	}
	return w.matches(c)
}

func (w *chosen) see(c *stream.Container) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for pattern, matches := range w.unmatched {
		if matches(c) {
			delete(w.unmatched, pattern)
		}
	}
	if c.Name != "" && len(w.names) < namesMax && !slices.Contains(w.names, c.Name) {
		w.names = append(w.names, c.Name)
	}
}

// remark says which patterns have matched nothing so far.
func (w *chosen) remark(to *log.Logger, noNames bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for pattern := range w.unmatched {
		hint := "copenclose containers lists them"
		if noNames {
			hint = "with --no-runtime only ids and hostnames can"
		} else if nearest := option.Nearest(pattern, w.names); nearest != "" {
			hint = "did you mean " + strings.TrimSpace(nearest) + "?"
		}
		to.Printf("no container matches %q yet; %s", pattern, hint)
	}
}
