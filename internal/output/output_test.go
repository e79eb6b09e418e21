package output

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/copenclose/copenclose/bpf"
)

var update = flag.Bool("update", false, "write the golden files anew")

// event makes an event as the kernel would send it.
func event(time, cgroup uint64, pid, uid, gid uint32, syscall, comm, hostname string) *bpf.Event {
	record := make([]uint64, unsafe.Sizeof(bpf.Event{})/8)
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&record[0])), len(record)*8)
	for i, s := range bpf.Syscalls {
		if s.Name == syscall {
			raw[unsafe.Offsetof(bpf.Event{}.Syscall)] = byte(i)
		}
	}
	copy(raw[40:56], comm)
	copy(raw[56:120], hostname)
	e, err := bpf.View(raw)
	if err != nil {
		panic(err)
	}
	e.Time, e.CgroupID, e.PID, e.UID, e.GID = time, cgroup, pid, uid, gid
	return e
}

const second = 1_000_000_000

var events = []*bpf.Event{
	event(10*second, 3333, 107148, 100000, 100000, "accept4", "httpd", "6643ca763e3e"),
	event(10*second+1, 3333, 107148, 100000, 100000, "openat", "httpd", "6643ca763e3e"),
	event(10*second+999_999_999, 1, 1, 0, 0, "open", "Web Content", "a"),
	event(11*second, 1234567890123, 4194304, 4294967294, 4294967294, "connect", "fifteen bytes o", strings.Repeat("h", 64)),
	event(86411*second, 0, 7, 0, 0, "close", "\x1b[31mred\n", "\u202egnp.exe\xff x"),
	event(86411*second, 0, 7, 0, 0, "accept", "bäcker", ""),
}

// fixed writes as if the kernel's clock had started in 2021.
func fixed(out io.Writer, columns []column, limit uint64) *Writer {
	w, err := NewWriter(out, columns, limit)
	if err != nil {
		panic(err)
	}
	w.clock.offset = 1611041700 * second
	return w
}

func TestTables(t *testing.T) {
	for name, columns := range map[string][]column{"hostnames": Hostnames, "cgroupids": CgroupIDs} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			w := fixed(&out, columns, 0)
			for _, e := range events {
				if err := w.Event(e); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if out.String() != string(want) {
				t.Errorf("got\n%s\nwant\n%s", &out, want)
			}
			if w.Shown() != uint64(len(events)) || w.Unwritten() != 0 {
				t.Errorf("%d shown, %d unwritten", w.Shown(), w.Unwritten())
			}
		})
	}
}

func TestLimit(t *testing.T) {
	var out bytes.Buffer
	w := fixed(&out, Hostnames, 2)
	if err := w.Event(events[0]); err != nil {
		t.Fatal(err)
	}
	if err := w.Event(events[1]); !errors.Is(err, ErrEnough) {
		t.Fatalf("the last event gave %v", err)
	}
	_ = w.Flush()
	if lines := bytes.Count(out.Bytes(), []byte("\n")); lines != 3 || w.Shown() != 2 {
		t.Errorf("%d lines, %d shown", lines, w.Shown())
	}
}

// A full buffer is written without being told to, and never grows.
func TestWritesWhenFull(t *testing.T) {
	var out bytes.Buffer
	w := fixed(&out, Hostnames, 0)
	header := out.Len()
	for range 10_000 {
		if err := w.Event(events[3]); err != nil {
			t.Fatal(err)
		}
	}
	if out.Len() == header || cap(w.buffer) != bufferSize {
		t.Errorf("%d bytes written, the buffer takes %d", out.Len(), cap(w.buffer))
	}
}

// brokenAfter takes n bytes and then fails.
type brokenAfter struct{ n int }

func (b *brokenAfter) Write(p []byte) (int, error) {
	n := min(b.n, len(p))
	b.n -= n
	if n < len(p) {
		return n, io.ErrClosedPipe
	}
	return n, nil
}

func TestCountsWhatWasWritten(t *testing.T) {
	w := fixed(&brokenAfter{n: 300}, Hostnames, 0)
	for range 10 {
		_ = w.Event(events[0])
	}
	if err := w.Flush(); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("flush gave %v", err)
	}
	if w.Shown() != 3 || w.Unwritten() != 7 {
		t.Errorf("%d shown and %d unwritten of 10", w.Shown(), w.Unwritten())
	}
}

func TestNoAllocations(t *testing.T) {
	w := fixed(io.Discard, Hostnames, 0)
	if n := testing.AllocsPerRun(10_000, func() { _ = w.Event(events[0]) }); n != 0 {
		t.Errorf("%v allocations for each event", n)
	}
}

// Escaped text is printable, has no space where it must not, and unquotes to
// what it was.
func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "httpd", "Web Content", "\x1b[2J", "\xff\xfe", `a\b`, "\u202e", "日本", "\x00\x7f\u0085"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, spaces bool) {
		escaped := string(appendEscaped(nil, []byte(s), spaces))
		for _, r := range escaped {
			if !strconv.IsPrint(r) || r == ' ' && !spaces {
				t.Fatalf("%q became %q", s, escaped)
			}
		}
		back, err := strconv.Unquote(`"` + strings.ReplaceAll(escaped, `"`, `\"`) + `"`)
		if err != nil || back != s {
			t.Fatalf("%q became %q, and that %q: %v", s, escaped, back, err)
		}
	})
}

func BenchmarkTable(b *testing.B) {
	for name, columns := range map[string][]column{"hostnames": Hostnames, "cgroupids": CgroupIDs} {
		b.Run(name, func(b *testing.B) {
			w := fixed(io.Discard, columns, 0)
			b.ReportAllocs()
			for b.Loop() {
				_ = w.Event(events[0])
			}
		})
	}
}
