// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/copenclose/copenclose/bpf"
)

// A Watch compares snapshots of what is open, to say what leaks. The kernel has noted
// births since before the first one.
type Watch struct {
	filter *Filter
	// keepEnded keeps what processes had that have ended.
	keepEnded bool
	times     []uint64             // of the snapshots
	first     map[identity]bool    // what was open in the first
	last      map[identity]*Series // and in the one before
	processes map[processKey]*process
	ended     int // how many of them have
	madeAt    map[identity]madeAt
}

// identity tells a descriptor from the next one with its number.
type identity struct {
	table, file uint64
	fd          uint32
}

// processKey tells a table from the next one at its address.
type processKey struct{ table, started uint64 }

// thing is what the descriptors of a series are of.
type thing struct{ kind, target string }

// process is a table over its time.
type process struct {
	table      *Table              // as it was last
	since      int                 // the snapshot in which it was there first
	counts     []int               // of all its descriptors
	before, at map[string]bpf.Made // by call
	series     map[thing]*Series
	sites      map[string]*Site
	hasEnded   bool
}

// A Series is how many descriptors of one thing a process had in each snapshot.
type Series struct {
	Kind, Target string
	State        string         // that most of them have, of connections
	Counts       []int          // since the snapshot in which the process was there first
	Appeared     int            // between snapshots; more can have come and gone
	Gone         int            // likewise
	By           map[string]int // how those that appeared were made
	Oldest       *Origin        // of what is open, nil if nothing is

	process *process
	states  map[string]int
}

// NewWatch returns a Watch of what f lets pass. With keepEnded it also keeps what
// processes had that have ended.
func NewWatch(f *Filter, keepEnded bool) *Watch {
	return &Watch{filter: f, keepEnded: keepEnded, processes: make(map[processKey]*process), madeAt: make(map[identity]madeAt)}
}

// Add adds a snapshot, and what each process has made so far.
func (w *Watch) Add(s *Snapshot, made map[bpf.Maker]bpf.Made) {
	w.times = append(w.times, s.Time)
	isFirst := len(w.times) == 1
	if isFirst {
		w.first = make(map[identity]bool)
	}
	now := make(map[identity]*Series)
	seen := make(map[*process]bool)
	groups := newGrouper(s)
	w.forgetOpen()
	still := make(map[identity]madeAt)
	for _, h := range s.holdings(w.filter) {
		p := w.process(h.Table, made)
		seen[p] = true
		for _, d := range h.Matching {
			id := d.identity()
			if isFirst {
				w.first[id] = true
			}
			series := p.seriesOf(thing{d.Kind(), groups.target(d)})
			now[id] = series
			origin := d.Origin(w.times[0], w.first[id])
			series.add(d, origin, !isFirst && w.last[id] == nil)
			w.find(id, origin, series, still)
		}
		w.findOthers(h, now, still)
	}
	for id, series := range w.last {
		if now[id] == nil && seen[series.process] {
			series.Gone++
		}
	}
	w.last = now
	w.remember(still, s.Time)
	if len(w.times) > timesMax {
		w.thin()
	}
	w.end(seen, made)
}

// End notes which processes have ended in s, which is no snapshot of its own: an interval
// that is shorter than the others would make growth look less.
func (w *Watch) End(s *Snapshot, made map[bpf.Maker]bpf.Made) {
	seen := make(map[*process]bool)
	for _, t := range s.Tables {
		if p := w.processes[processKey{t.Descriptor.Table, t.Started}]; p != nil {
			seen[p] = true
		}
	}
	w.end(seen, made)
}

// end notes which processes have ended since the snapshot before, and forgets those that
// are not worth keeping: there can be many that ran for a moment.
func (w *Watch) end(seen map[*process]bool, made map[bpf.Maker]bpf.Made) {
	for key, p := range w.processes {
		if seen[p] || p.hasEnded {
			continue
		}
		p.hasEnded = true
		if last := madeBy(p.table.PID, made); len(last) > 0 {
			p.at = last // what it made until its end
		}
		if !w.keepEnded || w.ended >= endedMax || !w.isNotable(p) {
			delete(w.processes, key)
			continue
		}
		w.ended++
	}
}

// endedMax is how many processes are kept that have ended.
const endedMax = 1000

func (w *Watch) isNotable(p *process) bool {
	for _, series := range p.series {
		if w.suspect(series).IsNotable() {
			return true
		}
	}
	return false
}

// timesMax is how many snapshots are kept: then every second one is forgotten. It is even,
// so that the first and the last of one more stay.
const timesMax = 128

func (w *Watch) thin() {
	w.times = everySecond(w.times, 0)
	for key, p := range w.processes {
		p.counts = everySecond(p.counts, p.since)
		for _, s := range p.series {
			s.Counts = everySecond(s.Counts, p.since)
		}
		if p.since = (p.since + 1) / 2; len(p.counts) == 0 {
			delete(w.processes, key) // one that has ended
			w.ended--
		}
	}
}

// everySecond returns the elements with even indices, of which the first has that index.
func everySecond[T any](list []T, first int) (kept []T) {
	for i := first % 2; i < len(list); i += 2 {
		kept = append(kept, list[i])
	}
	return kept
}

