// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package program

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stream"
)

// machine is a proc file system that a test fills, and a clock and losses that it sets.
type machine struct {
	t     testing.TB
	dir   string
	now   uint64
	lost  uint32
	table *Table
}

// newMachine returns a machine with these processes.
func newMachine(t testing.TB, processes ...running) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir(), now: 1 << 40}
	for _, p := range processes {
		m.has(p)
	}
	m.table = NewTable(OpenProc(m.dir), func() uint32 { return m.lost })
	m.table.clock = func() uint64 { return m.now }
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

func (m *machine) note(d bpf.Draft) {
	m.t.Helper()
	m.now++
	if d.Time == 0 {
		d.Time = m.now
	}
	b := d.Append(nil)
	words := make([]uint64, len(b)/8+1) // aligned as in a buffer
	aligned := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words))
	copy(aligned, b)
	var r bpf.Record
	if err := r.View(aligned); err != nil {
		m.t.Fatal(err)
	}
	m.table.Note(&r)
	clear(words) // what is kept is a copy
}

func forked(pid, forker, parent uint32) bpf.Draft {
	return bpf.Draft{Event: bpf.Event{Kind: bpf.Forked, PID: pid}, Details: &bpf.Details{Other: int32(forker), PPID: parent}}
}

func executed(pid, parent uint32, exe string, args ...string) bpf.Draft {
	return bpf.Draft{Event: bpf.Event{Kind: bpf.Executed, PID: pid}, Details: &bpf.Details{PPID: parent, Target: bpf.TargetFile},
		Name: []byte(exe), Given: []byte(strings.Join(args, "\x00") + "\x00")}
}

func ends(pid uint32) bpf.Draft { return bpf.Draft{Event: bpf.Event{Kind: bpf.Ended, PID: pid}} }

// says is what is known of a process, in one line.
func (m *machine) says(pid uint32) string {
	p := m.table.Of(pid)
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

func (m *machine) expect(pid uint32, want string) {
	m.t.Helper()
	if got := m.says(pid); got != want {
		m.t.Errorf("process %d is\n%s, want\n%s", pid, got, want)
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
	if a, b := m.table.Of(100), m.table.Of(101); a != b {
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

// Records that are older than what was read from /proc say nothing new.
func TestReadIsNewer(t *testing.T) {
	m := newMachine(t, host...)
	before := m.now - 1
	old := forked(60, 1, 1)
	old.Time = before
	m.note(old)
	old = executed(60, 1, "/before")
	old.Time = before
	m.note(old)
	m.expect(60, "/opt/old <dash 50 <systemd 1")
	m.note(executed(60, 1, "/after"))
	m.expect(60, "/after  <dash 50 <systemd 1")
}

func TestCut(t *testing.T) {
	m := newMachine(t)
	d := executed(5, 4, "/x", "y")
	d.Details.Remarks = bpf.Truncated | bpf.ArgsCut
	m.note(d)
	m.expect(5, "/x y exe... args... < 4")
	m.has(running{6, 0, "six", "/six", strings.Repeat("x", 4*bpf.ArgsMax)})
	if p := m.table.Of(6); len(p.Args) != bpf.ArgsMax || !p.ArgsCut {
		t.Errorf("%d bytes, cut: %t", len(p.Args), p.ArgsCut)
	}
}

// After a loss each process is looked up once more, but not with each loss.
func TestLosses(t *testing.T) {
	m := newMachine(t, host...)
	m.has(running{50, 1, "perl", "/usr/bin/perl", "perl\x00"})
	m.expect(50, "/usr/bin/dash sh -c a b <systemd 1")
	m.now += lookAgain
	m.lost++
	m.expect(50, "/usr/bin/perl perl <systemd 1")
	m.has(running{50, 1, "ruby", "/usr/bin/ruby", "ruby\x00"})
	m.lost++
	m.expect(50, "/usr/bin/perl perl <systemd 1")
	m.now += lookAgain
	m.expect(50, "/usr/bin/ruby ruby <systemd 1")
	// One that has ended is what it was.
	if err := os.RemoveAll(filepath.Join(m.dir, "50")); err != nil {
		t.Fatal(err)
	}
	m.now += lookAgain
	m.lost++
	m.expect(50, "/usr/bin/ruby ruby <systemd 1")
	// Whose fork was lost is looked up.
	m.has(running{200, 1, "new", "/new", ""})
	m.expect(200, "/new <systemd 1")
	m.note(forked(201, 200, 200))
	m.expect(201, "/new <new 200 <systemd 1")
	m.note(forked(301, 300, 300)) // nor was its forker known
	m.expect(301, "nothing")
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
	m.now += lookAgain
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
	table := NewTable(nil, func() uint32 { return 0 })
	m := &machine{t: t, table: table, now: 1 << 40}
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
		if p := m.table.Of(pid); p == nil || len(p.Parents) > stream.ParentsMax {
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
	m := &machine{t: t, table: NewTable(OpenProc("/proc"), func() uint32 { return 0 })}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := m.table.Of(uint32(os.Getpid()))
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
		m := &machine{t: t, now: 1, table: NewTable(nil, func() uint32 { return 0 })}
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
			if p := m.table.Of(pid); p != nil && len(p.Parents) > stream.ParentsMax {
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
	if got := testing.AllocsPerRun(100, func() { m.table.Of(1500) }); got != 0 {
		b.Errorf("%v allocations for a row", got)
	}
	pid := uint32(0)
	for b.Loop() {
		m.table.Of(1000 + pid%1000)
		pid++
	}
}

// What a life costs: a fork, an exec and an end.
func BenchmarkLife(b *testing.B) {
	m := newMachine(b, host...)
	drafts := []bpf.Draft{forked(100, 50, 50), executed(100, 50, "/usr/bin/true", "true", "with", "arguments"), ends(100)}
	var records []bpf.Record
	for _, d := range drafts {
		d.Time = 1 << 41
		bytes := d.Append(nil)
		words := make([]uint64, len(bytes)/8+1)
		aligned := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words))
		copy(aligned, bytes)
		var r bpf.Record
		if err := r.View(aligned); err != nil {
			b.Fatal(err)
		}
		records = append(records, r)
	}
	b.ReportAllocs()
	for b.Loop() {
		for i := range records {
			m.table.Note(&records[i])
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
