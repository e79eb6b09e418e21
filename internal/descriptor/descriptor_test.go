// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/selection"
	"github.com/copenclose/copenclose/internal/stream"
)

// A host is rows as the kernel would give them.
type host struct{ rows []byte }

func (h *host) add(d bpf.DescriptorDraft) { h.rows = d.Append(h.rows) }

func (h *host) snapshot(t testing.TB) *Snapshot {
	t.Helper()
	s, err := read(bytes.NewReader(h.rows))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ip(s string) bpf.Address {
	a := netip.MustParseAddrPort(s)
	return bpf.Address{IP: a.Addr(), Port: uint32(a.Port())}
}

func file(name string) bpf.Draft {
	return bpf.Draft{Details: &bpf.Details{Target: bpf.TargetFile, FileMode: unix.S_IFREG}, Name: []byte(name)}
}

func tcp(local, peer string) bpf.Draft {
	d := bpf.Draft{
		Details: &bpf.Details{Target: bpf.TargetSocket},
		Socket:  &bpf.Socket{Family: unix.AF_INET, Type: unix.SOCK_STREAM, Protocol: unix.IPPROTO_TCP},
		Local:   ip(local),
	}
	if peer != "" {
		d.Peer = ip(peer)
	}
	return d
}

func unixSocket(local string) bpf.Draft {
	return bpf.Draft{
		Details: &bpf.Details{Target: bpf.TargetSocket},
		Socket:  &bpf.Socket{Family: unix.AF_UNIX, Type: unix.SOCK_STREAM},
		Local:   bpf.Address{Unix: []byte(local)},
	}
}

func anonymous(name string) bpf.Draft {
	return bpf.Draft{Details: &bpf.Details{Target: bpf.TargetAnonymous}, Name: []byte(name)}
}

var pipe = bpf.Draft{Details: &bpf.Details{Target: bpf.TargetPipe}}

// shop is a host with a server in a container, which leaks connections to a database,
// and a worker of it; and a shell whose first thread has ended.
func shop() *host {
	h := &host{}
	server := bpf.Descriptor{Table: 1, PID: 100, TID: 100, PPID: 1, CgroupID: 7, Limit: 64, HardLimit: 128, Started: 1000}
	fd := func(process bpf.Descriptor, comm string, number uint32, edit func(*bpf.Descriptor), of bpf.Draft) {
		process.FD, process.File, process.Object = number, uint64(process.PID*1000+number), uint64(process.PID*1000+number)
		if edit != nil {
			edit(&process)
		}
		h.add(bpf.DescriptorDraft{Descriptor: process, Comm: comm, Of: of})
	}
	fd(server, "node", 0, func(d *bpf.Descriptor) { d.File = 5 }, file("/dev/null"))
	fd(server, "node", 3, func(d *bpf.Descriptor) { d.State = stateListen }, tcp("0.0.0.0:80", ""))
	fd(server, "node", 4, func(d *bpf.Descriptor) { d.State = stateEstablished }, tcp("10.0.0.2:80", "10.0.0.9:999"))
	for i := range uint32(40) {
		fd(server, "node", 10+i, func(d *bpf.Descriptor) { d.State = 8 }, tcp(fmt.Sprintf("10.0.0.2:%d", 4000+i), "10.0.0.7:5432"))
	}
	fd(server, "node", 60, func(d *bpf.Descriptor) { d.IsDeleted, d.Held, d.Object = true, 3<<20, 77 }, file("/tmp/x\x1b[2J"))
	fd(server, "node", 61, func(d *bpf.Descriptor) { d.IsDeleted, d.Held, d.Object = true, 3<<20, 77 }, file("/tmp/x\x1b[2J"))
	fd(server, "node", 62, func(d *bpf.Descriptor) {
		d.Owner, d.Instances, d.InstancesMax, d.Watches, d.WatchesMax = 1000, 127, 128, 5, 60000
	}, anonymous("inotify"))

	worker := bpf.Descriptor{Table: 2, PID: 101, TID: 101, PPID: 100, CgroupID: 7, Limit: math.MaxUint64, HardLimit: math.MaxUint64, Started: 2000}
	fd(worker, "wor\nker", 0, func(d *bpf.Descriptor) { d.File = 5; d.IsCloexec = true }, file("/dev/null"))
	fd(worker, "wor\nker", 3, func(d *bpf.Descriptor) { d.Object, d.Peer = 301, 302 }, unixSocket(""))
	fd(worker, "wor\nker", 5, func(d *bpf.Descriptor) { d.Object, d.OpenFlags = 400, unix.O_RDONLY }, pipe)

	for _, tid := range []uint32{202, 203} {
		shell := bpf.Descriptor{Table: 3, PID: 200, TID: tid, CgroupID: 1, Limit: 1024, HardLimit: 1024, Started: 500}
		fd(shell, "sh", 1, func(d *bpf.Descriptor) { d.Object, d.OpenFlags = 400, unix.O_WRONLY }, pipe)
		fd(shell, "sh", 4, func(d *bpf.Descriptor) { d.Object, d.Peer = 302, 301 }, unixSocket(""))
	}
	// Another process that shares the table (CLONE_FILES).
	shares := bpf.Descriptor{Table: 3, PID: 210, TID: 210, CgroupID: 1, Limit: 1024, HardLimit: 1024, Started: 600}
	fd(shares, "sh2", 1, func(d *bpf.Descriptor) { d.Object = 400 }, pipe)
	return h
}

type registry map[uint64]*stream.Container

func (r registry) Lookup(cgroup uint64) (*stream.Container, bool) {
	c, ok := r[cgroup]
	return c, ok
}

var containers = registry{1: nil, 7: {ID: "abc", Name: "api", Label: "shop/api", Runtime: "docker"}}

func attributed(t testing.TB) *Snapshot {
	s := shop().snapshot(t)
	s.Attribute(containers)
	return s
}

// A table is there once, whatever threads and processes have it, and reads that end
// anywhere make no difference.
func TestTables(t *testing.T) {
	h := shop()
	for _, r := range []io.Reader{bytes.NewReader(h.rows), iotest.OneByteReader(bytes.NewReader(h.rows)), iotest.HalfReader(bytes.NewReader(h.rows))} {
		s, err := read(r)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, t := range s.Tables {
			got = append(got, fmt.Sprintf("%d:%d %v", t.PID, len(t.Descriptors), t.Shares))
		}
		if want := []string{"100:46 []", "101:3 []", "200:2 [210]"}; !slices.Equal(got, want) {
			t.Errorf("tables %q, want %q", got, want)
		}
	}
}

func TestMalformedRows(t *testing.T) {
	h := shop()
	if _, err := read(bytes.NewReader(h.rows[:len(h.rows)-8])); err == nil {
		t.Error("rows that end in the middle of one were read")
	}
}

func fdsOf(descriptors []*Descriptor) (fds []uint32) {
	for _, d := range descriptors {
		fds = append(fds, d.FD)
	}
	return fds
}

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		name string
		f    Filter
		want string
	}{
		{"pid", Filter{PIDs: selection.Of[uint32](101)}, "101[0 3 5] "},
		{"pid of one that shares the table", Filter{PIDs: selection.Of[uint32](210)}, "200[1 4] "},
		{"comm", Filter{Comms: selection.Of("sh", "wor*")}, "200[1 4] 101[0 3 5] "},
		{"host", Filter{IgnoreHost: true, Kinds: []string{"unix"}}, "101[3] "},
		{"container", Filter{Containers: func(c *stream.Container) bool { return c != nil }, Kinds: []string{"pipe"}}, "101[5] "},
		{"kinds", Filter{Kinds: []string{"inotify", "pipe"}}, "100[62] 200[1] 101[5] "},
		{"sockets", Filter{Kinds: []string{"socket"}, PIDs: selection.Of[uint32](101, 200)}, "200[4] 101[3] "},
		{"anon", Filter{Kinds: []string{"anon"}}, "100[62] "},
		{"state", Filter{States: []string{"LISTEN", "ESTABLISHED"}}, "100[3 4] "},
		{"deleted", Filter{Deleted: true}, "100[60 61] "},
		{"path", Filter{Paths: selection.Of("/tmp/", "/nothing")}, "100[60 61] "},
		{"exceptions", Filter{PIDs: selection.List[uint32]{Except: []uint32{101, 200}}, Kinds: []string{"pipe", "inotify"}}, "100[62] "},
		{"inherited", Filter{Inherited: true}, "101[0] "},
		{"nothing", Filter{Paths: selection.Of("/nothing")}, ""},
	} {
		s := attributed(t)
		got := ""
		for _, h := range s.Select(&c.f) {
			got += fmt.Sprintf("%d%v ", h.PID, fdsOf(h.Matching))
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestOtherEnds(t *testing.T) {
	s := attributed(t)
	others := s.OtherEnds()
	got := ""
	for d := range s.All() {
		if o := others.Of(d); o != nil {
			got += fmt.Sprintf("%d/%d-%d/%d ", d.PID, d.FD, o.PID, o.FD)
		}
	}
	if want := "101/3-200/4 101/5-200/1 200/1-101/5 200/4-101/3 "; got != want {
		t.Errorf("other ends %q, want %q", got, want)
	}
}

// The ends of connections on the loopback belong together only in one network
// namespace, for each has the same addresses.
func TestOtherEndsOfNamespaces(t *testing.T) {
	h := &host{}
	for i, end := range []struct {
		netNS       uint32
		local, peer string
	}{
		{1, "127.0.0.1:80", "127.0.0.1:999"}, {2, "127.0.0.1:999", "127.0.0.1:80"}, {1, "127.0.0.1:999", "127.0.0.1:80"},
		{1, "10.0.0.1:80", "10.0.0.2:999"}, {2, "10.0.0.2:999", "10.0.0.1:80"},
	} {
		n := uint64(i + 1)
		h.add(bpf.DescriptorDraft{Descriptor: bpf.Descriptor{Table: n, File: n, PID: uint32(n), TID: uint32(n), NetNS: end.netNS}, Of: tcp(end.local, end.peer)})
	}
	s := h.snapshot(t)
	others := s.OtherEnds()
	var got []uint32
	for d := range s.All() {
		if o := others.Of(d); o == nil {
			got = append(got, 0)
		} else {
			got = append(got, o.PID)
		}
	}
	if want := []uint32{3, 0, 1, 5, 4}; !slices.Equal(got, want) {
		t.Errorf("other ends %v, want %v", got, want)
	}
}

func checkText(t *testing.T, got, want string) {
	t.Helper()
	if want = strings.TrimPrefix(want, "\n"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestProcessesTable(t *testing.T) {
	var b bytes.Buffer
	s, f := attributed(t), &Filter{}
	if err := WriteProcesses(&b, s, s.Select(f), f); err != nil {
		t.Fatal(err)
	}
	if err := WriteLimits(&b, Limit{What: HostFilesLimit, Used: 41232, Max: 9223372}, s.Inotify()); err != nil {
		t.Fatal(err)
	}
	checkText(t, b.String(), `
CONTAINER  PID  COMM      FDS      LIMIT  USE  DELETED  HOLDS MOST
shop/api   100  node       46         64  72%       3M  40 tcp 10.0.0.7:5432, CLOSE_WAIT
-          200  sh          2       1024   0%        -  1 pipe
shop/api   101  wor\nker    3  unlimited   0%        -  1 file /dev/*
other limits: inotify instances of uid 1000: 127 of 128 (1 node); files of the host: 41,232 of 9,223,372
`)
}

func TestContainersTable(t *testing.T) {
	var b bytes.Buffer
	s, f := attributed(t), &Filter{Kinds: []string{"tcp", "pipe"}}
	if err := WriteContainers(&b, s.Sums(s.Select(f)), f); err != nil {
		t.Fatal(err)
	}
	checkText(t, b.String(), `
CONTAINER  PROCESSES  MATCH  FDS  USE  BY        HOLDS MOST
shop/api           2     43   49  72%  100 node  40 tcp 10.0.0.7:5432, CLOSE_WAIT
-                  1      1    2   0%  200 sh    1 pipe
`)
}

func TestTargetsTable(t *testing.T) {
	var b bytes.Buffer
	s := attributed(t)
	if err := WriteTargets(&b, s.Targets(s.Select(&Filter{Kinds: []string{"tcp", "file", "unix"}}))); err != nil {
		t.Fatal(err)
	}
	checkText(t, b.String(), `
FDS  PROCESSES  MOST BY                KIND  STATE        TARGET
 40          1  shop/api 100 node      tcp   CLOSE_WAIT   10.0.0.7:5432
  2          2  shop/api 100 node      file  -            /dev/*
  2          1  shop/api 100 node      file  -            /tmp/x\x1b[2J (deleted)
  1          1  shop/api 100 node      tcp   LISTEN       0.0.0.0:80
  1          1  shop/api 100 node      tcp   ESTABLISHED  accepted at port 80
  1          1  shop/api 101 wor\nker  unix  -            to sh
  1          1  200 sh                 unix  -            to wor\nker
`)
}

func TestDescriptorsTable(t *testing.T) {
	var b bytes.Buffer
	s := attributed(t)
	if err := WriteDescriptors(&b, s, s.Select(&Filter{PIDs: selection.Of[uint32](101)})); err != nil {
		t.Fatal(err)
	}
	checkText(t, b.String(), `
CONTAINER  PID  COMM      FD  MODE  CLOEXEC  KIND  SHARED WITH  OTHER END  TARGET
shop/api   101  wor\nker   0  r     yes      file  100 fd 0     -          /dev/null
shop/api   101  wor\nker   3  r     no       unix  -            200 sh     unix-stream
shop/api   101  wor\nker   5  r     no       pipe  -            200 sh     pipe:[0]
`)
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	s := attributed(t)
	if err := WriteDescriptorsJSON(&b, s, s.Select(&Filter{PIDs: selection.Of[uint32](101), Kinds: []string{"file", "unix"}})); err != nil {
		t.Fatal(err)
	}
	if err := WriteProcessesJSON(&b, s, s.Select(&Filter{PIDs: selection.Of[uint32](101)}), Limit{What: HostFilesLimit, Used: 5, Max: 9}, s.Inotify()); err != nil {
		t.Fatal(err)
	}
	process := `{"pid":101,"ppid":100,"uid":0,"comm":"wor\nker","cgroup_id":7,"container":{"id":"abc","name":"api","runtime":"docker"},`
	checkText(t, b.String(), process+`"fd":0,"kind":"file","mode":"r","cloexec":true,"path":"/dev/null","shared_with":[{"pid":100,"fd":0}]}
`+process+`"fd":3,"kind":"unix","mode":"r","cloexec":false,"family":"AF_UNIX","protocol":"unix-stream","other_end":{"pid":200,"fd":4}}
`+process+`"fds":3,"matching":3,"limit":null,"hard_limit":null,"use":0,"kinds":{"file":1,"pipe":1,"unix":1},"groups":[{"count":1,"kind":"file","target":"/dev/*"},{"count":1,"kind":"pipe"},{"count":1,"kind":"unix","target":"to sh"}]}
{"limits":[{"what":"files","used":5,"max":9},{"what":"inotify instances","uid":1000,"used":127,"max":128,"most_comm":"node","most_count":1},{"what":"inotify watches","uid":1000,"used":5,"max":60000}]}
`)
}

func TestFileNR(t *testing.T) {
	l, err := parseFileNR([]byte("1024\t0\t9223372036854775807\n"))
	if err != nil || l.Used != 1024 || l.Max != math.MaxInt64 {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err := parseFileNR([]byte("x")); err == nil {
		t.Error("nonsense was read")
	}
}

func BenchmarkSnapshot(b *testing.B) {
	h := &host{}
	for i := range uint32(100_000) {
		d := bpf.DescriptorDraft{Descriptor: bpf.Descriptor{Table: uint64(i / 1000), PID: i / 1000, TID: i / 1000, FD: i % 1000, File: uint64(i), Object: uint64(i)}, Comm: "node"}
		if d.Of = file(fmt.Sprint("/var/lib/file", i)); i%2 == 0 {
			d.Of = tcp(fmt.Sprintf("10.0.0.2:%d", i%60000), "10.0.0.7:5432")
		}
		h.add(d)
	}
	b.ReportAllocs()
	for b.Loop() {
		f := &Filter{}
		s := h.snapshot(b)
		if err := WriteProcesses(io.Discard, s, s.Select(f), f); err != nil {
			b.Fatal(err)
		}
	}
}
