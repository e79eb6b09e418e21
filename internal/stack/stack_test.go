// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package stack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"sort"
	"strings"
	"testing"

	"github.com/copenclose/copenclose/bpf"
)

func TestMappings(t *testing.T) {
	const text = `55d0c0a00000-55d0c0a01000 r--p 00000000 08:01 1234                       /usr/bin/a b
55d0c0a01000-55d0c0a02000 r-xp 00001000 08:01 1234                       /usr/bin/a b
7f0000000000-7f0000001000 rwxp 00000000 00:00 0
7f0000002000-7f0000003000 r-xp 00002000 00:2a 99                         /tmp/x (deleted)
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0                          [vdso]
nonsense
7ffd00003000-7ffd00002000 r-xp 00000000 00:00 0                          [backwards]
`
	list, err := parseMappings(strings.NewReader(text))
	if err != nil || len(list) != 4 {
		t.Fatalf("%v, %v", list, err)
	}
	if want := (mapping{0x55d0c0a01000, 0x55d0c0a02000, 0x1000, 1234, "/usr/bin/a b"}); list[0] != want {
		t.Errorf("%+v, want %+v", list[0], want)
	}
	for address, name := range map[uint64]string{
		0x55d0c0a01000: "a b", 0x55d0c0a01fff: "a b", 0x7f0000000800: "[anonymous]", 0x7f0000002000: "x (deleted)", 0x7ffd00001000: "[vdso]",
	} {
		if m := mappingOf(list, address); m == nil || m.name() != name {
			t.Errorf("%#x: %+v, want %s", address, m, name)
		}
	}
	for _, address := range []uint64{0, 0x55d0c0a00fff, 0x55d0c0a02000, 0x7ffd00002000, 1<<64 - 1} {
		if m := mappingOf(list, address); m != nil {
			t.Errorf("%#x: %+v", address, m)
		}
	}
}

func TestProgram(t *testing.T) {
	now, err := readProgram(uint32(os.Getpid()))
	if err != nil || now.startCode == 0 || now.startStack == 0 {
		t.Errorf("%+v, %v", now, err)
	}
	if p, err := parseProgram([]byte("1 (a) b) S 1")); err == nil {
		t.Errorf("%+v of a line that is too short", p)
	}
}

func TestPerfMap(t *testing.T) {
	p := parsePerfMap(strings.NewReader("1000 100 old\n1080 10 newer, in what old had\n0x3000 0x20 with 0x\nnonsense\n4000 zz x\n5000 10 \n"))
	for address, want := range map[uint64]string{
		0x1000: "old", 0x1085: "newer, in what old had", 0x1090: "old", 0x1100: "", 0x301f: "with 0x", 0x3020: "", 0x5000: "", 0: "",
	} {
		if got := p.at(address); got != want {
			t.Errorf("%#x: %q, want %q", address, got, want)
		}
	}
	if (*perfMap)(nil).at(7) != "" {
		t.Error("no map has names")
	}
}

// A map is read in the process's own root, through no link, and only if it is a file.
func TestPerfMapOfProcess(t *testing.T) {
	if _, err := readPerfMap(1<<31 - 1); err == nil {
		t.Error("there is no such process")
	}
	name := filepath.Join("/tmp", "perf-"+numberOf(t)+".map")
	if err := os.WriteFile(name, []byte("1000 10 f\n"), 0o600); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.Remove(name) })
	if p, err := readPerfMap(uint32(os.Getpid())); err != nil || p.at(0x1001) != "f" {
		t.Errorf("%+v, %v", p, err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", name); err != nil {
		t.Fatal(err)
	}
	if p, err := readPerfMap(uint32(os.Getpid())); err == nil {
		t.Errorf("%+v through a link", p)
	}
}

func numberOf(t *testing.T) string {
	self, err := os.Readlink("/proc/self")
	if err != nil {
		t.Fatal(err)
	}
	return self
}

func TestBuildID(t *testing.T) {
	note := func(kind uint32, name, description string) (b []byte) {
		for _, n := range []uint32{uint32(len(name)), uint32(len(description)), kind} {
			b = binary.LittleEndian.AppendUint32(b, n)
		}
		pad := func(s string) string { return s + strings.Repeat("\x00", -len(s)&3) }
		return append(b, pad(name)+pad(description)...)
	}
	for _, c := range []struct {
		notes []byte
		want  string
	}{
		{nil, ""},
		{note(3, "GNU\x00", "\x12\x34\xab"), "1234ab"},
		{append(note(1, "GNU\x00", "other"), note(3, "GNU\x00", "\xff")...), "ff"},
		{note(3, "Go\x00\x00", "x"), ""},
		{note(3, "GNU\x00", "x")[:15], ""},
		{[]byte("\xff\xff\xff\xff\xff\xff\xff\xff\x03\x00\x00\x00"), ""},
	} {
		if got := buildIDIn(c.notes); got != c.want {
			t.Errorf("%x: %q, want %q", c.notes, got, c.want)
		}
	}
}