// process returns the process that has a table, and begins its next snapshot.
func (w *Watch) process(t *Table, made map[bpf.Maker]bpf.Made) *process {
	key := processKey{t.Descriptor.Table, t.Started}
	p := w.processes[key]
	if p == nil || p.hasEnded { // or had nothing open for a while
		p = &process{since: len(w.times) - 1, before: madeBy(t.PID, made), series: make(map[thing]*Series), sites: make(map[string]*Site)}
		w.processes[key] = p
	}
	p.table = t
	p.counts = append(p.counts, len(t.Descriptors))
	p.at = madeBy(t.PID, made)
	for of, s := range p.series {
		if s.Open() == 0 {
			delete(p.series, of)
			continue
		}
		s.Counts = append(s.Counts, 0)
		s.states, s.State, s.Oldest = nil, "", nil
	}
	return p
}

// madeBy returns what one process has made, by call.
func madeBy(pid uint32, made map[bpf.Maker]bpf.Made) map[string]bpf.Made {
	by := make(map[string]bpf.Made)
	for i, name := range bpf.Creators {
		if m, ok := made[bpf.Maker{PID: pid, Creator: uint32(i)}]; ok {
			by[name] = m
		}
	}
	return by
}

func (p *process) seriesOf(of thing) *Series {
	s := p.series[of]
	if s == nil {
		s = &Series{Kind: of.kind, Target: of.target, Counts: make([]int, len(p.counts)), By: make(map[string]int), process: p}
		p.series[of] = s
	}
	return s
}

// add counts d in the snapshot that was begun.
func (s *Series) add(d *Descriptor, origin Origin, isNew bool) {
	s.Counts[len(s.Counts)-1]++
	if isNew {
		s.Appeared++
		s.By[origin.How]++
	}
	if s.Oldest == nil || origin.isBefore(s.Oldest) {
		s.Oldest = &origin
	}
	state := d.State()
	if state == "" {
		return
	}
	if s.states == nil {
		s.states = make(map[string]int)
	}
	if s.states[state]++; s.states[state] > s.states[s.State] {
		s.State = state
	}
}

// A Suspect is a Series with what it comes to.
type Suspect struct {
	*Series
	Table     *Table
	Verdict   Verdict
	Reason    string
	PerMinute float64       // growth
	Opened    float64       // a minute: what the process has made by the same calls
	Closed    uint64        // of these, where closes are looked at
	Lived     time.Duration // of these, on average
	Longest   time.Duration // of these
	Refused   uint64        // calls of the process that failed with EMFILE or ENFILE
	HasEnded  bool          // the process
	Age       time.Duration
	AgeBound  Bound
	FullIn    time.Duration // until the process is at its limit, 0 if that does not come
}

// Open is how many there are now, or were when the process ended.
func (s *Series) Open() int { return s.Counts[len(s.Counts)-1] }

// Suspects returns all series: those that grow first, and of these the fastest.
func (w *Watch) Suspects() (suspects []*Suspect) {
	for _, p := range w.processes {
		for _, series := range p.series {
			suspects = append(suspects, w.suspect(series))
		}
	}
	order := []Verdict{Grows, Full, TooEarly, Pool, Steady}
	slices.SortFunc(suspects, func(a, b *Suspect) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Verdict), slices.Index(order, b.Verdict)),
			cmp.Compare(b.PerMinute, a.PerMinute), cmp.Compare(b.Open(), a.Open()), cmp.Compare(a.Table.PID, b.Table.PID),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Target, b.Target))
	})
	return suspects
}

func (w *Watch) suspect(series *Series) *Suspect {
	p := series.process
	s := &Suspect{Series: series, Table: p.table, Refused: p.refused(), HasEnded: p.hasEnded}
	s.Verdict, s.Reason = Judge(series.Counts)
	if s.Refused > 0 && s.Verdict != Grows && series == p.largest() {
		s.Verdict, s.Reason = Full, fmt.Sprintf("%d calls failed for want of descriptors", s.Refused)
	}
	if p.hasEnded {
		s.Reason += ", and then the process ended"
	}
	begin, end := w.times[p.since], w.times[p.since+len(p.counts)-1]
	made := p.madeBy(series.By)
	if s.Closed = made.Closed; made.Closed > 0 {
		s.Lived, s.Longest = time.Duration(made.Lived/made.Closed), time.Duration(made.Longest)
	}
	if minutes := time.Duration(end - begin).Minutes(); minutes > 0 {
		s.PerMinute = float64(series.Open()-series.Counts[0]) / minutes
		s.Opened = float64(made.Made) / minutes
		s.FullIn = p.fullIn(minutes)
	}
	if o := series.Oldest; o != nil {
		s.Age, s.AgeBound = time.Duration(end-min(end, o.Since)), o.Age
	}
	return s
}

// madeBy returns what the process has made by these calls since it was there first.
func (p *process) madeBy(calls map[string]int) (sum bpf.Made) {
	for call := range calls {
		before, at := p.before[call], p.at[call]
		sum.Made += at.Made - before.Made
		sum.Closed += at.Closed - before.Closed
		sum.Lived += at.Lived - before.Lived
		sum.Longest = max(sum.Longest, at.Longest)
	}
	return sum
}

// refused is how many calls of the process failed because of a limit.
func (p *process) refused() (n uint64) {
	for call, at := range p.at {
		n += at.Refused - p.before[call].Refused
	}
	return n
}

// largest is what the process has most of.
func (p *process) largest() (largest *Series) {
	for _, s := range p.series {
		if largest == nil || cmp.Or(cmp.Compare(s.Open(), largest.Open()), cmp.Compare(largest.Target, s.Target)) > 0 {
			largest = s
		}
	}
	return largest
}

// fullIn returns when the process is at its limit if it goes on as it did.
func (p *process) fullIn(minutes float64) time.Duration {
	return p.table.FullIn(float64(p.counts[len(p.counts)-1]-p.counts[0]) / minutes)
}
