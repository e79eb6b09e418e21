// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package program

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stream"
)

// machine is a proc file system that a test fills, and a kernel that records what the test
// has processes do.
type machine struct {
	t     testing.TB
	dir   string
	now   uint64
	lost  uint32
	ids   map[uint32]uint64 // the ProgramID of each process
	table *Table
}

// newMachine returns a machine with these processes.
func newMachine(t testing.TB, processes ...running) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir()}
	for _, p := range processes {
		m.has(p)
	}
	return m.trace(OpenProc(m.dir))
}

// trace begins to trace the machine.
func (m *machine) trace(proc *Proc) *machine {
	m.now, m.ids = 1<<40, make(map[uint32]uint64)
	m.table = NewTable(proc, func() uint32 { return m.lost })
	m.table.clock = func() uint64 { return m.now }
	m.table.start = func(lookUp func()) { lookUp() }
	for _, p := range m.table.processes {
		p.read = m.now
	}
	return m
}

// running is a process as /proc has it.
type running struct {
	pid, parent     uint32
	comm, exe, args string
}

func (m *machine) has(p running) {
	m.t.Helper()
	dir := filepath.Join(m.dir, fmt.Sprint(p.pid))
	must := func(err error) {
		if err != nil {
			m.t.Fatal(err)
		}
	}
	must(os.RemoveAll(dir))
	must(os.Mkdir(dir, 0o755))
	must(os.WriteFile(filepath.Join(dir, "stat"), fmt.Appendf(nil, "%d (%s) S %d 1 1 0", p.pid, p.comm, p.parent), 0o644))
	must(os.WriteFile(filepath.Join(dir, "cmdline"), []byte(p.args), 0o644))
	must(os.Symlink("/", filepath.Join(dir, "root")))
	if p.exe != "" {
		must(os.Symlink(p.exe, filepath.Join(dir, "exe")))
	}
}

// passes lets time pass.
func (m *machine) passes() { m.now += 1000 }

// id is the ProgramID that a process has now. Those that ran before have some number.
func (m *machine) id(pid uint32) uint64 {
	if m.ids[pid] == 0 {
		m.ids[pid] = 1_000_000 + uint64(pid)
	}
	return m.ids[pid]
}

// happens has happen what a record is about, and returns it.
func (m *machine) happens(d bpf.Draft) *bpf.Record {
	m.t.Helper()
	m.passes()
	switch d.Kind {
	case bpf.Forked:
		d.Details.Inode = m.id(d.Details.Forker())
		m.ids[d.PID] = m.now
	case bpf.Executed:
		d.Details.Inode = m.id(d.Details.PPID)
		m.ids[d.PID] = m.id(d.PID) + 1
	}
	if d.Details == nil {
		d.Details = &bpf.Details{}
	}
	d.Details.ProgramID = m.id(d.PID)
	if d.Time == 0 {
		d.Time = m.now
	}
	return viewed(m.t, d)
}

// viewed is what View makes of a draft.
func viewed(t testing.TB, d bpf.Draft) *bpf.Record {
	t.Helper()
	b := d.Append(nil)
	words := make([]uint64, len(b)/8+1) // aligned as in a buffer
	aligned := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words))
	copy(aligned, b)
	var r bpf.Record
	if err := r.View(aligned); err != nil {
		t.Fatal(err)
	}
	return &r
}

// note gives the table the record of what happens.
func (m *machine) note(d bpf.Draft) {
	m.t.Helper()
	r := m.happens(d)
	m.table.Note(r)
	args := r.Given()
	clear(args) // what is kept is a copy
}

// loses has something happen whose record is lost.
func (m *machine) loses(d bpf.Draft) {
	m.t.Helper()
	m.happens(d)
	m.lost++
}

// calls returns the record of a call.
func (m *machine) calls(pid uint32) *bpf.Record {
	m.passes()
	return &bpf.Record{Event: &bpf.Event{Kind: bpf.Call, PID: pid, Time: m.now}, Details: &bpf.Details{ProgramID: m.id(pid)}}
}

