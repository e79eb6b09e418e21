// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package program knows which program each process runs, with which arguments, and who
// forked it. Records of forks, execs and ends keep that up to date. They come before
// those of the calls that follow, so that it is right for every call, also those of a
// process that lives for less than a millisecond. What ran before the first record is
// read from /proc once, and a process of which a record was lost again.
package program

import (
	"maps"
	"math"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stream"
)

const (
	// processesMax bounds how many processes are known. It is more than the tasks that a
	// machine of 32 GiB can have; each takes the kernel much more memory than us.
	processesMax = 1 << 18
	// endedMax is how many that have ended are known, because of what is recorded of a
	// process after its end, as of its connects.
	endedMax = 1024
	// sweepInterval is how long, in ns, a full table is not searched again for processes
	// that are gone.
	sweepInterval = 1_000_000_000
	// lookUpsMax is how many processes are looked up at once.
	lookUpsMax = 16
	// notYet is when a process was read that is being read.
	notYet = math.MaxUint64
)

// A Table has the program of each process. It is not for several goroutines.
//
// What a process runs is believed of a row only where both have the same
// bpf.Details.ProgramID, so that no record that was lost, or comes late, makes a row wrong.
type Table struct {
	processes map[uint32]*process
	max       int
	// ended are the numbers of the latest processes that have ended, a ring.
	ended     [endedMax]ended
	nextEnded int
	// proc is nil where processes cannot be looked up, because they have other numbers
	// there.
	proc *Proc

	lost       func() uint32 // how many records of forks and execs were lost
	lostBefore uint32        // when what runs was read
	swept      uint64        // when processes that are gone were last searched for
	missing    uint64
	clock      func() uint64 // see bpf.Now

	start   func(lookUp func()) // on another goroutine
	started int                 // how many were, of which looked has not been received
	looked  chan looked         // which has room for all
}

// process is a process as of when it was forked or executed a program.
type process struct {
	id      uint64          // bpf.Details.ProgramID, 0 as long as it is not certain that program has it
	program *stream.Program // nil if not known
	forked  *stream.Program // of the children, nil until there is one
	// read is when this had been read from /proc, because of a record with the id wanted, or
	// at the start, where wanted is 0.
	read   uint64
	wanted uint64
	before *process // what it was before, or what had its number; one is kept
}

// latest is the id that p has, or will have once that is certain.
func (p *process) latest() uint64 { return max(p.id, p.wanted) }

type ended struct {
	pid     uint32
	process *process
}

// looked is what a lookup found. ok is false if the process had ended.
type looked struct {
	pid     uint32
	process *process
	found   found
	ok      bool
	read    uint64
}

// NewTable returns a table that knows what is in proc, which is nil where processes go by
// other numbers there. lost returns how many records of forks and execs were lost so far.
// The kernel must be recording already what happens to processes, and nothing else.
func NewTable(proc *Proc, lost func() uint32) *Table {
	t := &Table{processes: make(map[uint32]*process), max: processesMax, proc: proc, lost: lost, lostBefore: lost(), clock: bpf.Now,
		start: func(lookUp func()) { go lookUp() }, looked: make(chan looked, lookUpsMax)}
	if proc != nil {
		t.readAll()
	}
	return t
}

// readAll reads all processes, and then those that were forked meanwhile.
func (t *Table) readAll() {
	all := make(map[uint32]found)
	for range 2 {
		for _, pid := range t.proc.all() {
			if _, known := all[pid]; known || !t.hasRoom() {
				continue
			}
			if f, ok := t.proc.read(pid); ok {
				all[pid] = f
				t.processes[pid] = &process{program: &f.program, read: t.clock()}
			}
		}
	}
	for pid, f := range all {
		t.processes[pid].program.Parents = parents(f.parent, func(pid uint32) found { return all[pid] })
	}
}

// parents returns who forked a child of pid, by what is found of each.
func parents(pid uint32, find func(uint32) found) (all []stream.Parent) {
	for pid != 0 && len(all) < stream.ParentsMax {
		f := find(pid)
		all = append(all, stream.Parent{PID: pid, Exe: f.program.Exe, Comm: f.program.Comm})
		pid = f.parent
	}
	return all
}

// Missing returns of how many processes that were forked nothing is known, because the
// table was full.
func (t *Table) Missing() uint64 { return t.missing }

// Of: see attribution.Programs.
func (t *Table) Of(r *bpf.Record) *stream.Program {
	p, id := t.processes[r.PID], r.Details.ProgramID
	switch {
	case p != nil && p.id == id:
		return p.program
	case p != nil && p.wanted == id && isEarlier(r):
		return nil
	}
	if p = t.find(r.PID, id, r.Time); p == nil {
		return nil
	}
	return p.program
}

// isEarlier reports whether the process can have got another id between what a row is
// about and its time. It cannot while a request of io_uring is under way, which ends before
// an exec does.
func isEarlier(r *bpf.Record) bool {
	return r.Details.Remarks&(bpf.Outcome|bpf.FastOpen) != 0 || r.Details.By == bpf.ClosedByExec
}

