// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package top

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/counting"
	"github.com/copenclose/copenclose/internal/golden"
	"github.com/copenclose/copenclose/internal/stream"
)

// machine is a kernel and a registry of containers that a test plays, and the Feed of
// what it counts.
type machine struct {
	t          *testing.T
	totals     map[bpf.TotalKey]*bpf.Total
	paths      map[bpf.Executable]string
	containers map[uint64]*stream.Container
	live       *counting.Live
	before     *counting.Snapshot
	now        time.Time
	err        error
}

func newMachine(t *testing.T) *machine {
	m := &machine{
		t: t, totals: make(map[bpf.TotalKey]*bpf.Total), paths: make(map[bpf.Executable]string),
		containers: map[uint64]*stream.Container{1: nil}, live: counting.NewLive(0, true),
		now: time.Date(2026, 11, 25, 12, 1, 6, 0, time.Local),
	}
	m.live.Begin(m, m, m)
	m.before = m.take()
	return m
}

func (m *machine) Totals(yield func(bpf.TotalKey, *bpf.Total)) error {
	for key, total := range m.totals {
		yield(key, total)
	}
	return nil
}

func (m *machine) OtherTotals() (others [len(bpf.Syscalls)]bpf.OtherTotal, err error) { return }
func (m *machine) ForgetTotals([]bpf.TotalKey) error                                  { return nil }
func (m *machine) Counts() (stream.Counts, error)                                     { return stream.Counts{}, nil }
func (m *machine) Record(*bpf.Record) error                                           { return nil }
func (m *machine) Flush() error                                                       { return nil }

func (m *machine) TakeExecutables(yield func(bpf.Executable, *bpf.ExecutablePath)) error {
	for exe, path := range m.paths {
		p := bpf.NewExecutablePath(path)
		yield(exe, &p)
	}
	return nil
}

func (m *machine) Find(cgroup uint64, _ bpf.Flags) (*stream.Container, bool) {
	c, known := m.containers[cgroup]
	if !known {
		return stream.Unknown, true
	}
	return c, true
}

func (m *machine) take() *counting.Snapshot {
	s, err := m.live.Take()
	if err != nil {
		m.t.Fatal(err)
	}
	s.Time = m.now
	return s
}

// Next lets a second pass.
func (m *machine) Next() (*counting.Snapshot, error) {
	m.now = m.now.Add(time.Second)
	s := m.take()
	since := s.Since(m.before)
	m.before = s
	return since, m.err
}

func (m *machine) Rows(s *counting.Snapshot, by counting.Dimensions, want func(*counting.Cell) bool, targets int) (rows []counting.Row) {
	m.live.Read(func(samples *counting.Samples) {
		if targets == 0 {
			samples = nil
		}
		rows = s.Rows(by, want, samples, targets)
	})
	return rows
}

func (m *machine) container(cgroup uint64, name string) {
	m.containers[cgroup] = &stream.Container{ID: fmt.Sprintf("%064d", cgroup), Name: name, Label: name, Runtime: "docker", CgroupID: cgroup}
}

func (m *machine) executable(inode uint64, path string) bpf.Executable {
	exe := bpf.Executable{Inode: inode, Device: 8 << 20}
	m.paths[exe] = path
	return exe
}

func syscall(t *testing.T, name string) uint8 {
	for i, s := range bpf.Syscalls {
		if s.Name == name {
			return uint8(i)
		}
	}
	t.Fatalf("no syscall %s", name)
	return 0
}

func (m *machine) call(cgroup uint64, exe bpf.Executable, name string, errno uint16, calls uint64) {
	key := bpf.TotalKey{Executable: exe, CgroupID: cgroup, Error: errno, Syscall: syscall(m.t, name)}
	if m.totals[key] == nil {
		m.totals[key] = &bpf.Total{}
	}
	m.totals[key].Calls += calls
	m.totals[key].Latencies[7] += calls
}