func forked(pid, forker, parent uint32) bpf.Draft {
	return bpf.Draft{Event: bpf.Event{Kind: bpf.Forked, PID: pid}, Details: &bpf.Details{Other: int32(forker), PPID: parent}}
}

func executed(pid, parent uint32, exe string, args ...string) bpf.Draft {
	return bpf.Draft{Event: bpf.Event{Kind: bpf.Executed, PID: pid}, Details: &bpf.Details{PPID: parent, Target: bpf.TargetFile},
		Name: []byte(exe), Given: []byte(strings.Join(args, "\x00") + "\x00")}
}

func ends(pid uint32) bpf.Draft { return bpf.Draft{Event: bpf.Event{Kind: bpf.Ended, PID: pid}} }

// inLine is a program in one line.
func inLine(p *stream.Program) string {
	if p == nil {
		return "nothing"
	}
	line := strings.TrimSuffix(strings.ReplaceAll(p.Exe+p.Comm+" "+string(p.Args), "\x00", " "), " ")
	for i, cut := range []bool{p.ExeCut, p.ArgsCut} {
		if cut {
			line += []string{" exe...", " args..."}[i]
		}
	}
	for _, parent := range p.Parents {
		line += fmt.Sprintf(" <%s %d", parent.Name(), parent.PID)
	}
	return line
}

// expect compares what is known of a process that makes a call now.
func (m *machine) expect(pid uint32, want string) {
	m.t.Helper()
	m.expectOf(m.calls(pid), want)
}

func (m *machine) expectOf(r *bpf.Record, want string) {
	m.t.Helper()
	if got := inLine(m.table.Of(r)); got != want {
		m.t.Errorf("process %d is\n%s, want\n%s", r.PID, got, want)
	}
}

var host = []running{
	{1, 0, "systemd", "/usr/lib/systemd/systemd", "/sbin/init\x00"},
	{2, 0, "kthreadd", "", ""},
	{7, 2, "kworker/0:0 (x) S 9", "", ""},
	{50, 1, "sh) Z 3", "/usr/bin/dash", "sh\x00-c\x00a b\x00"},
	{60, 50, "old", "/opt/old (deleted)", ""},
}

func TestWhatRanBefore(t *testing.T) {
	m := newMachine(t, host...)
	m.expect(1, "/usr/lib/systemd/systemd /sbin/init")
	m.expect(7, "kworker/0:0 (x) S 9 <kthreadd 2")
	m.expect(50, "/usr/bin/dash sh -c a b <systemd 1")
	m.expect(60, "/opt/old <dash 50 <systemd 1")
	m.expect(99, "nothing")
	m.has(running{99, 1, "late", "/late", ""})
	m.expect(99, "nothing") // it was looked up once
}

func TestLives(t *testing.T) {
	m := newMachine(t, host...)
	m.note(forked(100, 50, 50))
	m.expect(100, "/usr/bin/dash sh -c a b <dash 50 <systemd 1") // as long as it executes nothing
	m.note(forked(101, 50, 50))
	if a, b := m.table.Of(m.calls(100)), m.table.Of(m.calls(101)); a != b {
		t.Error("children of one process do not share what they run")
	}
	m.note(executed(100, 50, "/usr/bin/true", "true", ""))
	m.expect(100, "/usr/bin/true true  <dash 50 <systemd 1")
	m.note(executed(50, 1, "/usr/bin/env", "env"))
	m.expect(50, "/usr/bin/env env <systemd 1")
	m.expect(100, "/usr/bin/true true  <dash 50 <systemd 1") // as it was then
	m.note(forked(102, 50, 50))
	m.expect(102, "/usr/bin/env env <env 50 <systemd 1")
	m.note(forked(103, 102, 50)) // CLONE_PARENT
	m.expect(103, "/usr/bin/env env <env 50 <systemd 1")
	m.note(ends(50))
	m.expect(50, "/usr/bin/env env <systemd 1") // what is recorded of it later
	m.expect(102, "/usr/bin/env env <env 50 <systemd 1")
	m.note(forked(50, 1, 1)) // its number is another's
	m.expect(50, "/usr/lib/systemd/systemd /sbin/init <systemd 1")
	m.note(ends(777)) // of which nothing is known
}

