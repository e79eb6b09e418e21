package output

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/copenclose/copenclose/bpf"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sent is what the kernel would send. change may set what event.go shows of it.
func sent(syscall, comm, hostname string, change func(*bpf.Record), text string) *bpf.Record {
	words := make([]uint64, bpf.RecordMax/8+1)
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), bpf.RecordMax)
	for i, s := range bpf.Syscalls {
		if s.Name == syscall {
			raw[unsafe.Offsetof(bpf.Event{}.Syscall)] = byte(i)
		}
	}
	copy(raw[unsafe.Offsetof(bpf.Event{}.ABI)+3:], comm)
	copy(raw[unsafe.Offsetof(bpf.Event{}.ABI)+3+16:], hostname)
	head := unsafe.Sizeof(bpf.Event{}) + unsafe.Sizeof(bpf.Details{})
	copy(raw[head:], text)
	*(*uint32)(unsafe.Pointer(&raw[head-4])) = uint32(len(text))
	r := &bpf.Record{}
	if err := r.View(raw); err != nil {
		panic(err)
	}
	r.Time, r.CgroupID = 10*second, 3333
	r.PID, r.TID, r.UID, r.GID = 107148, 107149, 100000, 100000
	r.Details.PPID, r.Details.FD = 107000, -100
	if change != nil {
		change(r)
	}
	return r
}

const second = 1_000_000_000

// Whatever the columns, what a container chose cannot pass for another one.
var records = []*bpf.Record{
	sent("accept4", "httpd", "6643ca763e3e", func(r *bpf.Record) { r.Ret, r.Details.FD, r.Details.Flags = 9, 4, 0o2000000 }, ""),
	sent("openat", "httpd", "6643ca763e3e", func(r *bpf.Record) {
		r.Time++
		r.Ret, r.Details.Target, r.Details.Flags = 10, bpf.TargetPath, 0o2000000
	}, "/var/www/html/index.html"),
	sent("open", "Web Content", "a", func(r *bpf.Record) {
		r.Time += second - 1
		r.CgroupID, r.PID, r.UID, r.GID = 1, 1, 0, 0
		r.Ret, r.Details.Target, r.Details.Flags, r.Details.Mode = -2, bpf.TargetPath, 0o1101, 0o640
	}, "a b\nc\x1b[2J\xff\u202e"),
	sent("connect", "fifteen bytes o", strings.Repeat("h", 64), func(r *bpf.Record) {
		r.Time += second
		r.CgroupID, r.PID, r.UID, r.GID = 1234567890123, 4194304, 4294967294, 4294967294
		r.Ret, r.Details.FD, r.Details.Target, r.Details.Family, r.Details.Latency = -115, 5, bpf.TargetSocket, 16, 1234567
	}, ""),
	sent("close", "\x1b[31mred\n", "\u202egnp.exe\xff x", func(r *bpf.Record) {
		r.Time += 86401 * second
		r.CgroupID, r.PID, r.UID, r.GID = 0, 7, 0, 0
		r.Details.FD, r.Details.Target, r.Details.FileMode = 3, bpf.TargetFile, 0o100644
	}, "/etc/passwd"),
	sent("close", "x", "h", func(r *bpf.Record) { r.Details.FD, r.Details.Target = 4, bpf.TargetPipe }, ""),
	sent("close", "x", "h", func(r *bpf.Record) { r.Details.FD, r.Details.Target = 5, bpf.TargetAnonymous }, "[eventfd]"),
	sent("close", "x", "h", func(r *bpf.Record) { r.Details.FD, r.Details.Target = 6, bpf.TargetMemfd }, "memfd:a b"),
	sent("close", "x", "h", func(r *bpf.Record) { r.Ret, r.Details.FD = -9, -1 }, ""),
	sent("close_range", "x", "h", func(r *bpf.Record) { r.Details.FD, r.Details.LastFD, r.Details.Flags = 3, ^uint32(0), 4 }, ""),
	sent("openat2", "x", "", func(r *bpf.Record) {
		r.ABI, r.Ret, r.Details.FD, r.Details.Target, r.Details.Resolve = bpf.ABI32, -512, 7, bpf.TargetPath, 0x18
		r.Details.Truncated, r.Details.Flags = true, 0o20200000
	}, "b\u00e4cker"),
}

var containers = []*Container{
	{Label: "web-1", ID: strings.Repeat("6643ca763e3e", 5) + "6643", Name: "web-1", Image: "httpd:2.4", Runtime: "docker"},
	nil,
	{Label: "pod/na me", ID: "x", Name: "na me", Runtime: "containerd", Pod: "pod", Namespace: "kube-system"},
	&Unknown,
}