func (m *machine) sample(cgroup uint64, exe bpf.Executable, name string, ret int32, weight uint32, path string, peer netip.AddrPort) {
	d := bpf.Draft{Given: []byte(path), Details: &bpf.Details{}, Sampled: &bpf.Sampled{Executable: exe, Weight: weight}}
	d.Syscall, d.Ret = syscall(m.t, name), ret
	if peer.IsValid() {
		d.Socket = &bpf.Socket{Family: 2}
		d.Asked = bpf.Address{IP: peer.Addr(), Port: uint32(peer.Port())}
	}
	var r bpf.Record
	if err := r.View(d.Append(nil)); err != nil {
		m.t.Fatal(err)
	}
	if err := m.live.Sink().Event(&stream.Event{Record: &r, Container: m.containers[cgroup]}); err != nil {
		m.t.Fatal(err)
	}
}

// busy is a machine with three containers, and a hostile one.
func busy(t *testing.T) *machine {
	m := newMachine(t)
	m.container(2, "shop/api")
	m.container(3, "shop/worker")
	m.container(4, "web")
	m.container(5, "evil\x1b[2J\x1b]0;owned\a\n")
	return m
}

// work has them work for a second.
func (m *machine) work() {
	node, python := m.executable(7, "/usr/bin/node"), m.executable(8, "/usr/bin/python3")
	nginx, evil := m.executable(9, "/usr/sbin/nginx"), m.executable(10, "/tmp/\x1b[31mred\xff")
	m.call(2, node, "openat", 0, 18339)
	m.call(2, node, "openat", 2, 61)
	m.call(2, node, "connect", 0, 212)
	m.call(2, node, "accept4", 0, 98)
	m.call(2, node, "close", 0, 18700)
	m.call(3, python, "openat", 0, 4900)
	m.call(3, python, "openat", 2, 4200)
	m.call(3, python, "connect", 111, 3)
	m.call(3, python, "close", 0, 9100)
	m.call(4, nginx, "accept4", 0, 90)
	m.call(4, nginx, "accept4", 11, 40)
	m.call(5, evil, "openat", 13, 7)
	m.call(1, bpf.Executable{}, "openat", 0, 5)
	postgres, redis := netip.MustParseAddrPort("10.1.2.3:5432"), netip.MustParseAddrPort("10.1.2.4:6379")
	for i := range 100 {
		path := fmt.Sprintf("/app/node_modules/m%d/index.js", i)
		if i < 29 {
			path = fmt.Sprintf("/srv/%d/x", i)
		}
		m.sample(2, node, "openat", 3, 128, path, netip.AddrPort{})
	}
	for i := range 10 {
		m.sample(2, node, "connect", 0, 16, "", []netip.AddrPort{postgres, postgres, redis}[i%3])
	}
	for i := range 46 {
		m.sample(3, python, "openat", -2, 64, fmt.Sprintf("/usr/lib/locale/%d", i), netip.AddrPort{})
	}
	for i := range 54 {
		m.sample(3, python, "openat", 3, 64, fmt.Sprintf("/data/%d", i), netip.AddrPort{})
	}
	m.sample(3, python, "connect", -111, 1, "", redis)
	for range 7 {
		m.sample(5, evil, "openat", -13, 1, "/root/\x1b[31m\xff/secret", netip.AddrPort{})
	}
}

// screen is a model with its machine, at a size.
func screen(t *testing.T, width, height int) (*Model, *machine) {
	machine := busy(t)
	m := newModel(Config{Feed: machine, Interval: time.Second, Host: "web-1", Latency: true, UTF8: true, Now: func() time.Time { return machine.now }})
	m.Update(tea.WindowSizeMsg{Width: width, Height: height})
	return m, machine
}

// pass lets a second of work pass.
func pass(m *Model, machine *machine) {
	machine.work()
	idle(m, machine)
}

// idle lets a second without work pass.
func idle(m *Model, machine *machine) {
	frame, err := machine.Next()
	m.Update(frameMsg{frame, err})
}

// press presses keys: names of more than a letter stand in <>.
func press(m *Model, keys string) (cmd tea.Cmd) {
	for keys != "" {
		var key tea.KeyPressMsg
		name, rest, special := strings.Cut(strings.TrimPrefix(keys, "<"), ">")
		if special && keys[0] == '<' {
			keys = rest
			key.Code = map[string]rune{
				"enter": tea.KeyEnter, "esc": tea.KeyEscape, "tab": tea.KeyTab, "up": tea.KeyUp, "down": tea.KeyDown, "end": tea.KeyEnd,
				"home": tea.KeyHome, "pgdown": tea.KeyPgDown, "f6": tea.KeyF6, "backspace": tea.KeyBackspace, "space": tea.KeySpace, "ctrl+c": 'c',
			}[name]
			if name == "ctrl+c" {
				key.Mod = tea.ModCtrl
			}
			if name == "space" {
				key.Text = " "
			}
		} else {
			key.Code, key.Text = rune(keys[0]), keys[:1]
			keys = keys[1:]
		}
		_, cmd = m.Update(key)
	}
	return cmd
}

