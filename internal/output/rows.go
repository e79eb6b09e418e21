// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stream"
)

// A style is how fields become a line: cells, each with a separator of one byte behind
// it. That behind the last cell is replaced by what ends the line.
type style interface {
	// header appends what comes before all lines.
	header(b []byte) []byte
	// line returns what lines are made of.
	line() lineStyle
}

// lineStyle is what the lines of a style are made of.
type lineStyle struct {
	first     byte                       // 0 for none
	color     func(*stream.Event) string // nil for none
	cells     []cell
	separator byte
	end       string
	wider     *int // how often cells of before have become wider, nil for never
}

// cell is a part of a line: one field, or several that depend on the same.
type cell struct {
	facets facet
	calls  func(bpf.Syscall) bool // nil: it is in the lines of all syscalls
	when   condition              // else there is nothing to append
	append func(b []byte, e *stream.Event) []byte
}

// rows is a format of one line for each event, with the same cells in each.
type rows struct {
	lineStyle
	style style
	clock *clock
	plans [][targetsMax]*plan // by syscall and target, nil until there is such a line
	epoch int                 // how often the buffer was emptied

	lineMax int // more than the longest line
}

// targetsMax is more than there are targets.
const targetsMax = 16

// plan is what the lines about one syscall and target are made of. Most of them are much
// like the one before: cells that are the same are copied from it, as long as it is in
// the buffer.
type plan struct {
	groups []group
	// hasConditions says that some cells need traits.
	hasConditions bool
	before        line
	// ways are the steps to a line, by what has changed, nil until that has happened.
	ways [everything + 1][]step
}

// step appends a group, or copies several that follow each other.
type step struct {
	copies      bool
	first, last int // groups
	cells       []cell
}

// way finds out the steps to a line in which this has changed.
func (p *plan) way(changed facet) (steps []step) {
	for i, g := range p.groups {
		n := len(steps)
		switch copies := g.facets&changed == 0; {
		case copies && n > 0 && steps[n-1].copies:
			steps[n-1].last = i
		case copies:
			steps = append(steps, step{copies: true, first: i, last: i})
		default:
			steps = append(steps, step{first: i, last: i, cells: g.cells})
		}
	}
	p.ways[changed] = steps
	return steps
}

// group is cells that follow each other and depend on the same.
type group struct {
	facets facet
	cells  []cell
	end    int // in the line before, from its start, with the separator
}

// line is what was written for an event.
type line struct {
	start     int // in the buffer
	epoch     int // of the buffer, and of the widths of cells
	event     bpf.Event
	second    int64
	ppid      uint32
	fd        int32
	lastFD    uint32
	flags     uint32
	mode      uint32
	resolve   uint64
	slotAfter uint32
	fileMode  uint16
	container *stream.Container
	program   *stream.Program
}

// newRows returns the format that writes lines in a style.
func newRows(s style, c *clock) *rows {
	r := &rows{lineStyle: s.line(), style: s, clock: c, plans: make([][targetsMax]*plan, len(bpf.Syscalls)), epoch: 1}
	if r.wider == nil {
		r.wider = new(int)
	}
	return r
}

// newPlan finds out which cells a line about a syscall and a target has.
func newPlan(cells []cell, syscall bpf.Syscall, target bpf.Target) *plan {
	p := &plan{}
	for _, c := range cells {
		var possible bool
		if c.when, possible = c.when.on(target); !possible || c.calls != nil && !c.calls(syscall) {
			continue
		}
		if n := len(p.groups); n == 0 || p.groups[n-1].facets != c.facets {
			p.groups = append(p.groups, group{facets: c.facets})
		}
		g := &p.groups[len(p.groups)-1]
		g.cells = append(g.cells, c)
		p.hasConditions = p.hasConditions || c.when.all != 0
	}
	return p
}

// header: see format.
func (r *rows) header(b []byte) []byte { return r.style.header(b) }

