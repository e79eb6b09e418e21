// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stack"
)

// A Site is where in a program descriptors are made: calls that have the same stack.
type Site struct {
	Call  string // as it is in bpf.Creators
	Stack *stack.Stack
	Noted int // calls of which the stack was taken
	Open  int // what these made, in the last snapshot
	here  map[*Series]int
}

// madeAt is a descriptor of which the stack is known.
type madeAt struct {
	time uint64 // of its birth, which tells it from others that are the same identity later
	site *Site
}

// madeMax is of how many descriptors at once that is remembered.
const madeMax = 1 << 17

// At is the function that people look for: the innermost one that is not of the C library
// or of Go's, also where the C library is a part of the program.
func (s *Site) At() string {
	for i := range s.Stack.Frames {
		f := &s.Stack.Frames[i]
		if wrapper := strings.TrimLeft(f.Function, "_"); i == 0 && wrapper != "" && (strings.HasPrefix(s.Call, wrapper) || strings.HasPrefix(wrapper, s.Call)) {
			continue // open for openat
		}
		if !f.IsLibrary && !f.IsGuess && (f.Function != "" || i > 0) {
			return frameName(f)
		}
	}
	if len(s.Stack.Frames) == 0 {
		return ""
	}
	return frameName(&s.Stack.Frames[len(s.Stack.Frames)-1])
}

// frameName is the function of a frame, or where it is.
func frameName(f *stack.Frame) string {
	if f.Function != "" {
		return escaped([]byte(f.Function))
	}
	return frameAddress(f)
}

func frameAddress(f *stack.Frame) string {
	if f.Module == "" {
		return fmt.Sprintf("%#x", f.Offset)
	}
	return fmt.Sprintf("%s+%#x", escaped([]byte(f.Module)), f.Offset)
}

// siteKey is the same for calls that have the same stack.
func siteKey(c *stack.Call) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d", c.Creator)
	for i := range c.Stack.Frames {
		f := &c.Stack.Frames[i]
		fmt.Fprintf(&b, "|%s+%x", f.Module, f.Offset)
	}
	return b.String()
}

// Called adds calls whose stacks are known. The snapshots that are added later say which of
// the descriptors that they made are still open.
func (w *Watch) Called(calls []stack.Call) {
	if len(calls) == 0 {
		return
	}
	byTable := make(map[uint64]*process)
	for key, p := range w.processes {
		if !p.hasEnded {
			byTable[key.table] = p
		}
	}
	for i := range calls {
		c := &calls[i]
		p := byTable[c.Table]
		if p == nil || c.Time < p.table.Started || len(w.madeAt) >= madeMax {
			continue
		}
		site := p.siteOf(c)
		site.Noted++
		w.madeAt[identity{c.Table, c.File, c.FD}] = madeAt{c.Time, site}
	}
}

// sitesMax is how many sites of a process there are at most: a stack of each costs.
const sitesMax = 1000

func (p *process) siteOf(c *stack.Call) *Site {
	key := siteKey(c)
	site := p.sites[key]
	if site == nil {
		if len(p.sites) >= sitesMax {
			key = "" // one for all others
			if site = p.sites[key]; site != nil {
				return site
			}
		}
		site = &Site{Call: creator(1 + c.Creator), Stack: c.Stack, here: make(map[*Series]int)}
		p.sites[key] = site
	}
	return site
}

// forgetOpen begins to count anew what is open of each site.
func (w *Watch) forgetOpen() {
	for _, p := range w.processes {
		for _, site := range p.sites {
			site.Open = 0
			clear(site.here)
		}
	}
}

// find notes that a descriptor is open, if its stack is known. Series is nil where the
// filter leaves it out.
func (w *Watch) find(id identity, origin Origin, series *Series, still map[identity]madeAt) {
	made, ok := w.madeAt[id]
	if !ok || made.time != origin.Since {
		return
	}
	still[id] = made
	made.site.Open++
	if series != nil {
		made.site.here[series]++
	}
}

// findOthers finds what is open of a process that the filter leaves out.
func (w *Watch) findOthers(h *Holding, matching map[identity]*Series, still map[identity]madeAt) {
	if len(w.madeAt) == 0 || len(h.Matching) == len(h.Descriptors) {
		return
	}
	for _, d := range h.Descriptors {
		if id := d.identity(); matching[id] == nil {
			w.find(id, d.Origin(w.times[0], w.first[id]), nil, still)
		}
	}
}

// remember forgets what is not open any more. What was made while the tables were read can
// be missing from them.
func (w *Watch) remember(still map[identity]madeAt, since uint64) {
	for id, made := range w.madeAt {
		if made.time >= since {
			still[id] = made
		}
	}
	w.madeAt = still
}

// Sites are those at which what is still open of a series was made, that with most first.
func (s *Series) Sites() (sites []*Site) {
	for _, site := range s.process.sites {
		if site.here[s] > 0 {
			sites = append(sites, site)
		}
	}
	slices.SortFunc(sites, func(a, b *Site) int {
		return cmp.Or(cmp.Compare(b.here[s], a.here[s]), cmp.Compare(b.Noted, a.Noted), cmp.Compare(a.At(), b.At()), cmp.Compare(a.Call, b.Call))
	})
	return sites
}

// makersMax is of how many calls stacks are taken at once.
const makersMax = 64

// Makers are the calls that make what becomes more, those of what grows first.
func (w *Watch) Makers() map[bpf.Maker]bool {
	makers := make(map[bpf.Maker]bool)
	for _, s := range w.Suspects() {
		if s.HasEnded || !s.IsNotable() && s.Open() <= s.Counts[0] {
			continue
		}
		for call := range s.By {
			i := slices.Index(bpf.Creators[:], call)
			if i >= 0 && len(makers) < makersMax {
				makers[bpf.Maker{PID: s.Table.PID, Creator: uint32(i)}] = true
			}
		}
	}
	return makers
}