// text is the screen without its attributes and without blanks at the ends of lines.
func text(m *Model) string {
	var b strings.Builder
	for _, line := range m.draw() {
		b.WriteString(strings.TrimRight(ansi.Strip(line), " ") + "\n")
	}
	return b.String()
}

// attributes is the screen with its escape sequences readable.
func attributes(m *Model) string {
	return strings.ReplaceAll(strings.Join(m.draw(), "\n")+"\n", "\x1b", "^")
}

// fits fails if a line is wider than the screen, or there are too many, or a character
// in it could do something to a terminal.
func fits(t *testing.T, m *Model) {
	t.Helper()
	lines := m.draw()
	if len(lines) != m.height {
		t.Errorf("%d lines at a height of %d", len(lines), m.height)
	}
	for _, line := range lines {
		if n := ansi.StringWidth(line); n > m.width {
			t.Errorf("%d columns at a width of %d: %q", n, m.width, line)
		}
		for _, r := range ansi.Strip(line) {
			if !unicode.IsPrint(r) || !m.cfg.UTF8 && r > 0x7f {
				t.Errorf("%q in %q", r, line)
			}
		}
	}
}

func TestViews(t *testing.T) {
	for _, size := range []struct{ width, height int }{{80, 24}, {120, 16}, {200, 50}} {
		m, machine := screen(t, size.width, size.height)
		for range 12 {
			pass(m, machine)
		}
		for key := '1'; key <= '5'; key++ {
			press(m, string(key))
			fits(t, m)
			golden.Check(t, fmt.Sprintf("view-%c-%dx%d", key, size.width, size.height), []byte(text(m)))
		}
	}
}

// Any size that a terminal can have is drawn.
func TestSizes(t *testing.T) {
	m, machine := screen(t, 80, 24)
	fits(t, m)
	pass(m, machine)
	for width := 1; width < 260; width += 7 {
		for height := 1; height < 60; height += 5 {
			m.Update(tea.WindowSizeMsg{Width: width, Height: height})
			for key := '1'; key <= '5'; key++ {
				press(m, string(key))
				if n := len(m.draw()); n != height {
					t.Fatalf("%d lines at %dx%d", n, width, height)
				}
				for _, line := range m.draw() {
					if n := ansi.StringWidth(line); n > width {
						t.Fatalf("%d columns at %dx%d: %q", n, width, height, line)
					}
				}
			}
		}
	}
}

func TestPlainTerminal(t *testing.T) {
	m, machine := screen(t, 100, 12)
	m.cfg.UTF8 = false
	machine.container(6, "größe")
	machine.call(6, machine.executable(11, "/b"), "openat", 0, 3)
	pass(m, machine)
	fits(t, m)
	golden.Check(t, "plain", []byte(text(m)))
}

// Red is what failed, grey what has ended, bold and reverse what is marked.
func TestAttributes(t *testing.T) {
	m, machine := screen(t, 100, 10)
	pass(m, machine)
	machine.remove(3)
	pass(m, machine)
	golden.Check(t, "attributes", []byte(attributes(m)))
	press(m, "5")
	golden.Check(t, "attributes-errors", []byte(attributes(m)))
}

// remove ends a container.
func (m *machine) remove(cgroup uint64) {
	for key := range m.totals {
		if key.CgroupID == cgroup {
			delete(m.totals, key)
		}
	}
	d := bpf.Draft{}
	d.Kind, d.CgroupID = bpf.CgroupRemoved, cgroup
	d.Details = &bpf.Details{}
	var r bpf.Record
	if err := r.View(d.Append(nil)); err != nil {
		m.t.Fatal(err)
	}
	if err := m.live.Record(&r); err != nil {
		m.t.Fatal(err)
	}
}