// longest: see format.
func (r *rows) longest() int { return r.lineMax }

// begin: see format. The lines before are not in the buffer any more.
func (r *rows) begin(b []byte) []byte {
	r.epoch++
	r.clock.adjust()
	return b
}

// event appends the line of an event.
func (r *rows) event(b []byte, e *stream.Event) []byte {
	var target bpf.Target
	var has trait
	if e.Details != nil {
		target = e.Details.Target % targetsMax
	}
	p := r.plans[e.Syscall][target]
	if p == nil {
		p = newPlan(r.cells, bpf.Syscalls[e.Syscall], target)
		r.plans[e.Syscall][target] = p
	}
	if p.hasConditions {
		has = traitsOf(e)
	}
	before := p.before.start
	changed := r.changed(&p.before, e)
	if r.color != nil {
		b = append(b, r.color(e)...)
	}
	start, from := len(b), 0 // where the group begins in the line before
	if r.first != 0 {
		b, from = append(b, r.first), 1
	}
	steps := p.ways[changed]
	if steps == nil {
		steps = p.way(changed)
	}
	for i := range steps {
		s := &steps[i]
		to := p.groups[s.last].end
		if !s.copies {
			for j := range s.cells {
				if c := &s.cells[j]; c.when.all&^has == 0 {
					b = c.append(b, e)
				}
			}
			p.groups[s.last].end = len(b) - start
		} else if to > from {
			if moved := len(b) - start - from; moved != 0 {
				for j := s.first; j <= s.last; j++ {
					p.groups[j].end += moved
				}
			}
			b = append(b, b[before+from:before+to]...)
			b[len(b)-1] = r.separator // the line before may have ended there
		} else {
			for j := s.first; j <= s.last; j++ {
				p.groups[j].end = len(b) - start
			}
		}
		from = to
	}
	p.before.start, p.before.epoch = start, r.epoch+*r.wider
	return append(b[:len(b)-1], r.end...)
}

// changed returns what is not as it was for the line before, and notes it.
func (r *rows) changed(before *line, e *stream.Event) (changed facet) {
	now := e.Event
	changed = ofCall
	if second := r.clock.sameSecond(now.Time); second != before.second || second == anyTime {
		changed |= ofTime
		before.second = second
	}
	if e.Container != before.container || e.Program != before.program {
		changed |= ofContainer
		before.container, before.program = e.Container, e.Program
	}
	if now.ABI != before.event.ABI {
		changed |= ofABI
		before.event.ABI = now.ABI
	}
	if now.Ret != before.event.Ret || now.Flags != before.event.Flags {
		changed |= ofResult
		before.event.Ret, before.event.Flags = now.Ret, now.Flags
	}
	if d := e.Details; d != nil {
		changed |= before.details(d)
	}
	if !now.SameCaller(&before.event) {
		changed |= ofCaller
		before.event = *now
	}
	if before.epoch != r.epoch+*r.wider {
		return everything
	}
	return changed
}

// everything is each facet: there is no line before.
const everything = ofTime | ofCaller | ofContainer | ofABI | ofResult | ofArguments | ofKind | ofCall

// details does the same for details.
func (l *line) details(d *bpf.Details) (changed facet) {
	if d.PPID != l.ppid {
		changed |= ofCaller
		l.ppid = d.PPID
	}
	if d.FD != l.fd || d.Flags != l.flags || d.Mode != l.mode || d.LastFD != l.lastFD || d.Resolve() != l.resolve || d.SlotAfter != l.slotAfter {
		changed |= ofArguments
		l.fd, l.flags, l.mode, l.lastFD, l.resolve, l.slotAfter = d.FD, d.Flags, d.Mode, d.LastFD, d.Resolve(), d.SlotAfter
	}
	// The kind of an anonymous inode is its name.
	if d.FileMode != l.fileMode || d.Target == bpf.TargetAnonymous {
		changed |= ofKind
		l.fileMode = d.FileMode
	}
	return changed
}