// fixed writes as if the kernel's clock had started in 2021.
func fixed(out io.Writer, o Options) *Writer {
	realtimeOffset = func() int64 { return 1611041700 * second }
	w, err := NewWriter(out, o)
	if err != nil {
		panic(err)
	}
	return w
}

func TestGolden(t *testing.T) {
	defer func(local *time.Location) { time.Local = local }(time.Local)
	time.Local = time.FixedZone("CET", 3600)
	for name, o := range map[string]Options{
		"hostnames": {Format: Table},
		"cgroupids": {Format: Table, CgroupID: true},
		"wide":      {Format: Wide},
		"latency":   {Format: Wide, CgroupID: true, Latency: true},
		"json":      {Format: JSON, Latency: true},
		"columns":   {Format: Table, Columns: []string{"detail", "comm", "ABI", "tid", "ppid", "time"}, NoHeader: true},
		"delta":     {Format: Table, Time: Delta, Precision: Microseconds},
		"local":     {Format: Table, Time: Local, Precision: Milliseconds},
		"unix":      {Format: Table, Time: Unix, Precision: Nanoseconds},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			w := fixed(&out, o)
			for i, r := range records {
				if err := w.Event(r, containers[i%len(containers)]); err != nil {
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
			if w.Shown() != uint64(len(records)) || w.Unwritten() != 0 {
				t.Errorf("%d shown, %d unwritten", w.Shown(), w.Unwritten())
			}
		})
	}
}

// What JSON says is no UTF-8 can be had exactly.
func TestJSONKeepsBytes(t *testing.T) {
	var out bytes.Buffer
	w := fixed(&out, Options{Format: JSON})
	path := "\xff\xfe\x00\"\\\u2028\U0001f600\U000e0001"
	_ = w.Event(sent("open", "c\x80", "h", func(r *bpf.Record) { r.Details.Target = bpf.TargetPath }, path), nil)
	_ = w.Flush()
	var o struct {
		Path, Comm string
		PathBase64 []byte `json:"path_base64"`
		CommBase64 []byte `json:"comm_base64"`
	}
	if err := json.Unmarshal(out.Bytes(), &o); err != nil {
		t.Fatalf("%s: %v", &out, err)
	}
	if string(o.PathBase64) != path || o.Path != strings.ToValidUTF8(path[:1], "\uFFFD")+strings.ToValidUTF8(path[1:], "\uFFFD") || string(o.CommBase64) != "c\x80" {
		t.Errorf("%q: %+v", path, o)
	}
}

func FuzzJSON(f *testing.F) {
	f.Add("httpd", "host", "/etc/passwd", byte(1))
	f.Add("\xff", "\x00\x1f\x7f", "\"\\\u2028", byte(2))
	f.Fuzz(func(t *testing.T, comm, hostname, path string, target byte) {
		if len(path) > 4096 {
			return
		}
		var out bytes.Buffer
		w := fixed(&out, Options{Format: JSON})
		_ = w.Event(sent("openat", comm[:min(len(comm), 15)], hostname[:min(len(hostname), 64)], func(r *bpf.Record) { r.Details.Target = bpf.Target(target % 8) }, path), nil)
		_ = w.Flush()
		if !json.Valid(out.Bytes()) || bytes.Count(out.Bytes(), []byte("\n")) != 1 || !utf8.Valid(out.Bytes()) {
			t.Fatalf("not one line of JSON: %q", &out)
		}
	})
}

func TestUnknownColumn(t *testing.T) {
	o := Options{Columns: []string{"time", "nope"}}
	if _, err := o.Needs(); err == nil || !strings.Contains(err.Error(), `no column "nope"`) {
		t.Errorf("Needs gave %v", err)
	}
}

// What no column shows is not asked of the kernel.
func TestNeeds(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want Needs
	}{
		{Options{Format: Table}, Needs{Hostname: true}},
		{Options{Format: Table, CgroupID: true}, Needs{}},
		{Options{Format: Wide, CgroupID: true}, Needs{Details: true, Containers: true}},
		{Options{Format: JSON}, Needs{Hostname: true, Details: true, Containers: true}},
		{Options{Columns: []string{"comm", "lat"}}, Needs{Details: true, Latency: true}},
	} {
		if got, err := c.o.Needs(); got != c.want || err != nil {
			t.Errorf("%+v needs %+v, want %+v: %v", c.o, got, c.want, err)
		}
	}
}