func TestParentsAreBounded(t *testing.T) {
	m := newMachine(t, host...)
	for pid := uint32(1000); pid < 1020; pid++ {
		m.note(forked(pid+1, pid, pid))
		m.note(executed(pid+1, pid, fmt.Sprint("/bin/p", pid+1)))
	}
	m.expect(1020, "/bin/p1020  <p1019 1019 <p1018 1018 <p1017 1017 <p1016 1016 <p1015 1015 <p1014 1014 <p1013 1013 <p1012 1012")
}

// While processes are read at the start they go on, and records of that come later.
func TestReadIsNewer(t *testing.T) {
	m := newMachine(t, host...)
	before := m.now - 1
	at := func(d bpf.Draft) bpf.Draft { d.Time = before; return d }
	m.note(at(forked(60, 1, 1))) // it was read
	m.expect(60, "/opt/old <dash 50 <systemd 1")
	m.note(at(executed(60, 1, "/between")))
	m.expect(60, "/between  <dash 50 <systemd 1")
	m.note(executed(60, 1, "/after"))
	m.expect(60, "/after  <dash 50 <systemd 1")
	// What the forker ran then is not known, for it was read later.
	m.note(at(forked(70, 50, 50)))
	m.expect(70, "nothing")
	m.note(forked(71, 50, 50))
	m.expect(71, "/usr/bin/dash sh -c a b <dash 50 <systemd 1")
}

func TestCut(t *testing.T) {
	m := newMachine(t)
	d := executed(5, 4, "/x", "y")
	d.Details.Remarks = bpf.Truncated | bpf.ArgsCut
	m.note(d)
	m.expect(5, "/x y exe... args... < 4")
	m.has(running{6, 0, "six", "/six", strings.Repeat("x", 4*bpf.ArgsMax)})
	m.expect(6, "nothing")
	if p := m.table.Of(m.calls(6)); p == nil || len(p.Args) != bpf.ArgsMax || !p.ArgsCut {
		t.Errorf("it is %+v", p)
	}
}

// A process whose exec was lost is looked up, and known with the next row.
func TestLosses(t *testing.T) {
	m := newMachine(t, host...)
	const sh, perl, ruby = "/usr/bin/dash sh -c a b <systemd 1", "/usr/bin/perl perl <systemd 1", "/usr/bin/ruby ruby <systemd 1"
	m.expect(50, sh)
	late := m.calls(50)
	m.loses(executed(50, 1, "/usr/bin/perl", "perl"))
	m.has(running{50, 1, "perl", "/usr/bin/perl", "perl\x00"})
	m.expectOf(late, sh)
	early := m.calls(50)
	m.expect(50, "nothing") // perl can have taken the place of what made the call
	m.expectOf(early, "nothing")
	m.expect(50, perl)
	m.expectOf(late, sh)
	// Between the row and the lookup another program is executed.
	m.loses(executed(50, 1, "/usr/bin/awk", "awk"))
	early = m.calls(50)
	m.loses(executed(50, 1, "/usr/bin/ruby", "ruby"))
	m.has(running{50, 1, "ruby", "/usr/bin/ruby", "ruby\x00"})
	m.expectOf(early, "nothing")
	m.expectOf(early, "nothing")
	m.expect(50, "nothing")
	m.expect(50, ruby)
	// And the same, but that is recorded.
	m.loses(executed(50, 1, "/usr/bin/awk", "awk"))
	early = m.calls(50)
	exec := m.happens(executed(50, 1, "/usr/bin/perl", "perl"))
	m.has(running{50, 1, "perl", "/usr/bin/perl", "perl\x00"})
	m.expectOf(early, "nothing")
	m.table.Note(exec)
	m.expect(50, "/usr/bin/perl perl <systemd 1")
	m.expectOf(early, "nothing")
}