// ownModule is this test's own program.
func ownModule(t testing.TB) *module {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	m, err := newModule(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return m
}

// Functions of a program in Go are found by the table that it has even if it is stripped,
// and are those that the runtime says.
func TestGoNames(t *testing.T) {
	m := ownModule(t)
	m.readNames()
	if m.golang == nil || m.golang.table == nil {
		t.Fatal("this program has no table of its functions")
	}
	for _, function := range []any{TestGoNames, newModule, buildIDIn, strings.Index, os.ReadFile, fmt.Fprintf, sort.Sort} {
		pc := reflect.ValueOf(function).Pointer()
		want := runtime.FuncForPC(pc)
		wantFile, wantLine := want.FileLine(pc)
		name, file, line := m.golang.at(uint64(pc))
		if name != want.Name() || file != wantFile || line != wantLine {
			t.Errorf("%q %s:%d, want %q %s:%d", name, file, line, want.Name(), wantFile, wantLine)
		}
	}
}

// An index that is made of .eh_frame is the one that the linker made.
func TestIndex(t *testing.T) {
	for _, name := range []string{"/lib/x86_64-linux-gnu/libc.so.6", "/lib/aarch64-linux-gnu/libc.so.6", "/lib64/libc.so.6"} {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		defer f.Close()
		m, err := newModule(f)
		if err != nil || m.index == nil {
			t.Fatalf("%s: %+v, %v", name, m, err)
		}
		if m.buildID == "" {
			t.Errorf("%s has no build id", name)
		}
		functions := len(m.index.table) / 8
		for i := range functions {
			start := m.index.at(i, 0)
			entry, ok := m.index.entryOf(start)
			if !ok {
				t.Fatalf("no entry of %#x", start)
			}
			if r, c, err := rulesOf(m.read, entry, start); err != nil || c.returnAddress >= registersMax || r.frame.kind == sameValue {
				t.Errorf("%#x: %+v, %v", start, r, err)
			}
		}
		if functions < 1000 {
			t.Errorf("%d functions", functions)
		}
		return
	}
	t.Skip("the C library is elsewhere")
}

// The rules of a function that compilers write: push rbp; mov rbp, rsp; ...; leave; ret.
func TestRules(t *testing.T) {
	c := &common{codeAlign: 1, dataAlign: -8, returnAddress: 16, instructions: []byte{cfaDefine, 7, 8, offsetIn | 16, 1}}
	program := []byte{advanceBy | 1, cfaDefineOffset, 16, offsetIn | 6, 2, advanceBy | 3, cfaDefineRegister, 6, cfaRemember, advanceBy | 20, restoreIn | 6, cfaDefine, 7, 8, advanceBy | 1, cfaRestoreState}
	for _, s := range []struct {
		at    uint64
		frame rule
		bp    rule
	}{
		{0, rule{kind: inRegister, register: 7, offset: 8}, rule{}},
		{1, rule{kind: inRegister, register: 7, offset: 16}, rule{kind: atOffset, offset: -16}},
		{4, rule{kind: inRegister, register: 6, offset: 16}, rule{kind: atOffset, offset: -16}},
		{24, rule{kind: inRegister, register: 7, offset: 8}, rule{}},
		{25, rule{kind: inRegister, register: 6, offset: 16}, rule{kind: atOffset, offset: -16}},
	} {
		r, err := c.run(program, s.at)
		if err != nil || !reflect.DeepEqual(r.frame, s.frame) || !reflect.DeepEqual(r.registers[6], s.bp) ||
			!reflect.DeepEqual(r.registers[16], rule{kind: atOffset, offset: -8}) {
			t.Errorf("at %d: %+v %+v, %v", s.at, r.frame, r.registers[6], err)
		}
	}
	for _, wrong := range [][]byte{{cfaRestoreState}, {0x3f}, {cfaDefine}, bytes.Repeat([]byte{cfaRemember}, rememberedMax+1)} {
		if _, err := c.run(wrong, 99); err == nil {
			t.Errorf("%x was taken", wrong)
		}
	}
}

func TestEvaluate(t *testing.T) {
	u := &unwinder{stackAt: 0x1000, stack: []byte{1, 0, 0, 0, 0, 0, 0, 0, 9, 9}}
	u.registers[7] = 0xff8
	for _, c := range []struct {
		expression []byte
		want       uint64
		ok         bool
	}{
		{[]byte{opBase + 7, 8, opDeref}, 1, true},
		{[]byte{opPlusConst, 5}, 105, true},
		{[]byte{opLiteral + 3, opShiftLeft}, 800, true},
		{[]byte{opLiteral + 9, opGreaterEq}, 1, true},
		{[]byte{opConst1s, 0xff, opPlus}, 99, true},
		{[]byte{opBase + 7, 16, opDeref}, 0, false}, // beyond what was copied
		{[]byte{opPlus}, 0, false},
		{[]byte{0xff}, 0, false},
		{[]byte{opPlusConst}, 0, false},
		{bytes.Repeat([]byte{opLiteral}, 40), 0, false},
	} {
		if got, ok := u.evaluate(c.expression, 100); ok != c.ok || ok && got != c.want {
			t.Errorf("%x: %d %v, want %d", c.expression, got, ok, c.want)
		}
	}
}

func FuzzCFI(f *testing.F) {
	f.Add([]byte{0x1, 0x1b, 0x3, 0x3b, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0}, uint64(4))
	f.Add([]byte("\x14\x00\x00\x00\x00\x00\x00\x00\x01zR\x00\x01x\x10\x01\x1b\x0c\x07\x08\x90\x01\x00\x00"+
		"\x18\x00\x00\x00\x1c\x00\x00\x00\x10\x00\x00\x00\x20\x00\x00\x00\x00A\x0e\x10\x86\x02C\x0d\x06"), uint64(0x30))
	f.Fuzz(func(t *testing.T, b []byte, address uint64) {
		read := entryReader(func(at uint64, size int) ([]byte, error) {
			if at > uint64(len(b)) || uint64(size) > uint64(len(b))-at {
				return nil, errCFI
			}
			return b[at:][:size], nil
		})
		if entry, ok := indexOf(b, 0).entryOf(address); ok {
			_, _, _ = rulesOf(read, entry, address)
		}
		if index, err := newFrameIndex(b, 0); err == nil {
			if entry, ok := index.entryOf(address); ok {
				_, _, _ = rulesOf(read, entry, address)
			}
		}
		u := &unwinder{process: &process{}, stack: b, registers: [registersMax]uint64{stackPointer: address % 64, framePointer: address % 128}}
		_, _ = u.evaluate(b, address)
		u.byFramePointer()
		c := &common{codeAlign: 1, dataAlign: -8, returnAddress: 16, instructions: b}
		if r, err := c.run(b, address); err == nil {
			u.byRules(r, c)
		}
	})
}

func FuzzModule(f *testing.F) {
	for _, name := range []string{"/bin/true", "/bin/false"} {
		if b, err := os.ReadFile(name); err == nil && len(b) < 1<<16 {
			f.Add(b)
		}
	}
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		name := filepath.Join(t.TempDir(), "module")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		m, err := newModule(file)
		if err != nil {
			return
		}
		m.readNames()
		for _, s := range m.segments {
			_ = m.symbols.at(s.address)
			_, _, _ = m.golang.at(s.address)
			_, _ = m.read(s.address, 16)
		}
	})
}