// line returns the line on which the cursor is.
func cursor(m *Model) string { return strings.Fields(m.lines[m.place.index].words)[0] }

func TestDrill(t *testing.T) {
	m, machine := screen(t, 100, 20)
	pass(m, machine)
	if cursor(m) != "shop/api" {
		t.Errorf("the cursor is on %s", cursor(m))
	}
	press(m, "j")
	if cursor(m) != "shop/worker" {
		t.Errorf("the cursor is on %s", cursor(m))
	}
	press(m, "<enter>")
	if got := text(m); m.place.view != processes || len(m.lines) != 1 || cursor(m) != "/usr/bin/python3" || !strings.Contains(got, "in shop/worker\n") {
		t.Errorf("%d lines\n%s", len(m.lines), got)
	}
	press(m, "<enter>")
	if got := text(m); m.place.view != files || !strings.Contains(got, "in shop/worker, /usr/bin/python3\n") || strings.Contains(got, "node_modules") || !strings.Contains(got, "/usr/lib/locale/**") {
		t.Error(got)
	}
	press(m, "<tab>")
	if got := text(m); m.place.view != peers || !strings.Contains(got, "10.1.2.4:6379") || strings.Contains(got, "5432") || !strings.Contains(got, "ECONNREFUSED") {
		t.Error(got)
	}
	press(m, "<enter>")
	if got := text(m); !strings.Contains(got, "nothing is below a file or a peer") {
		t.Error(got)
	}
	press(m, "<esc><esc>")
	if got := text(m); m.place.view != containers || cursor(m) != "shop/worker" || strings.Contains(got, "  in ") {
		t.Error(got)
	}
	press(m, "<esc>5/enoent<enter><enter>")
	if got := text(m); m.place.view != files || !strings.Contains(got, ", open, ENOENT\n") {
		t.Error(got)
	}
}

func TestFilter(t *testing.T) {
	m, machine := screen(t, 100, 20)
	pass(m, machine)
	press(m, "/Shop")
	if got := text(m); len(m.lines) != 2 || !strings.Contains(got, "filter: Shop  ") {
		t.Error(got)
	}
	press(m, "x")
	if m.typed != "Shopx" || len(m.lines) != 0 || !strings.Contains(text(m), "nothing passes the filter") {
		t.Error(text(m))
	}
	press(m, "<backspace><enter>!")
	if got := text(m); len(m.lines) != 3 || strings.Contains(got, "shop/api") || !strings.Contains(got, "filter: not Shop") {
		t.Error(got)
	}
	press(m, "!<esc>")
	if len(m.lines) != 5 || m.filter != "" {
		t.Error(text(m))
	}
	press(m, "/web<esc>")
	if len(m.lines) != 5 || m.filter != "" {
		t.Error(text(m))
	}
	press(m, "x")
	for _, l := range m.lines {
		if l.row.Failed() != l.row.Calls() {
			t.Errorf("%+v", l.row.Sum)
		}
	}
	if got := text(m); len(m.lines) != 4 || !strings.Contains(got, "failed only") || strings.Contains(got, "\n- ") {
		t.Error(got)
	}
}

func orderOf(m *Model) (names []string) {
	for _, l := range m.lines {
		names = append(names, strings.Fields(l.words)[0])
	}
	return names
}

func TestSort(t *testing.T) {
	m, machine := screen(t, 100, 20)
	pass(m, machine)
	press(m, "jj") // what is not done by anybody else
	on := cursor(m)
	for keys, want := range map[string]string{"": "shop/api", "s": "shop/api", "ss": "web", "sss": "shop/api", "ssss": "shop/worker"} {
		m.order[containers] = order{column: "OPEN/s"}
		m.refresh()
		press(m, keys)
		if got := orderOf(m); got[0] != want || cursor(m) != on {
			t.Errorf("%q: sorted by %s: %v; the cursor is on %s", keys, m.order[containers].column, got, cursor(m))
		}
	}
	m.order[containers] = order{column: "OPEN/s"}
	m.refresh()
	press(m, "I")
	if got := orderOf(m); got[len(got)-1] != "shop/api" || !strings.Contains(text(m), "OPEN/s▴") || cursor(m) != on {
		t.Errorf("%v\n%s", got, text(m))
	}
	press(m, "<")
	if got := orderOf(m); m.order[containers].column != "CONTAINER" || got[0] != "-" {
		t.Errorf("%v", got)
	}
	press(m, "<f6>")
	if m.order[containers].column != "OPEN/s" {
		t.Error(m.order[containers])
	}
}