// What was read at the start is not believed after a loss.
func TestLossOfWhatRanBefore(t *testing.T) {
	m := newMachine(t, host...)
	m.loses(forked(100, 50, 50))
	m.expect(60, "nothing")
	m.expect(60, "/opt/old <dash 50 <systemd 1")
	m.note(executed(50, 1, "/usr/bin/env", "env"))
	m.expect(50, "/usr/bin/env env < 1") // nor is its parent
}

// Whatever is lost, and however long records lie in the buffer while processes go on, no
// row has a wrong program; and when nothing is lost any more, all rows have theirs.
func TestNeverWrong(t *testing.T) {
	var known, unknown int
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 0))
		m := newMachine(t, host...)
		runs := make(map[uint32]string) // the truth
		for _, p := range host {
			runs[p.pid] = inLine(&stream.Program{Exe: strings.TrimSuffix(p.exe, " (deleted)"), Args: []byte(p.args), Comm: map[bool]string{true: p.comm}[p.exe == ""]})
		}
		type recorded struct {
			*bpf.Record
			runs string // of a call
		}
		var buffer []recorded
		read := func(n int) {
			for _, r := range buffer[:n] {
				if r.Kind != bpf.Call {
					m.table.Note(r.Record)
					continue
				}
				p := m.table.Of(r.Record)
				if p == nil {
					unknown++
					continue
				}
				known++
				if p.ArgsCut && len(p.Args) == 0 {
					continue // they could not be read in time
				}
				if got := inLine(&stream.Program{Exe: p.Exe, Comm: p.Comm, Args: p.Args}); got != r.runs {
					t.Fatalf("seed %d: process %d runs %s, not %s", seed, r.PID, r.runs, got)
				}
			}
			buffer = buffer[n:]
		}
		step := func(lossy bool) {
			pid := slices.Sorted(maps.Keys(runs))[random.IntN(len(runs))]
			var happened bpf.Draft
			switch child := uint32(100 + random.IntN(10)); random.IntN(6) {
			case 0:
				if _, taken := runs[child]; taken {
					return
				}
				happened, runs[child] = forked(child, pid, pid), runs[pid]
				exe, args, _ := strings.Cut(runs[pid], " ")
				if args != "" {
					args = strings.ReplaceAll(args, " ", "\x00") + "\x00"
				}
				m.has(running{child, pid, exe, exe, args})
			case 1:
				exe := fmt.Sprintf("/bin/%d", random.IntN(1000))
				happened, runs[pid] = executed(pid, 1, exe, "x"), exe+" x"
				m.has(running{pid, 1, "x", exe, "x\x00"})
			case 2:
				if pid < 100 {
					return
				}
				happened = ends(pid)
				delete(runs, pid)
				if err := os.RemoveAll(filepath.Join(m.dir, fmt.Sprint(pid))); err != nil {
					t.Fatal(err)
				}
			default:
				buffer = append(buffer, recorded{m.calls(pid), runs[pid]})
				return
			}
			if r := m.happens(happened); lossy && random.IntN(4) == 0 {
				m.lost++
			} else {
				buffer = append(buffer, recorded{r, ""})
			}
		}
		for range 300 {
			step(true)
			if random.IntN(8) == 0 {
				read(random.IntN(len(buffer) + 1))
			}
		}
		read(len(buffer))
		for range 2 { // what each process runs now is known with its next row
			unknown = 0
			for pid := range runs {
				buffer = append(buffer, recorded{m.calls(pid), runs[pid]})
			}
			read(len(buffer))
		}
		for range 100 {
			step(false)
		}
		read(len(buffer))
		if unknown > 0 {
			t.Fatalf("seed %d: %d rows are without a program", seed, unknown)
		}
	}
	if known < 500 {
		t.Errorf("%d rows have programs", known)
	}
}

