// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package program knows which program each process runs, with which arguments, and who
// forked it. Records of forks, execs and ends keep that up to date. They come before
// those of the calls that follow, so that it is right for every call, also those of a
// process that lives for less than a millisecond. What ran before the first record is
// read from /proc once.
package program

import (
	"maps"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stream"
)

const (
	// processesMax bounds how many processes are known. It is more than the tasks that a
	// machine of 32 GiB can have; each takes the kernel much more memory than us.
	processesMax = 1 << 18
	// endedMax is how many that have ended are known, because of what is recorded of a
	// process after its end, as of its requests of io_uring.
	endedMax = 1024
	// lookAgain is how long, in ns, records can be lost until processes are looked up
	// once more, and full tables searched for processes that are gone.
	lookAgain = 1_000_000_000
)

// A Table has the program of each process. It is not for several goroutines.
type Table struct {
	processes map[uint32]*process
	max       int
	// ended are the numbers of the latest processes that have ended, a ring.
	ended     [endedMax]ended
	nextEnded int
	// proc is nil where processes cannot be looked up, because they have other numbers
	// there.
	proc *Proc

	lost       func() uint32 // how many records were lost
	lostBefore uint32
	generation uint32 // how often records were lost since which processes are looked up
	lookedUp   uint64 // when that was last, CLOCK_MONOTONIC in ns
	swept      uint64 // when processes that are gone were last searched for
	missing    uint64
	clock      func() uint64
}

type process struct {
	program *stream.Program // nil if not known
	forked  *stream.Program // of the children, nil until there is one
	// read is when this was read from /proc, 0 if it is known from records. What was
	// recorded before is known then.
	read       uint64
	generation uint32
}

type ended struct {
	pid     uint32
	process *process
}

// NewTable returns a table that knows what is in proc, which is nil where processes go by
// other numbers there. lost returns how many records were lost so far. The kernel must be
// recording already what happens to processes.
func NewTable(proc *Proc, lost func() uint32) *Table {
	t := &Table{processes: make(map[uint32]*process), max: processesMax, proc: proc, lost: lost, lostBefore: lost(), clock: monotonic}
	if proc != nil {
		for _, pid := range proc.all() {
			t.find(pid)
		}
	}
	return t
}

func monotonic() uint64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return uint64(now.Nano())
}

// Missing returns of how many processes that were forked nothing is known, because the
// table was full.
func (t *Table) Missing() uint64 { return t.missing }

// Of: see attribution.Programs.
func (t *Table) Of(pid uint32) *stream.Program {
	if lost := t.lost(); lost != t.lostBefore {
		t.noteLoss(lost)
	}
	if p := t.processes[pid]; p != nil && p.generation == t.generation {
		return p.program
	}
	return t.find(pid)
}

// noteLoss has each process be looked up again, for what it runs may be something else by
// now. Where losses go on that happens once a second.
func (t *Table) noteLoss(lost uint32) {
	if now := t.clock(); now-t.lookedUp >= lookAgain {
		t.lostBefore, t.lookedUp = lost, now
		t.generation++
	}
}

// find returns the program of a process, and looks it up if that is not known, or not for
// certain.
func (t *Table) find(pid uint32) *stream.Program {
	before := t.processes[pid]
	switch {
	case before != nil && before.generation == t.generation:
		return before.program
	case t.proc == nil || pid == 0 || before == nil && !t.hasRoom():
		return nil
	}
	read := t.clock()
	found, ok := t.proc.read(pid)
	switch {
	case ok:
	case before != nil: // it has ended since, and was that
		before.generation = t.generation
		return before.program
	default:
		p := &process{generation: t.generation} // so that it is looked up once
		t.processes[pid] = p
		t.end(pid, p)
		return nil
	}
	// It is noted before its parents are looked up, among which it can be itself: /proc
	// changes while it is read.
	p := &process{read: read, generation: t.generation}
	t.processes[pid] = p
	found.program.Parents = t.childrenOf(found.parent)
	p.program = &found.program
	return p.program
}

