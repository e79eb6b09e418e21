// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/google/pprof/profile"

	"github.com/copenclose/copenclose/internal/stack"
)

// A leak is a place in a process's program, with what was made there and is still open.
type leak struct {
	process *process
	site    *Site
	open    int
}

// leaks are all such places, those of one process together.
func (w *Watch) leaks() (leaks []leak) {
	for _, p := range w.processes {
		for _, site := range p.sites {
			open := 0
			for _, n := range site.here {
				open += n
			}
			if open > 0 {
				leaks = append(leaks, leak{p, site, open})
			}
		}
	}
	slices.SortFunc(leaks, func(a, b leak) int {
		return cmp.Or(cmp.Compare(a.process.table.PID, b.process.table.PID), cmp.Compare(b.open, a.open),
			cmp.Compare(a.site.At(), b.site.At()), cmp.Compare(a.site.Call, b.site.Call))
	})
	return leaks
}

// owner names the process in a flame graph.
func (l *leak) owner() string {
	t := l.process.table
	name := fmt.Sprintf("%s (%d)", escaped(t.Comm()), t.PID)
	if container := label(t.Container, t.IsKnown); container != none {
		return container + " " + name
	}
	return name
}

// WriteFolded writes a line for each place, as tools for flame graphs take them: process,
// frames with the outermost first, call, and how many of those that were noted are open.
func (w *Watch) WriteFolded(out io.Writer) error {
	b := bufio.NewWriter(out)
	fold := func(name string) string { return strings.NewReplacer(";", ":", "\n", " ").Replace(name) }
	for _, l := range w.leaks() {
		b.WriteString(fold(l.owner()))
		for _, f := range slices.Backward(l.site.Stack.Frames) {
			b.WriteString(";" + fold(frameName(&f)))
		}
		fmt.Fprintf(b, ";%s %d\n", l.site.Call, l.open)
	}
	return b.Flush()
}

// WriteProfile writes the same as pprof reads it, compressed: of each place how many are
// open, and how many were noted.
func (w *Watch) WriteProfile(out io.Writer, at time.Time) error {
	p := &profile.Profile{
		SampleType:        []*profile.ValueType{{Type: "open", Unit: "count"}, {Type: "noted", Unit: "count"}},
		DefaultSampleType: "open",
		TimeNanos:         at.UnixNano(),
	}
	if len(w.times) > 0 {
		p.DurationNanos = int64(w.times[len(w.times)-1] - w.times[0])
	}
	known := &profileParts{profile: p, mappings: make(map[string]*profile.Mapping), functions: make(map[string]*profile.Function), locations: make(map[string]*profile.Location)}
	for _, l := range w.leaks() {
		sample := &profile.Sample{
			Value: []int64{int64(l.open), int64(l.site.Noted)},
			Label: map[string][]string{"process": {l.owner()}, "call": {l.site.Call}},
		}
		for i := range l.site.Stack.Frames {
			sample.Location = append(sample.Location, known.location(&l.site.Stack.Frames[i]))
		}
		p.Sample = append(p.Sample, sample)
	}
	return p.Write(out)
}

// profileParts are those of a profile that samples share.
type profileParts struct {
	profile   *profile.Profile
	mappings  map[string]*profile.Mapping
	functions map[string]*profile.Function
	locations map[string]*profile.Location
}

func (k *profileParts) location(f *stack.Frame) *profile.Location {
	key := fmt.Sprintf("%s %s %#x %s", f.Module, f.BuildID, f.Offset, f.Function)
	if l := k.locations[key]; l != nil {
		return l
	}
	l := &profile.Location{
		ID: uint64(len(k.profile.Location) + 1), Address: f.Offset, Mapping: k.mapping(f),
		Line: []profile.Line{{Function: k.function(f), Line: int64(f.Line)}},
	}
	k.locations[key] = l
	k.profile.Location = append(k.profile.Location, l)
	return l
}

// mapping is a file. Where it lay in memory differs between processes, and addresses are
// those in the file, so it begins at 0.
func (k *profileParts) mapping(f *stack.Frame) *profile.Mapping {
	key := f.Module + " " + f.BuildID
	if m := k.mappings[key]; m != nil {
		return m
	}
	m := &profile.Mapping{
		ID: uint64(len(k.profile.Mapping) + 1), Limit: 1 << 63, File: escaped([]byte(f.Module)), BuildID: f.BuildID,
		HasFunctions: true, HasFilenames: true, HasLineNumbers: true,
	}
	k.mappings[key] = m
	k.profile.Mapping = append(k.profile.Mapping, m)
	return m
}

func (k *profileParts) function(f *stack.Frame) *profile.Function {
	name := frameName(f)
	key := name + " " + f.File
	if found := k.functions[key]; found != nil {
		return found
	}
	found := &profile.Function{ID: uint64(len(k.profile.Function) + 1), Name: name, SystemName: escaped([]byte(f.Function)), Filename: escaped([]byte(f.File))}
	k.functions[key] = found
	k.profile.Function = append(k.profile.Function, found)
	return found
}