// The cursor stays on its line when others pass it, and moves no further than there are
// lines.
func TestCursorStays(t *testing.T) {
	m, machine := screen(t, 100, 8)
	pass(m, machine)
	press(m, "<down>")
	machine.call(4, machine.executable(9, "/usr/sbin/nginx"), "openat", 0, 1e6)
	pass(m, machine)
	if got := orderOf(m); got[0] != "web" || cursor(m) != "shop/worker" || m.place.index != 2 {
		t.Errorf("%v, on %s", got, cursor(m))
	}
	press(m, "<end><down><pgdown>")
	if m.place.index != 4 || m.first != 1 {
		t.Errorf("at %d, from %d", m.place.index, m.first)
	}
	press(m, "<home><up>")
	if m.place.index != 0 || m.first != 0 {
		t.Errorf("at %d, from %d", m.place.index, m.first)
	}
}

// A container that ended stays for a while, grey, and so does one that is idle.
func TestGone(t *testing.T) {
	m, machine := screen(t, 100, 20)
	pass(m, machine)
	machine.remove(3)
	for second := range 10 {
		idle(m, machine)
		there := strings.Contains(text(m), "shop/worker")
		if want := second <= int(goneFor/time.Second); there != want {
			t.Errorf("after %d seconds it is there: %t", second, there)
		}
	}
	if !strings.Contains(text(m), "shop/api") || !strings.Contains(text(m), "3 containers") {
		t.Error(text(m))
	}
	for range historyMax {
		idle(m, machine)
	}
	if len(m.lines) != 0 || len(m.known) != 0 {
		t.Errorf("%d lines, %d known after a minute\n%s", len(m.lines), len(m.known), text(m))
	}
}

func TestPause(t *testing.T) {
	m, machine := screen(t, 100, 20)
	pass(m, machine)
	before := text(m)
	press(m, "<space>")
	machine.call(4, machine.executable(9, "/usr/sbin/nginx"), "openat", 0, 1e6)
	pass(m, machine)
	if got := text(m); strings.Replace(got, " [stopped]", "[every 1s]", 1) != before {
		t.Errorf("got\n%s\nwant\n%s", got, before)
	}
	press(m, "<space>")
	pass(m, machine)
	if got := text(m); got == before || strings.Contains(got, "stopped") {
		t.Error(got)
	}
}

func TestInterval(t *testing.T) {
	m, machine := screen(t, 100, 20)
	pass(m, machine)
	press(m, "d2.5<enter>")
	if m.cfg.Interval != 2500*time.Millisecond || !strings.Contains(text(m), "[every 2.5s]") {
		t.Error(text(m))
	}
	for _, bad := range []string{"dx<enter>", "d0<enter>", "d<enter>", "d-1<enter>", "dinf<enter>", "dnan<enter>"} {
		press(m, bad)
		if m.cfg.Interval != 2500*time.Millisecond || !strings.Contains(text(m), "is not a number of seconds") {
			t.Errorf("%s: %v", bad, m.cfg.Interval)
		}
	}
	press(m, "d1<esc>")
	if m.cfg.Interval != 2500*time.Millisecond {
		t.Error(m.cfg.Interval)
	}
}

func TestHelp(t *testing.T) {
	m, machine := screen(t, 80, 24)
	pass(m, machine)
	before := text(m)
	press(m, "?")
	fits(t, m)
	golden.Check(t, "help", []byte(text(m)))
	press(m, "q")
	if got := text(m); got != before || m.stopped {
		t.Error(got)
	}
}

