// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"bytes"
	"strings"
	"testing"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/docs"
	"github.com/copenclose/copenclose/internal/conform"
	"github.com/copenclose/copenclose/internal/golden"
	"github.com/copenclose/copenclose/internal/stream"
)

var programs = []*stream.Program{
	{Exe: "/usr/sbin/nginx", Args: []byte("nginx\x00-c\x00/etc/nginx.conf\x00"),
		Parents: []stream.Parent{{PID: 50, Exe: "/usr/bin/dash"}, {PID: 40, Exe: "/usr/bin/containerd-shim"}, {PID: 1, Exe: "/usr/lib/systemd/systemd"}}},
	nil,
	{Exe: "/opt/" + hostile, Args: []byte("it's\x00\x00" + hostile), ExeCut: true, ArgsCut: true,
		Parents: []stream.Parent{{PID: 60, Exe: "/bin/a<b c" + hostile}, {PID: 61, Exe: "memfd:runc"}, {PID: 62}, {PID: 2, Comm: "kthreadd"}}},
	{Comm: "kworker/0:0", Parents: []stream.Parent{{PID: 2, Comm: "kthreadd"}}},
}

var longestProgram = &stream.Program{
	Exe:     strings.Repeat("\x01", bpf.TextMax-1) + "\xff",
	Args:    append(bytes.Repeat([]byte("'"), bpf.ArgsMax-1), 0xff),
	Parents: make([]stream.Parent, stream.ParentsMax),
}

func init() {
	for i := range longestProgram.Parents {
		longestProgram.Parents[i] = stream.Parent{PID: 1 << 31, Exe: longestProgram.Exe}
	}
}

// ran is what is shown of calls of these programs, of each two calls.
func ran(t *testing.T, o Options) []byte {
	t.Helper()
	var out bytes.Buffer
	w := fixed(&out, o)
	for i, p := range programs {
		for range 2 {
			e := &stream.Event{Record: sent("openat", "x", "h", bpf.Draft{Details: &bpf.Details{Target: bpf.TargetPath}, Given: []byte("/a")}), Program: p}
			e.PID = uint32(100 + i)
			if err := w.Event(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestPrograms(t *testing.T) {
	golden.Check(t, "programs", bytes.Join([][]byte{
		ran(t, Options{Format: Table, Program: true}),
		ran(t, Options{Format: Table, Columns: []string{"pid", "args", "args_truncated", "exe_truncated", "parents"}}),
		ran(t, Options{Format: "tsv", Columns: []string{"exe", "args", "parents", "pid"}}),
	}, nil))
	lines := ran(t, Options{Format: JSON, Program: true})
	golden.Check(t, "programsjson", lines)
	conform.Lines(t, docs.EventSchema, lines)
	if text := ran(t, Options{Format: JSON}); bytes.Contains(text, []byte("exe")) || bytes.Contains(text, []byte("args")) {
		t.Errorf("programs are shown though nobody asked: %s", text)
	}
}

// What a process runs can change without its name, and the row says it.
func TestProgramChanges(t *testing.T) {
	var out bytes.Buffer
	w := fixed(&out, Options{Columns: []string{"comm", "exe"}, NoHeader: true})
	r := sent("openat", "x", "h", bpf.Draft{})
	for _, exe := range []string{"/a", "/a", "/b"} {
		_ = w.Event(&stream.Event{Record: r, Program: &stream.Program{Exe: exe}})
	}
	_ = w.Event(&stream.Event{Record: r})
	_ = w.Flush()
	if got := strings.Fields(out.String()); strings.Join(got, " ") != "x /a x /a x /b x -" {
		t.Errorf("%q", got)
	}
}

func TestNeedsPrograms(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want bool
	}{
		{Options{Format: JSON}, false},
		{Options{Format: JSON, Program: true}, true},
		{Options{Format: Wide}, false},
		{Options{Format: Wide, Program: true}, true},
		{Options{Columns: []string{"pid", "parents"}}, true},
		{Options{Columns: []string{"pid"}, Program: true}, false},
	} {
		if got := fixed(&bytes.Buffer{}, c.o).Needs(); got.Programs != c.want {
			t.Errorf("%+v needs %+v", c.o, got)
		}
	}
}

// What rows cost with what a process runs, beside without.
func BenchmarkPrograms(b *testing.B) {
	for name, o := range map[string]Options{"without": {Format: JSON}, "with": {Format: JSON, Program: true}} {
		for others, step := range map[string]int{"same": 0, "another": 1} {
			b.Run(name+"/"+others, func(b *testing.B) {
				w := fixed(discard{}, o)
				e := &stream.Event{Record: sent("openat", "x", "h", bpf.Draft{Details: &bpf.Details{Target: bpf.TargetPath}, Given: []byte("/etc/passwd")})}
				of := []*stream.Program{programs[0], {Exe: "/usr/bin/true", Args: []byte("true\x00"), Parents: programs[0].Parents}}
				i := 0
				b.ReportAllocs()
				for b.Loop() {
					e.PID, e.Program = uint32(i%2), of[i%2]
					_ = w.Event(e)
					i += step
				}
			})
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