func FuzzText(f *testing.F) {
	f.Add([]byte("7f0000000000-7f0000001000 rwxp 00000000 00:00 0 x"))
	f.Add([]byte("1000 10 f"))
	f.Add([]byte("1 (x) S 1 2 3"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, _ := parseMappings(bytes.NewReader(b))
		_ = mappingOf(list, 0x7f0000000800)
		_ = parsePerfMap(bytes.NewReader(b)).at(0x1001)
		_, _ = parseProgram(b)
		_ = buildIDIn(b)
	})
}

// A stack of a process that runs something else by now is not resolved.
func TestResolveOther(t *testing.T) {
	r := NewRecorder()
	r.Add(&bpf.CallStack{PID: uint32(os.Getpid()), StartCode: 1, StartStack: 2})
	if calls, counts := r.Collect(), r.Counts(); len(calls) != 0 || counts.Gone != 1 {
		t.Errorf("%v, %+v", calls, counts)
	}
	now, err := readProgram(uint32(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	r.Add(&bpf.CallStack{PID: uint32(os.Getpid()), StartCode: now.startCode, StartStack: now.startStack})
	if calls, counts := r.Collect(), r.Counts(); len(calls) != 1 || counts.Resolved != 1 || len(calls[0].Stack.Frames) != 0 {
		t.Errorf("%v, %+v", calls, counts)
	}
}