func TestLostForks(t *testing.T) {
	m := newMachine(t, host...)
	m.loses(forked(200, 50, 50))
	m.has(running{200, 50, "sh", "/usr/bin/dash", "sh\x00"})
	m.expect(200, "nothing")
	m.expect(200, "/usr/bin/dash sh <dash 50 <systemd 1")
	m.note(forked(201, 200, 200))
	m.expect(201, "/usr/bin/dash sh <dash 200 <dash 50 <systemd 1")
	// The number of one that ended is another's.
	m.loses(ends(201))
	m.loses(forked(201, 1, 1))
	m.has(running{201, 1, "new", "/new", "new\x00"})
	m.expect(201, "nothing")
	m.expect(201, "/new new <systemd 1")
	// Neither was the forker's.
	m.loses(forked(300, 1, 1))
	m.note(forked(301, 300, 300))
	m.expect(301, "nothing")
	m.note(executed(301, 300, "/bin/true", "true"))
	m.expect(301, "/bin/true true < 300")
	m.note(forked(500, 50, 50))
	m.loses(ends(500))
	m.loses(forked(500, 301, 301))
	m.note(executed(500, 301, "/bin/c", "c"))
	m.expect(500, "/bin/c c <true 301 < 300")
	// It ended before it was looked up.
	m.loses(forked(400, 1, 1))
	m.expect(400, "nothing")
	m.has(running{400, 1, "late", "/late", ""})
	m.expect(400, "nothing") // it was looked up once
}

// Lookups are done beside, and only so many at once.
func TestLookUps(t *testing.T) {
	m := newMachine(t, host...)
	var started []func()
	m.table.start = func(lookUp func()) { started = append(started, lookUp) }
	const first, last = 100, 100 + lookUpsMax
	for pid := uint32(first); pid <= last; pid++ {
		m.loses(forked(pid, 1, 1))
		m.has(running{pid, 1, "a", "/a", ""})
		m.expect(pid, "nothing")
		m.expect(pid, "nothing") // it is looked up once
	}
	if len(started) != lookUpsMax {
		t.Fatalf("%d processes are looked up at once", len(started))
	}
	m.note(executed(first, 1, "/b"))
	for _, lookUp := range started {
		lookUp()
	}
	m.expect(first, "/b  < 1")
	m.expect(first+1, "/a <systemd 1")
	m.expect(last, "nothing")
	if len(started) != lookUpsMax+1 {
		t.Fatalf("%d processes were looked up", len(started))
	}
	started[lookUpsMax]()
	m.expect(last, "/a <systemd 1")
}

// Rows of what was before an exec can come after it: of a connect that was decided later.
func TestLateRows(t *testing.T) {
	m := newMachine(t, host...)
	m.note(forked(100, 50, 50))
	old := m.calls(100)
	m.note(executed(100, 50, "/bin/a", "a"))
	m.expect(100, "/bin/a a <dash 50 <systemd 1")
	m.expectOf(old, "/usr/bin/dash sh -c a b <dash 50 <systemd 1")
	// From perf buffers records could come in another order.
	first, second := m.happens(executed(100, 50, "/bin/c", "c")), m.happens(executed(100, 50, "/bin/d", "d"))
	m.table.Note(second)
	m.table.Note(first)
	m.expect(100, "/bin/d d <dash 50 <systemd 1")
	// They do not prove what the process runs at their time.
	m.loses(executed(100, 50, "/bin/b", "b"))
	m.has(running{100, 50, "b", "/bin/b", "b\x00"})
	m.expect(100, "nothing")
	m.passes()
	outcome := m.calls(100)
	outcome.Details.Remarks = bpf.Outcome
	m.expectOf(outcome, "nothing")
	m.expect(100, "/bin/b b <dash 50 <systemd 1")
	m.expectOf(outcome, "/bin/b b <dash 50 <systemd 1")
}