func TestSave(t *testing.T) {
	m, machine := screen(t, 100, 20)
	var saved []byte
	m.cfg.Save = func(text []byte) (string, error) {
		if saved != nil {
			return "", errors.New("file exists")
		}
		saved = text
		return "a.json", nil
	}
	if press(m, "S") != nil {
		t.Error("there is nothing yet")
	}
	pass(m, machine)
	m.Update(press(m, "5S")())
	if got := text(m); !strings.Contains(got, "saved a.json") {
		t.Error(got)
	}
	var object struct {
		Rows []struct {
			Error     string
			Operation string
			Calls     int
		}
	}
	if err := json.Unmarshal(saved, &object); err != nil || len(object.Rows) != len(m.lines) || object.Rows[0].Calls == 0 || object.Rows[0].Operation == "" {
		t.Errorf("%v, %s", err, saved)
	}
	m.Update(press(m, "S")())
	if got := text(m); !strings.Contains(got, "file exists") {
		t.Error(got)
	}
}

func TestRows(t *testing.T) {
	m, machine := screen(t, 100, 20)
	var asked []Selection
	m.cfg.Rows = func(s Selection) (func() error, string) {
		asked = append(asked, s)
		return func() error { return nil }, "wider"
	}
	pass(m, machine)
	if cmd := press(m, "je"); cmd == nil || m.message != "wider" {
		t.Errorf("%v, %q", cmd, m.message)
	}
	press(m, "5/econn<enter>xe")
	if len(asked) != 2 || asked[0].Origin.Label() != "shop/worker" || asked[0].Program != nil || asked[1].Error != 111 || *asked[1].Operation != counting.Connect || !asked[1].Failed {
		t.Errorf("%+v", asked)
	}
	m.Update(rowsEndedMsg{errors.New("exit status 1")})
	if got := text(m); !strings.Contains(got, "exit status 1") {
		t.Error(got)
	}
}

// panicking is a Feed that panics after some frames.
type panicking struct {
	*machine
	frames int
}

func (p *panicking) Next() (*counting.Snapshot, error) {
	if p.frames++; p.frames > 3 {
		panic("broken")
	}
	return p.machine.Next()
}

// After a panic the terminal's modes are as they were; its settings are the monitor's to
// restore, if this has not.
func TestRunPanics(t *testing.T) {
	machine := busy(t)
	machine.work()
	var out bytes.Buffer
	in, write := io.Pipe()
	defer write.Close()
	err := Run(t.Context(), Config{Feed: &panicking{machine: machine}, Interval: 10 * time.Millisecond, UTF8: true, Now: time.Now},
		tea.WithInput(in), tea.WithOutput(&out), tea.WithoutSignalHandler(), tea.WithWindowSize(100, 20), tea.WithEnvironment([]string{"TERM=xterm-256color"}))
	if !errors.Is(err, tea.ErrProgramPanic) {
		t.Error(err)
	}
	text := out.String()
	for on, off := range map[string]string{"\x1b[?1049h": "\x1b[?1049l", "\x1b[?25l": "\x1b[?25h", "\x1b[?2004h": "\x1b[?2004l"} {
		if strings.LastIndex(text, off) < strings.LastIndex(text, on) || !strings.Contains(text, on) {
			t.Errorf("%q is not followed by %q: %q", on, off, text)
		}
	}
}

// What the program itself shows, with a real terminal's bytes; it ends with q, with
// Ctrl-C, with its context, and with an error of the feed.
func TestRun(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		input string
		err   error
	}{
		"q": {"q", nil}, "ctrl-c": {"\x03", nil}, "context": {"", nil}, "feed": {"", broken},
	} {
		machine := busy(t)
		machine.work()
		machine.err = c.err
		ctx, cancel := context.WithCancel(t.Context())
		var out bytes.Buffer
		in, write := io.Pipe()
		go func() {
			if name == "context" {
				time.AfterFunc(100*time.Millisecond, cancel)
			}
			_, _ = io.WriteString(write, c.input)
		}()
		err := Run(ctx, Config{Feed: machine, Interval: 10 * time.Millisecond, UTF8: true, Now: time.Now},
			tea.WithInput(in), tea.WithOutput(&out), tea.WithoutSignalHandler(), tea.WithWindowSize(100, 20), tea.WithEnvironment([]string{"TERM=xterm-256color"}))
		cancel()
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
		if text := out.String(); strings.Contains(text, "\x1b[?1049h") && !strings.Contains(text, "\x1b[?1049l") {
			t.Errorf("%s: the screen is left as it was not: %q", name, text)
		}
	}
}