func TestLimit(t *testing.T) {
	var out bytes.Buffer
	w := fixed(&out, Options{Limit: 2})
	if err := w.Event(records[0], nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Event(records[1], nil); !errors.Is(err, ErrEnough) {
		t.Fatalf("the last event gave %v", err)
	}
	_ = w.Flush()
	if lines := bytes.Count(out.Bytes(), []byte("\n")); lines != 3 || w.Shown() != 2 {
		t.Errorf("%d lines, %d shown", lines, w.Shown())
	}
}

// The longest lines there can be are written when the buffer is full, and never
// make it grow.
func TestBufferNeverGrows(t *testing.T) {
	worst := sent("openat", strings.Repeat("\xff", 15), strings.Repeat("\xff", 64),
		func(r *bpf.Record) { r.Details.Target = bpf.TargetPath }, strings.Repeat("\x01", 4096))
	for _, format := range []Format{Table, Wide, JSON} {
		var out bytes.Buffer
		w := fixed(&out, Options{Format: format})
		header, room := out.Len(), cap(w.buffer)
		for range 1000 {
			if err := w.Event(worst, nil); err != nil {
				t.Fatal(err)
			}
		}
		if out.Len() == header || cap(w.buffer) != room {
			t.Errorf("%s: %d bytes written, room for %d became %d", format, out.Len(), room, cap(w.buffer))
		}
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
	w := fixed(&brokenAfter{n: 300}, Options{})
	for range 10 {
		_ = w.Event(records[0], nil)
	}
	if err := w.Flush(); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("flush gave %v", err)
	}
	if w.Shown() != 3 || w.Unwritten() != 7 {
		t.Errorf("%d shown and %d unwritten of 10", w.Shown(), w.Unwritten())
	}
}

func TestNoAllocations(t *testing.T) {
	for _, format := range []Format{Table, Wide, JSON} {
		w := fixed(io.Discard, Options{Format: format})
		for _, r := range records {
			if n := testing.AllocsPerRun(1000, func() { _ = w.Event(r, nil) }); n != 0 {
				t.Errorf("%s: %v allocations for %s", format, n, bpf.Syscalls[r.Syscall].Name)
			}
		}
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

// The first row after a suspend, or after somebody set the clock, has the right
// time already.
func TestClockStep(t *testing.T) {
	var out bytes.Buffer
	w := fixed(&out, Options{Format: Table, Columns: []string{"time"}, NoHeader: true})
	for _, step := range []int64{0, 3600 * second, -60 * second} {
		before := realtimeOffset()
		realtimeOffset = func() int64 { return before + step }
		if err := errors.Join(w.Event(records[0], nil), w.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	if want := "2021-01-19T07:35:10Z\n2021-01-19T08:35:10Z\n2021-01-19T08:34:10Z\n"; out.String() != want {
		t.Errorf("got\n%swant\n%s", &out, want)
	}
}

// BenchmarkFormats writes what most programs do: one file opened and closed after
// the other.
func BenchmarkFormats(b *testing.B) {
	opened := sent("openat", "nginx", "6643ca763e3e", func(r *bpf.Record) {
		r.Ret, r.Details.Target, r.Details.Flags = 10, bpf.TargetPath, 0o2000000
	}, "/var/www/html/index.html")
	closed := sent("close", "nginx", "6643ca763e3e", func(r *bpf.Record) {
		r.Details.FD, r.Details.Target, r.Details.FileMode = 10, bpf.TargetFile, 0o100644
	}, "/var/www/html/index.html")
	for _, format := range []Format{Table, Wide, JSON} {
		b.Run(string(format), func(b *testing.B) {
			w := fixed(io.Discard, Options{Format: format})
			pair := [2]*bpf.Record{opened, closed}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				_ = w.Event(pair[i&1], nil)
				i++
			}
		})
	}
}

// FuzzPlain compares what is found eight bytes at a time with what each byte is.
func FuzzPlain(f *testing.F) {
	f.Add([]byte("/var/www/html/index.html"))
	f.Add([]byte("1234567\x7f12345678\x8012345678 12345678\\12345678\"1234567\x1f"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, set := range []struct {
			plain   *plainBytes
			without string
		}{{&plainText, `\`}, {&plainWord, `\ `}, {&plainJSON, `\"`}} {
			for from := range text {
				want := 0
				for _, c := range text[from:] {
					if c < ' ' || c > '~' || strings.IndexByte(set.without, c) >= 0 {
						break
					}
					want++
				}
				if got := set.plain.prefix(text[from:]); got != want {
					t.Fatalf("%q without %q: %d bytes are plain, want %d", text[from:], set.without, got, want)
				}
			}
		}
	})
}