func TestEnded(t *testing.T) {
	m := newMachine(t, host...)
	before := len(m.table.processes)
	for pid := uint32(1000); pid < 1000+3*endedMax; pid++ {
		m.note(forked(pid, 1, 1))
		m.note(ends(pid))
	}
	if n := len(m.table.processes) - before; n != endedMax {
		t.Errorf("%d processes that have ended are known", n)
	}
	m.expect(1000+3*endedMax-1, "/usr/lib/systemd/systemd /sbin/init <systemd 1")
}

func TestFull(t *testing.T) {
	m := newMachine(t, host...)
	m.table.max = len(host) + 4
	for pid := uint32(100); pid < 104; pid++ {
		m.note(forked(pid, 1, 1))
	}
	m.note(ends(100))
	m.has(running{101, 1, "a", "/a", ""})
	m.has(running{102, 1, "a", "/a", ""})
	m.now += sweepInterval
	m.note(forked(104, 1, 1)) // in place of one that has ended
	m.has(running{104, 1, "a", "/a", ""})
	m.note(forked(105, 1, 1)) // in place of one whose end was lost, 103
	m.note(forked(106, 1, 1)) // in place of nobody
	m.note(executed(106, 1, "/b"))
	m.expect(106, "nothing")
	m.expect(102, "/usr/lib/systemd/systemd /sbin/init <systemd 1")
	if n := m.table.Missing(); n != 2 || len(m.table.processes) > m.table.max {
		t.Errorf("%d are missing, %d known", n, len(m.table.processes))
	}
}

// In a PID namespace nothing of /proc fits.
func TestWithoutProc(t *testing.T) {
	m := (&machine{t: t}).trace(nil)
	m.expect(uint32(os.Getpid()), "nothing")
	m.note(executed(100, 50, "/usr/bin/true", "true"))
	m.expect(100, "/usr/bin/true true < 50")
	m.note(forked(101, 100, 100))
	m.expect(101, "/usr/bin/true true <true 100 < 50")
}

// A parent that is its own child is nobody's idea of a process, but /proc changes.
func TestLoop(t *testing.T) {
	m := newMachine(t, running{10, 11, "a", "/a", ""}, running{11, 10, "b", "/b", ""})
	for _, pid := range []uint32{10, 11} {
		if p := m.table.Of(m.calls(pid)); p == nil || len(p.Parents) > stream.ParentsMax {
			t.Errorf("process %d: %+v", pid, p)
		}
	}
}

// Arguments that cannot be read hold up nothing.
func TestHangingArguments(t *testing.T) {
	m := newMachine(t, host...)
	for pid := uint32(300); pid < 300+2*stuckMax; pid++ {
		m.has(running{pid, 1, "x", "/x", ""})
		name := filepath.Join(m.dir, fmt.Sprint(pid), "cmdline")
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { // lets the reader go
			if f, err := os.OpenFile(name, os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
				f.Close()
			}
		})
	}
	began := time.Now()
	for pid := uint32(300); pid < 300+2*stuckMax; pid++ {
		m.expect(pid, "nothing")
		m.expect(pid, "/x args... <systemd 1")
	}
	if n := m.table.proc.reading.Load(); n != stuckMax {
		t.Errorf("%d reads are left alone after %s", n, time.Since(began))
	}
}