// childrenOf returns the parents of what a process forks.
func (t *Table) childrenOf(pid uint32) []stream.Parent {
	if pid == 0 {
		return nil
	}
	program := t.find(pid)
	if program == nil {
		return []stream.Parent{{PID: pid}}
	}
	return t.fork(pid, t.processes[pid], program).Parents
}

// fork returns the program of the children of a process.
func (t *Table) fork(pid uint32, p *process, program *stream.Program) *stream.Program {
	if p != nil && p.forked != nil {
		return p.forked
	}
	child := *program
	child.Parents = append(make([]stream.Parent, 0, min(1+len(program.Parents), stream.ParentsMax)),
		stream.Parent{PID: pid, Exe: program.Exe, Comm: program.Comm})
	child.Parents = append(child.Parents, program.Parents[:min(len(program.Parents), stream.ParentsMax-1)]...)
	if p != nil {
		p.forked = &child
	}
	return &child
}

// Note: see attribution.Programs.
func (t *Table) Note(r *bpf.Record) {
	before := t.processes[r.PID]
	if before != nil && r.Time < before.read && r.Kind != bpf.Ended {
		return
	}
	switch r.Kind {
	case bpf.Forked:
		t.noteFork(r)
	case bpf.Executed:
		t.noteExec(r, before)
	case bpf.Ended:
		if before != nil {
			t.end(r.PID, before)
		}
	}
}

func (t *Table) noteFork(r *bpf.Record) {
	forker := r.Details.Forker()
	program := t.find(forker)
	if program == nil {
		delete(t.processes, r.PID) // what had the number before has ended
		return
	}
	child := t.fork(forker, t.processes[forker], program)
	if parent := r.Details.PPID; parent != forker {
		sibling := *child
		sibling.Parents = t.childrenOf(parent)
		child = &sibling
	}
	t.put(r.PID, &process{program: child, generation: t.generation})
}

func (t *Table) noteExec(r *bpf.Record, before *process) {
	program := &stream.Program{
		Exe:     string(r.Name()),
		Args:    append([]byte(nil), r.Given()...),
		ExeCut:  r.Details.Remarks&bpf.Truncated != 0,
		ArgsCut: r.Details.Remarks&bpf.ArgsCut != 0,
	}
	if before != nil && before.program != nil {
		program.Parents = before.program.Parents
	} else {
		program.Parents = t.childrenOf(r.Details.PPID)
	}
	t.put(r.PID, &process{program: program, generation: t.generation})
}

// put notes a process, if there is room.
func (t *Table) put(pid uint32, p *process) {
	if t.processes[pid] == nil && !t.hasRoom() {
		t.missing++
		return
	}
	t.processes[pid] = p
}

// end notes that a process has ended, and forgets the one of those that ended first.
func (t *Table) end(pid uint32, p *process) {
	oldest := &t.ended[t.nextEnded]
	if oldest.process != nil && t.processes[oldest.pid] == oldest.process {
		delete(t.processes, oldest.pid)
	}
	*oldest = ended{pid, p}
	t.nextEnded = (t.nextEnded + 1) % endedMax
}

// hasRoom reports whether there is room for one more process. Where there is none, those
// that have ended make room, also those whose end was lost.
func (t *Table) hasRoom() bool {
	if len(t.processes) < t.max {
		return true
	}
	for i, e := range t.ended {
		if e.process != nil && t.processes[e.pid] == e.process {
			delete(t.processes, e.pid)
		}
		t.ended[i] = ended{}
	}
	if now := t.clock(); len(t.processes) >= t.max && t.proc != nil && now-t.swept >= lookAgain {
		t.swept = now
		maps.DeleteFunc(t.processes, func(pid uint32, _ *process) bool { return !t.proc.has(pid) })
	}
	return len(t.processes) < t.max
}