// find returns the process that had this number and id at a time, nil if that is not known.
func (t *Table) find(pid uint32, id, at uint64) *process {
	t.receive()
	p := t.processes[pid]
	switch {
	case p == nil:
	case p.id == id:
		return p
	case p.latest() > id:
		if b := p.before; b != nil && b.id == id {
			return b
		}
		return nil
	case p.id != 0:
	case p.wanted == id, p.wanted == 0 && t.lost() == t.lostBefore:
		// It had the id before it was read, or it had no other one since.
		if at <= p.read {
			return nil
		}
		p.id = id
		return p
	}
	t.lookUp(pid, id)
	return nil
}

// lookUp has read from /proc what a process runs whose fork or exec was lost. It can be
// running something else by now: that it is not is known with the first record of a later
// time that has the same id. Where too many are being read, the next record may have it read.
func (t *Table) lookUp(pid uint32, id uint64) {
	before := t.processes[pid]
	if t.proc == nil || pid == 0 || t.started == lookUpsMax || before == nil && !t.hasRoom() {
		return
	}
	p := &process{wanted: id, read: notYet, before: last(before)}
	t.processes[pid] = p
	t.started++
	t.start(func() {
		l := looked{pid: pid, process: p}
		if l.found, l.ok = t.proc.read(pid); l.ok {
			l.found.program.Parents = parents(l.found.parent, t.proc.readProgram)
		}
		l.read = t.clock()
		t.looked <- l
	})
}

// receive takes what lookups have found by now.
func (t *Table) receive() {
	for t.started > 0 {
		select {
		case l := <-t.looked:
			t.started--
			l.process.read = l.read
			if l.ok {
				l.process.program = &l.found.program
				continue
			}
			l.process.id = l.process.wanted // it is certain that nothing is known
			t.end(l.pid, l.process)
		default:
			return
		}
	}
}

// last returns p for what takes its place, without what was before that; nil if it has no id.
func last(p *process) *process {
	if p == nil || p.id == 0 {
		return nil
	}
	p.before = nil
	return p
}

// childrenOf returns the parents of what a process forks.
func (t *Table) childrenOf(pid uint32, id, at uint64) []stream.Parent {
	if pid == 0 {
		return nil
	}
	p := t.find(pid, id, at)
	if p == nil || p.program == nil {
		return []stream.Parent{{PID: pid}}
	}
	return p.fork(pid).Parents
}

// fork returns the program of the children of a process, whose own program is known.
func (p *process) fork(pid uint32) *stream.Program {
	if p.forked != nil {
		return p.forked
	}
	child := *p.program
	child.Parents = append(make([]stream.Parent, 0, min(1+len(p.program.Parents), stream.ParentsMax)),
		stream.Parent{PID: pid, Exe: p.program.Exe, Comm: p.program.Comm})
	child.Parents = append(child.Parents, p.program.Parents[:min(len(p.program.Parents), stream.ParentsMax-1)]...)
	p.forked = &child
	return &child
}

// Note: see attribution.Programs.
func (t *Table) Note(r *bpf.Record) {
	t.receive()
	before := t.processes[r.PID]
	switch {
	case before == nil:
	case before.latest() > r.Details.ProgramID:
		return
	case before.latest() == 0 && r.Time <= before.read && r.Kind != bpf.Executed:
		return // what was read at the start is newer
	}
	switch r.Kind {
	case bpf.Forked:
		t.noteFork(r, before)
	case bpf.Executed:
		t.noteExec(r, before)
	case bpf.Ended:
		if before != nil {
			t.end(r.PID, before)
		}
	}
}

func (t *Table) noteFork(r *bpf.Record, before *process) {
	pid := r.Details.Forker()
	forker := t.find(pid, r.Details.ParentProgramID(), r.Time)
	if forker == nil || forker.program == nil {
		delete(t.processes, r.PID) // what had the number before has ended
		return
	}
	child := forker.program
	if r.Details.PPID == pid {
		child = forker.fork(pid)
	} // else, with CLONE_PARENT, it is a child of the forker's parent
	t.put(r.PID, &process{id: r.Details.ProgramID, program: child, before: last(before)})
}

func (t *Table) noteExec(r *bpf.Record, before *process) {
	program := &stream.Program{
		Exe:     string(r.Name()),
		Args:    append([]byte(nil), r.Given()...),
		ExeCut:  r.Details.Remarks&bpf.Truncated != 0,
		ArgsCut: r.Details.Remarks&bpf.ArgsCut != 0,
	}
	if t.isSame(before, r.Details.ProgramID) {
		program.Parents = before.program.Parents
	} else {
		program.Parents = t.childrenOf(r.Details.PPID, r.Details.ParentProgramID(), r.Time)
	}
	t.put(r.PID, &process{id: r.Details.ProgramID, program: program, before: last(before)})
}

// isSame reports whether before, if there is one, is the process that by an exec got this
// id, and is known.
func (t *Table) isSame(before *process, id uint64) bool {
	switch {
	case before == nil || before.program == nil:
		return false
	case before.latest() == 0:
		return t.lost() == t.lostBefore
	}
	return id-before.latest() <= 1
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
	if now := t.clock(); len(t.processes) >= t.max && t.proc != nil && now-t.swept >= sweepInterval {
		t.swept = now
		maps.DeleteFunc(t.processes, func(pid uint32, _ *process) bool { return !t.proc.has(pid) })
	}
	return len(t.processes) < t.max
}