func TestCleanExe(t *testing.T) {
	for _, c := range [][3]string{
		{"/usr/bin/a", "/", "/usr/bin/a"},
		{"/usr/bin/a (deleted)", "/", "/usr/bin/a"},
		{"/memfd:a/b (deleted)", "/", "memfd:a/b"},
		{"/srv/root/bin/a", "/srv/root", "/bin/a"},
		{"/srv/rooted/bin/a", "/srv/root", "/srv/rooted/bin/a"},
		{"/bin/a", "/srv/root", "/bin/a"},
		{"/bin/a", "", "/bin/a"},
		{"", "/", ""},
	} {
		if got := cleanExe(c[0], c[1]); got != c[2] {
			t.Errorf("%q below %q is %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

// This very process, in the real /proc.
func TestRealProc(t *testing.T) {
	m := (&machine{t: t}).trace(OpenProc("/proc"))
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := m.table.Of(m.calls(uint32(os.Getpid())))
	if p == nil || p.Exe != exe || !strings.HasPrefix(string(p.Args), os.Args[0]+"\x00") {
		t.Fatalf("%+v", p)
	}
	if len(p.Parents) == 0 || p.Parents[0].PID != uint32(os.Getppid()) {
		t.Errorf("parents %+v", p.Parents)
	}
}

func FuzzStat(f *testing.F) {
	f.Add([]byte("1 (a) S 2 3"))
	f.Add([]byte("1 (a) b) (c) S 2 3"))
	f.Add([]byte("1 )a( S 2"))
	f.Fuzz(func(t *testing.T, stat []byte) {
		comm, state, _ := parseStat(stat)
		if len(comm) > len(stat) || state == 0 && comm != "" {
			t.Errorf("%q of state %q", comm, state)
		}
	})
}

// FuzzNote gives a table records in any order: it stays within its bounds, and no chain of
// parents is longer than it may be.
func FuzzNote(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 1, 2, 1, 0, 2, 2, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		m := (&machine{t: t}).trace(nil)
		m.table.max = 16
		for ; len(b) >= 4; b = b[4:] {
			pid, other, parent := uint32(b[1]), uint32(b[2]), uint32(b[3])
			switch b[0] % 3 {
			case 0:
				m.note(forked(pid, other, parent))
			case 1:
				m.note(executed(pid, parent, string(b[2:3])+"/x", string(b)))
			case 2:
				m.note(ends(pid))
			}
			if p := m.table.Of(m.calls(pid)); p != nil && len(p.Parents) > stream.ParentsMax {
				t.Fatalf("%d parents", len(p.Parents))
			}
		}
		if len(m.table.processes) > m.table.max {
			t.Errorf("%d processes", len(m.table.processes))
		}
	})
}

// What a row costs.
func BenchmarkOf(b *testing.B) {
	m := newMachine(b, host...)
	for pid := uint32(1000); pid < 2000; pid++ {
		m.note(forked(pid, 1, 1))
	}
	var rows []*bpf.Record
	for pid := uint32(1000); pid < 2000; pid++ {
		rows = append(rows, m.calls(pid))
	}
	if got := testing.AllocsPerRun(100, func() { m.table.Of(rows[500]) }); got != 0 {
		b.Errorf("%v allocations for a row", got)
	}
	n := 0
	for b.Loop() {
		m.table.Of(rows[n%1000])
		n++
	}
}

// What a life costs: a fork, an exec and an end.
func BenchmarkLife(b *testing.B) {
	m := newMachine(b, host...)
	var records []*bpf.Record
	for _, d := range []bpf.Draft{forked(100, 50, 50), executed(100, 50, "/usr/bin/true", "true", "with", "arguments"), ends(100)} {
		records = append(records, m.happens(d))
	}
	b.ReportAllocs()
	for b.Loop() {
		for i := range records {
			records[i].Details.ProgramID++ // as if others had the number
			m.table.Note(records[i])
		}
	}
}

func TestNames(t *testing.T) {
	var got []string
	for _, p := range []stream.Parent{{Exe: "/a/b"}, {Exe: "memfd:a/b"}, {Comm: "kthreadd"}, {Exe: "/"}, {}} {
		got = append(got, p.Name())
	}
	if want := []string{"b", "memfd:a/b", "kthreadd", "", ""}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
