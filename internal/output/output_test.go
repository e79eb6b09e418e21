// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/docs"
	"github.com/copenclose/copenclose/internal/conform"
	"github.com/copenclose/copenclose/internal/golden"
	"github.com/copenclose/copenclose/internal/stream"
)

// sent is what the kernel would send of a draft, with numbers where it has none.
func sent(syscall, comm, hostname string, d bpf.Draft) *bpf.Record {
	d.Comm, d.Hostname = comm, hostname
	d.Syscall = uint8(slices.IndexFunc(bpf.Syscalls[:], func(s bpf.Syscall) bool { return s.Name == syscall }))
	d.Time += 10 * second
	if d.PID == 0 {
		d.CgroupID, d.PID, d.UID, d.GID = 3333, 107148, 100000, 100000
	}
	d.TID = 107149
	details := bpf.Details{FD: -100}
	if d.Details != nil {
		details = *d.Details
	}
	details.PPID = 107000
	d.Details = &details
	r := &bpf.Record{}
	if err := r.View(d.Append(nil)); err != nil {
		panic(err)
	}
	return r
}

const second = 1_000_000_000

func ip(addrPort string) bpf.Address {
	a := netip.MustParseAddrPort(addrPort)
	return bpf.Address{IP: a.Addr(), Port: uint32(a.Port())}
}

func unixAddress(name string) bpf.Address { return bpf.Address{Unix: []byte(name)} }

// socket are the details of a call about a socket.
func socket(fd int32) *bpf.Details { return &bpf.Details{FD: fd, Target: bpf.TargetSocket} }

const hostile = "a b\nc\x1b[2J\xff\u202e"

// Whatever the columns, what a container chose cannot pass for another one.
var records = []*bpf.Record{
	sent("accept4", "httpd", "6643ca763e3e", bpf.Draft{Event: bpf.Event{Ret: 9}, Details: &bpf.Details{FD: 4, Flags: 0o2000000}}),
	sent("openat", "httpd", "6643ca763e3e", bpf.Draft{
		Event:   bpf.Event{Time: 1, Ret: 10},
		Details: &bpf.Details{FD: -100, Target: bpf.TargetPath, Flags: 0o2000000},
		Given:   []byte("/var/www/html/index.html"),
	}),
	sent("open", "Web Content", "a", bpf.Draft{
		Event:   bpf.Event{Time: second - 1, CgroupID: 1, PID: 1, Ret: -2},
		Details: &bpf.Details{Target: bpf.TargetPath, Flags: 0o1101, Mode: 0o640},
		Given:   []byte(hostile),
	}),
	sent("connect", "fifteen bytes o", strings.Repeat("h", 64), bpf.Draft{
		Event:   bpf.Event{Time: second, CgroupID: 1234567890123, PID: 4194304, UID: 4294967294, GID: 4294967294, Ret: -115},
		Details: &bpf.Details{FD: 5, Target: bpf.TargetSocket, Latency: 1234567}, Socket: &bpf.Socket{Family: 16},
	}),
	sent("close", "\x1b[31mred\n", "\u202egnp.exe\xff x", bpf.Draft{
		Event:   bpf.Event{Time: 86401 * second, PID: 7},
		Details: &bpf.Details{FD: 3, Target: bpf.TargetFile, FileMode: 0o100644},
		Name:    []byte("/etc/passwd"),
	}),
	sent("close", "x", "h", bpf.Draft{Details: &bpf.Details{FD: 4, Target: bpf.TargetPipe}}),
	sent("close", "x", "h", bpf.Draft{Details: &bpf.Details{FD: 5, Target: bpf.TargetAnonymous}, Name: []byte("[eventfd]")}),
	sent("close", "x", "h", bpf.Draft{Details: &bpf.Details{FD: 6, Target: bpf.TargetMemfd}, Name: []byte("memfd:a b")}),
	sent("close", "x", "h", bpf.Draft{Event: bpf.Event{Ret: -9}, Details: &bpf.Details{FD: -1}}),
	sent("close_range", "x", "h", bpf.Draft{Details: &bpf.Details{FD: 3, LastFD: ^uint32(0), Flags: 4}}),
	sent("openat2", "x", "", bpf.Draft{
		Event:   bpf.Event{ABI: bpf.ABI32, Ret: -512},
		Details: &bpf.Details{FD: 7, Target: bpf.TargetPath, Request: 0x18, Remarks: bpf.Truncated, Flags: 0o20200000},
		Given:   []byte("b\u00e4cker"),
	}),

	// Opens with the path as given and the file's own, of which one is cut.
	sent("openat", "x", "h", bpf.Draft{
		Event:   bpf.Event{Ret: 3},
		Details: &bpf.Details{FD: -100, Target: bpf.TargetFile, FileMode: 0o100644, Remarks: bpf.Truncated},
		Given:   []byte("../" + hostile), Name: []byte("/home/" + hostile),
	}),
	sent("openat", "x", "h", bpf.Draft{
		Event:   bpf.Event{Ret: 3},
		Details: &bpf.Details{FD: -100, Target: bpf.TargetFile, FileMode: 0o20666, Remarks: bpf.Unreadable},
		Name:    []byte("/dev/null"),
	}),
	sent("openat", "x", "h", bpf.Draft{
		Event:   bpf.Event{Ret: -2},
		Details: &bpf.Details{FD: -100, Target: bpf.TargetPath, Remarks: bpf.Unreadable},
	}),
	sent("open", "x", "h", bpf.Draft{Event: bpf.Event{Ret: -2}, Details: &bpf.Details{Target: bpf.TargetPath}}),
	// Which limit it was.
	sent("openat", "x", "h", bpf.Draft{
		Event:   bpf.Event{Ret: -24},
		Details: &bpf.Details{FD: -100, Target: bpf.TargetPath, NumClosed: 1024, LastFD: 1024},
		Given:   []byte("/etc/passwd"),
	}),
	sent("accept4", "x", "h", bpf.Draft{Event: bpf.Event{Ret: -23}, Details: &bpf.Details{FD: 4}}),
	sent("open", "x", "h", bpf.Draft{
		Event:   bpf.Event{Ret: 4},
		Details: &bpf.Details{Target: bpf.TargetMemfd}, Given: []byte("/proc/self/fd/3"), Name: []byte("memfd:" + hostile),
	}),
	sent("open", "x", "h", bpf.Draft{
		Event:   bpf.Event{Ret: 4},
		Details: &bpf.Details{Target: bpf.TargetNamespace, Inode: 4026531840}, Given: []byte("/proc/self/ns/mnt"), Name: []byte("mnt"),
	}),
	sent("close", "x", "h", bpf.Draft{Details: &bpf.Details{FD: 4, Target: bpf.TargetNamespace, Inode: 1<<64 - 1}, Name: []byte(hostile)}),
	sent("close", "x", "h", bpf.Draft{Details: &bpf.Details{FD: 4, Target: bpf.TargetNamespace, Inode: 4026531840}}),
	sent("close", "x", "h", bpf.Draft{Details: &bpf.Details{FD: 4, Target: bpf.TargetAnonymous}, Name: []byte("[pidfd]")}),

	// Sockets.
	sent("close", "x", "h", bpf.Draft{Details: socket(5), Socket: &bpf.Socket{Family: 2, Type: 1, Protocol: 6}, Local: ip("127.0.0.1:1"), Peer: ip("127.0.0.1:2")}),
	sent("close", "x", "h", bpf.Draft{Details: socket(5), Socket: &bpf.Socket{Family: 2, Type: 2, Protocol: 17}}),
	sent("close", "x", "h", bpf.Draft{Details: socket(5), Socket: &bpf.Socket{Family: 2, Type: 2, Protocol: 1}, Peer: ip("9.9.9.9:0")}),
	sent("close", "x", "h", bpf.Draft{Details: socket(5), Socket: &bpf.Socket{Family: 2, Type: 3, Protocol: 6}, Peer: ip("9.9.9.9:0")}),
	sent("close", "x", "h", bpf.Draft{Details: socket(5), Socket: &bpf.Socket{Family: 10, Type: 3, Protocol: 58}}),
	sent("close", "x", "h", bpf.Draft{Details: socket(5), Socket: &bpf.Socket{Family: 10, Type: 1, Protocol: 4242}}),
	sent("close", "x", "h", bpf.Draft{Details: socket(5), Socket: &bpf.Socket{Family: 16, Type: 3, Protocol: 9}}),
	sent("close", "x", "h", bpf.Draft{Details: socket(5), Socket: &bpf.Socket{Family: 16, Type: 3, Protocol: 77}}),
	sent("close", "x", "h", bpf.Draft{Details: socket(5), Socket: &bpf.Socket{Family: 17, Type: 3, Protocol: 3}}),
	sent("accept", "x", "h", bpf.Draft{
		Event:   bpf.Event{Ret: 6},
		Details: socket(5), Socket: &bpf.Socket{Family: 10, Type: 1, Protocol: 262}, Local: ip("[::1]:80"), Peer: bpf.Address{IP: netip.MustParseAddr("fe80::1"), Zone: 2, Port: 40000},
	}),
	sent("accept", "x", "h", bpf.Draft{
		Event:   bpf.Event{Ret: 6},
		Details: socket(5), Socket: &bpf.Socket{Family: 1, Type: 1, PeerPID: 1234, PeerUID: 65534, PeerCgroup: 4444},
		Local: unixAddress("/run/" + hostile),
	}),
	sent("connect", "x", "h", bpf.Draft{
		Details: socket(5), Socket: &bpf.Socket{Family: 1, Type: 5, PeerPID: 1, PeerCgroup: 1},
		Peer: unixAddress("\x00" + hostile), Asked: unixAddress("\x00" + hostile),
	}),
	sent("connect", "x", "h", bpf.Draft{
		Event: bpf.Event{Ret: -2}, Details: socket(5), Socket: &bpf.Socket{Family: 1, Type: 2, Protocol: 0}, Asked: unixAddress(hostile),
	}),
	sent("connect", "x", "h", bpf.Draft{
		Event: bpf.Event{Ret: -115}, Details: socket(5), Socket: &bpf.Socket{Family: 2, Type: 1, Protocol: 6},
		Local: ip("10.0.0.1:40000"), Peer: ip("10.0.0.2:8443"), Asked: ip("10.96.0.1:443"),
	}),
	sent("connect", "x", "h", bpf.Draft{
		Event: bpf.Event{Ret: -111}, Details: socket(5), Socket: &bpf.Socket{Family: 2, Type: 1, Protocol: 6}, Asked: ip("0.0.0.0:0"),
	}),
	sent("connect", "x", "h", bpf.Draft{
		Details: socket(5), Socket: &bpf.Socket{Family: 2, Type: 2, Protocol: 17}, Local: ip("10.0.0.1:40000"), Peer: ip("10.0.0.2:53"), Asked: ip("10.0.0.2:53"),
	}),
	sent("connect", "x", "h", bpf.Draft{
		Details: socket(5), Socket: &bpf.Socket{Family: 40, Type: 1, Protocol: 0}, Asked: bpf.Address{IsVsock: true, CID: 2, Port: 4294967294},
	}),
	sent("connect", "x", "h", bpf.Draft{
		Details: &bpf.Details{FD: 5, Target: bpf.TargetSocket, Remarks: bpf.Outcome, Latency: 1204000}, Socket: &bpf.Socket{Family: 2, Type: 1, Protocol: 6},
		Local: ip("10.0.0.1:40000"), Peer: ip("10.0.0.2:443"), Asked: ip("10.0.0.2:443"),
	}),
	sent("connect", "x", "h", bpf.Draft{
		Event:   bpf.Event{Ret: -125},
		Details: &bpf.Details{FD: 5, Target: bpf.TargetSocket, Remarks: bpf.Outcome, Latency: 75_000_999_999}, Socket: &bpf.Socket{Family: 2, Type: 1, Protocol: 6},
		Asked: ip("10.0.0.2:443"),
	}),
	sent("connect", "x", "h", bpf.Draft{
		Details: &bpf.Details{FD: 5, Target: bpf.TargetSocket, Remarks: bpf.FastOpen, Latency: 4200}, Socket: &bpf.Socket{Family: 2, Type: 1, Protocol: 6},
		Asked: ip("10.0.0.2:443"),
	}),

	sent("close_range", "x", "h", bpf.Draft{
		Details: &bpf.Details{FD: 3, LastFD: ^uint32(0), NumClosed: 16},
		Closed: []bpf.Draft{
			{Details: &bpf.Details{FD: 5, Target: bpf.TargetFile, FileMode: 0o100644}, Name: []byte("/tmp/" + hostile)},
			{Details: socket(6), Socket: &bpf.Socket{Family: 2, Type: 1, Protocol: 6}, Local: ip("127.0.0.1:1"), Peer: ip("127.0.0.1:2")},
			{Details: socket(7), Socket: &bpf.Socket{Family: 1, Type: 1, PeerPID: 9, PeerUID: 10, PeerCgroup: 11}, Peer: unixAddress("\x00x")},
			{Details: &bpf.Details{FD: 8, Target: bpf.TargetPipe}},
		},
	}),
	sent("close_range", "x", "h", bpf.Draft{Details: &bpf.Details{FD: 3, LastFD: 9, NumClosed: 1}}),
	sent("dup2", "x", "h", bpf.Draft{
		Event:   bpf.Event{Ret: 2},
		Details: &bpf.Details{FD: 2, Other: 7, Target: bpf.TargetFile, FileMode: 0o20620, Remarks: bpf.Replaced}, Name: []byte("/dev/pts/0"),
	}),
	sent("dup3", "x", "h", bpf.Draft{Event: bpf.Event{Ret: 2}, Details: &bpf.Details{FD: 2, Other: 7, Target: bpf.TargetPipe, Flags: 0o2000000, Remarks: bpf.Replaced}}),

	// Closes that no call is for.
	sent("close", "x", "h", bpf.Draft{Details: &bpf.Details{FD: 3, By: bpf.ClosedByExit, Target: bpf.TargetFile, FileMode: 0o100644}, Name: []byte("/tmp/" + hostile)}),
	sent("close", "x", "h", bpf.Draft{Details: &bpf.Details{FD: 4, By: bpf.ClosedByExec, Target: bpf.TargetPipe}}),
	sent("close", "x", "h", bpf.Draft{Details: &bpf.Details{FD: 5, By: bpf.ClosedByRange, Target: bpf.TargetAnonymous}, Name: []byte("[eventfd]")}),
	sent("close", "x", "h", bpf.Draft{Details: &bpf.Details{FD: -1, By: bpf.ClosedByExit, NumClosed: 99872}}),

	// Calls that make descriptors, and those that do not.
	sent("dup2", "x", "h", bpf.Draft{Event: bpf.Event{Ret: 9}, Details: &bpf.Details{FD: 9, Other: 7, Target: bpf.TargetPipe}}),
	sent("dup2", "x", "h", bpf.Draft{Event: bpf.Event{Ret: -9}, Details: &bpf.Details{FD: 9, Other: -1}}),
	sent("dup", "x", "h", bpf.Draft{Event: bpf.Event{Ret: 9}, Details: &bpf.Details{Other: 3, Target: bpf.TargetFile, FileMode: 0o100644}, Name: []byte("/tmp/" + hostile)}),
	sent("fcntl", "x", "h", bpf.Draft{Event: bpf.Event{Ret: 100}, Details: &bpf.Details{Other: 3, Request: 1030, Mode: 100, Target: bpf.TargetPipe}}),
	sent("pidfd_getfd", "x", "h", bpf.Draft{Event: bpf.Event{Ret: 4}, Details: &bpf.Details{Other: 1, Mode: 3, Target: bpf.TargetFile, FileMode: 0o20620}, Name: []byte("/dev/pts/0")}),
	sent("socket", "x", "h", bpf.Draft{Event: bpf.Event{Ret: 3}, Details: &bpf.Details{Target: bpf.TargetSocket, Flags: 0o2000000}, Socket: &bpf.Socket{Family: 10, Type: 1, Protocol: 6}}),
	sent("socket", "x", "h", bpf.Draft{
		Event:   bpf.Event{Ret: -24},
		Details: &bpf.Details{Target: bpf.TargetSocket, LastFD: 1024, NumClosed: 1024}, Socket: &bpf.Socket{Family: 2, Type: 1, Protocol: 0},
	}),
	sent("socketpair", "x", "h", bpf.Draft{Details: &bpf.Details{FD: 3, Other: 4, Target: bpf.TargetSocket}, Socket: &bpf.Socket{Family: 1, Type: 2, PeerPID: 7}}),
	sent("bind", "x", "h", bpf.Draft{Details: socket(3), Socket: &bpf.Socket{Family: 2, Type: 1, Protocol: 6}, Local: ip("0.0.0.0:8080")}),
	sent("bind", "x", "h", bpf.Draft{Event: bpf.Event{Ret: -98}, Details: socket(3), Socket: &bpf.Socket{Family: 2, Type: 1, Protocol: 6}, Asked: ip("10.0.0.1:80")}),
	sent("listen", "x", "h", bpf.Draft{Details: &bpf.Details{FD: 3, Mode: 511, Target: bpf.TargetSocket}, Socket: &bpf.Socket{Family: 2, Type: 1, Protocol: 6}, Local: ip("127.0.0.1:80")}),
	sent("pipe2", "x", "h", bpf.Draft{Details: &bpf.Details{FD: 3, Other: 4, Flags: 0o2040000, Target: bpf.TargetPipe}}),
	sent("pipe", "x", "h", bpf.Draft{Event: bpf.Event{Ret: -24}, Details: &bpf.Details{FD: 3, Other: 4, LastFD: 20, NumClosed: 20}}),
	sent("eventfd2", "x", "h", bpf.Draft{Event: bpf.Event{Ret: 5}, Details: &bpf.Details{Mode: 7, Flags: 1, Target: bpf.TargetAnonymous}, Name: []byte("[eventfd]")}),
	sent("timerfd_create", "x", "h", bpf.Draft{Event: bpf.Event{Ret: 5}, Details: &bpf.Details{Request: 1, Flags: 0o2000000, Target: bpf.TargetAnonymous}, Name: []byte("[timerfd]")}),
	sent("signalfd4", "x", "h", bpf.Draft{Event: bpf.Event{Ret: 5}, Details: &bpf.Details{Request: 1<<1 | 1<<14, Other: 1 << 8, Target: bpf.TargetAnonymous}, Name: []byte("[signalfd]")}),
	sent("inotify_init1", "x", "h", bpf.Draft{Event: bpf.Event{Ret: -24}, Details: &bpf.Details{LastFD: 1024, NumClosed: 12}}),
	sent("memfd_create", "x", "h", bpf.Draft{Event: bpf.Event{Ret: 5}, Details: &bpf.Details{Flags: 3, Target: bpf.TargetMemfd}, Given: []byte(hostile), Name: []byte("memfd:" + hostile)}),
	sent("fsopen", "x", "h", bpf.Draft{Event: bpf.Event{Ret: -19}, Details: &bpf.Details{Flags: 1, Target: bpf.TargetPath}, Given: []byte("zfs")}),
	sent("pidfd_open", "x", "h", bpf.Draft{Event: bpf.Event{Ret: -3}, Details: &bpf.Details{Other: 77}}),
	sent("perf_event_open", "x", "h", bpf.Draft{Event: bpf.Event{Ret: 5}, Details: &bpf.Details{Request: 1, Other: -1, Mode: 2, Target: bpf.TargetAnonymous}, Name: []byte("[perf_event]")}),
	sent("bpf", "x", "h", bpf.Draft{Event: bpf.Event{Ret: 5}, Details: &bpf.Details{Target: bpf.TargetAnonymous}, Name: []byte("bpf-map")}),
	sent("io_uring_setup", "x", "h", bpf.Draft{Event: bpf.Event{Ret: 5}, Details: &bpf.Details{Mode: 64, Flags: 0x3002, Target: bpf.TargetAnonymous}, Name: []byte("[io_uring]")}),
	sent("mq_open", "x", "h", bpf.Draft{Event: bpf.Event{Ret: 5}, Details: &bpf.Details{Mode: 0o600, Flags: 0o102, Target: bpf.TargetFile, FileMode: 0o100600}, Given: []byte("queue"), Name: []byte("/queue")}),
	sent("landlock_create_ruleset", "x", "h", bpf.Draft{Event: bpf.Event{Ret: 5}, Details: &bpf.Details{Target: bpf.TargetAnonymous}, Name: []byte("[landlock-ruleset]")}),
	// A call that received two descriptors, of which the second has a row that says so, and one
	// that received more than have rows.
	sent("recvmsg", "x", "h", bpf.Draft{Event: bpf.Event{Ret: 1}, Details: &bpf.Details{FD: 9, Other: 4, Flags: 0x40000000, Target: bpf.TargetFile, FileMode: 0o100644}, Name: []byte("/tmp/" + hostile)}),
	sent("recvmsg", "x", "h", bpf.Draft{Event: bpf.Event{Ret: 1}, Details: &bpf.Details{FD: 10, Other: 4, Flags: 0x40000000, Target: bpf.TargetPipe, Remarks: bpf.Further}}),
	sent("recvmmsg", "x", "h", bpf.Draft{Event: bpf.Event{Ret: 2}, Details: &bpf.Details{FD: -1, Other: 4, NumClosed: 252, Remarks: bpf.Further}}),
	sent("exec", "ls", "h", bpf.Draft{Details: &bpf.Details{Target: bpf.TargetFile, FileMode: 0o100755, Request: 4_000_000_000, Other: 1}, Given: []byte("ls\x00-l\x00\x00it's a\x00" + hostile + "\x00"), Name: []byte("/usr/bin/ls")}),
	sent("exec", "x", "h", bpf.Draft{Details: &bpf.Details{Target: bpf.TargetFile, FileMode: 0o100755, Remarks: bpf.ArgsCut}, Given: []byte("x\x00y"), Name: []byte("/a b")}),
	sent("exit", "x", "h", bpf.Draft{Event: bpf.Event{Ret: 3}, Details: &bpf.Details{Flags: 3 << 8, Request: 1_400_000_000, Other: 2}}),
	sent("exit", "x", "h", bpf.Draft{Event: bpf.Event{Ret: 137}, Details: &bpf.Details{Flags: 9, Request: 1_400_000_000, Other: 2}}),
	sent("exit", "x", "h", bpf.Draft{Event: bpf.Event{Ret: 139}, Details: &bpf.Details{Flags: 0x8b}}),
}

var containers = []*stream.Container{
	{Label: "web-1", ID: strings.Repeat("6643ca763e3e", 5) + "6643", Name: "web-1", Image: "httpd:2.4", Runtime: "docker"},
	nil,
	{Label: "pod/na me", ID: "x", Name: "na me", Runtime: "containerd", Pod: "pod", PodUID: "5ae1a1a5-0000-4000-8000-000000000000", Namespace: "kube-system"},
	stream.Unknown,
}

// fixed writes as if the kernel's clock had started in 2021.
func fixed(out io.Writer, o Options) *Writer {
	o.realtimeOffset = func() int64 { return 1611041700 * second }
	o.zone = time.FixedZone("CET", 3600)
	w, err := NewWriter(out, o)
	if err != nil {
		panic(err)
	}
	return w
}

func TestGolden(t *testing.T) {
	for name, o := range map[string]Options{
		"hostnames": {Format: Table},
		"cgroupids": {Format: Table, CgroupID: true},
		"wide":      {Format: Wide},
		"latency":   {Format: Wide, CgroupID: true, Latency: true},
		"json":      {Format: JSON, Latency: true},
		"columns":   {Format: Table, Columns: []string{"detail", "comm", "ABI", "tid", "ppid", "time"}, NoHeader: true},
		"fullpath":  {Format: Table, Columns: []string{"syscall", "fd", "ret", "detail"}, FullPath: true},
		"delta":     {Format: Table, Time: Delta, Precision: Microseconds},
		"local":     {Format: Table, Time: Local, Precision: Milliseconds},
		"tsv":       {Format: "tsv", Latency: true},
		"strace":    {Format: "strace"},
		"color":     {Format: Wide, Color: true, Unicode: true, NoHeader: true, Columns: []string{"-hostname", "+tid", "+latency"}},
		"unix":      {Format: Table, Time: Unix, Precision: Nanoseconds},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			w := fixed(&out, o)
			for i, r := range records {
				if err := w.Event(&stream.Event{Record: r, Container: containers[i%len(containers)], Peer: containers[(i+2)%len(containers)]}); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			golden.Check(t, name, out.Bytes())
			if w.Shown() != uint64(len(records)) || w.Unwritten() != 0 {
				t.Errorf("%d shown, %d unwritten", w.Shown(), w.Unwritten())
			}
		})
	}
}

var listed = []*stream.Container{
	{
		ID: strings.Repeat("6643ca763e3e", 5) + "6643", Name: "web-1", Image: "sha256:" + strings.Repeat("0123456789abcdef", 4), Runtime: "docker",
		Hostname: "6643ca763e3e", CgroupID: 45777, PID: 11606,
	},
	{
		ID: strings.Repeat("0123456789abcdef", 4), Name: "app", Image: "registry.example/shop@sha256:" + strings.Repeat("0123456789abcdef", 4), Runtime: "containerd",
		Hostname: "shop-frontend-7f9c6b8d4-x2x7q", CgroupID: 1, Pod: "shop-frontend-7f9c6b8d4-x2x7q", PodUID: "5ae1a1a5", Namespace: "shop", QoS: "burstable",
	},
	{ID: "a b", Name: hostile, Runtime: "lxc", Hostname: strings.Repeat("h", 64)},
	{ID: strings.Repeat("6643ca763e3e", 5) + "6643", Name: "web-1", Runtime: "docker", Inner: strings.Repeat("0123456789abcdef", 4), InnerRuntime: "containerd"},
}

func TestList(t *testing.T) {
	for name, l := range map[string]List{
		"list":      {},
		"listtsv":   {Format: "tsv", NoHeader: true},
		"listjson":  {Format: JSON},
		"listquiet": {OnlyIDs: true},
	} {
		var out bytes.Buffer
		if err := l.Write(&out, listed); err != nil {
			t.Fatal(err)
		}
		golden.Check(t, name, out.Bytes())
	}
	for line := range bytes.Lines(goldenText(t, "listjson")) {
		if !json.Valid(line) {
			t.Errorf("no JSON: %s", line)
		}
	}
}

func goldenText(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(golden.Path(name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// schema is what docs/event.schema.json has of an object.
type schema struct {
	Properties map[string]schema
	Defs       map[string]schema `json:"$defs"`
	Items      *schema
	Enum       []string
}

// The schema has the keys of the table of fields, and no others.
func TestSchemaHasFields(t *testing.T) {
	var root schema
	if err := json.Unmarshal(docs.EventSchema, &root); err != nil {
		t.Fatal(err)
	}
	container := root.Defs["container"].Properties
	root.Properties["container"], root.Properties["peer_container"] = schema{Properties: container}, schema{Properties: container}
	keys := func(fields []Field) map[string]bool {
		keys := make(map[string]bool)
		for _, f := range fields {
			if !f.OnlyColumn {
				keys[f.Name] = true
				keys[f.Name+"_base64"] = f.Kind == Text
			}
		}
		return keys
	}
	var syscalls []string
	for _, s := range bpf.Syscalls {
		syscalls = append(syscalls, s.Name)
	}
	if got := root.Properties["syscall"].Enum; !slices.Equal(got, syscalls) {
		t.Errorf("the syscalls are %v, want %v", got, syscalls)
	}
	ofFiles := slices.DeleteFunc(slices.Clone(Fields), func(f Field) bool { return !f.closed })
	compareKeys(t, "closed.", root.Properties["closed"].Items.Properties, keys(ofFiles))
	compareKeys(t, "", root.Properties, keys(Fields))
}

func compareKeys(t *testing.T, object string, got map[string]schema, want map[string]bool) {
	t.Helper()
	for name, s := range got {
		if s.Properties != nil {
			delete(got, name)
			for inside, s := range s.Properties {
				got[name+"."+inside] = s
			}
		}
	}
	for name, has := range want {
		if _, ok := got[name]; ok != has {
			t.Errorf("%s%s is there: %t, want %t", object, name, ok, has)
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("no field %s%s", object, name)
	}
}

func TestGoldenMatchesSchema(t *testing.T) {
	conform.Lines(t, docs.EventSchema, goldenText(t, "json"))
}

// What JSON says is no UTF-8 can be had exactly.
func TestJSONKeepsBytes(t *testing.T) {
	var out bytes.Buffer
	w := fixed(&out, Options{Format: JSON})
	path := "\xff\xfe\x00\"\\\u2028\U0001f600\U000e0001"
	_ = w.Event(&stream.Event{Record: sent("open", "c\x80", "h", bpf.Draft{Details: &bpf.Details{Target: bpf.TargetPath}, Given: []byte(path)})})
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
	f.Add("httpd", "host", "/etc/passwd", "/etc/passwd", byte(2), byte(0), uint16(0))
	f.Add("\xff", "\x00\x1f\x7f", "\"\\\u2028", "x", byte(7), byte(255), uint16(1))
	f.Fuzz(func(t *testing.T, comm, hostname, given, name string, target, remarks byte, family uint16) {
		if len(given)+len(name) > bpf.TextMax {
			return
		}
		d := bpf.Draft{Details: &bpf.Details{
			Target: bpf.Target(target % 9), Remarks: bpf.Remark(remarks),
		}}
		if d.Details.Target == bpf.TargetSocket {
			d.Socket = &bpf.Socket{Family: family % 50, Type: remarks & 7, Protocol: family}
			d.Peer, d.Local = unixAddress(given), unixAddress(name)
		} else {
			d.Given, d.Name = []byte(given), []byte(name)
		}
		all := bpf.Draft{Details: &bpf.Details{NumClosed: 1}, Closed: []bpf.Draft{d}}
		comm, hostname = comm[:min(len(comm), 15)], hostname[:min(len(hostname), 64)]
		var out bytes.Buffer
		w := fixed(&out, Options{Format: JSON, Program: true})
		program := &stream.Program{Exe: given, Args: []byte(name), Parents: []stream.Parent{{Exe: name}, {Comm: comm}, {}}}
		_ = w.Event(&stream.Event{Record: sent("openat", comm, hostname, d), Program: program})
		_ = w.Event(&stream.Event{Record: sent("connect", comm, hostname, d)})
		_ = w.Event(&stream.Event{Record: sent("close_range", comm, hostname, all)})
		_ = w.Flush()
		lines := bytes.SplitAfter(out.Bytes(), []byte("\n"))
		if len(lines) != 4 || !utf8.Valid(out.Bytes()) {
			t.Fatalf("not three lines: %q", &out)
		}
		for _, line := range lines[:3] {
			if !json.Valid(line) {
				t.Fatalf("no JSON: %q", line)
			}
		}
	})
}

func TestUnknownColumn(t *testing.T) {
	o := Options{Columns: []string{"time", "nope"}}
	if _, err := NewWriter(io.Discard, o); err == nil || !strings.Contains(err.Error(), `no column "nope"`) {
		t.Errorf("NewWriter gave %v", err)
	}
}

// What no column shows is not asked of the kernel.
func TestNeeds(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want stream.Needs
	}{
		{Options{Format: Table}, stream.Needs{Hostname: true}},
		{Options{Format: Table, CgroupID: true}, stream.Needs{}},
		{Options{Format: Wide, CgroupID: true}, stream.Needs{Details: true, Containers: true}},
		{Options{Format: JSON}, stream.Needs{Hostname: true, Details: true, Containers: true, File: true}},
		{Options{Format: JSON, FullPath: true}, stream.Needs{Hostname: true, Details: true, Containers: true, File: true}},
		{Options{Format: Wide, CgroupID: true, FullPath: true}, stream.Needs{Details: true, Containers: true, File: true}},
		{Options{Columns: []string{"comm", "lat"}}, stream.Needs{Details: true, Latency: true}},
	} {
		if got := fixed(io.Discard, c.o).Needs(); got != c.want {
			t.Errorf("%+v needs %+v, want %+v", c.o, got, c.want)
		}
	}
}

// The longest lines there can be are written when the buffer is full, and never
// make it grow.
func TestBufferNeverGrows(t *testing.T) {
	// Of the bytes that become six characters one is not UTF-8, so that there is base64.
	path := append(bytes.Repeat([]byte{1}, bpf.TextMax-1), 0xff)
	comm, hostname := strings.Repeat("\xff", 15), strings.Repeat("\xff", 64)
	longest := bpf.Address{IP: netip.MustParseAddr("1111:1111:1111:1111:1111:1111:1111:1111"), Zone: 1 << 31, Port: 65535}
	ranged := bpf.Draft{Details: &bpf.Details{NumClosed: 1 << 31}}
	for len(ranged.Closed) < 2*bpf.TextMax/int(unsafe.Sizeof(bpf.Details{})+unsafe.Sizeof(bpf.Socket{})) {
		ranged.Closed = append(ranged.Closed, bpf.Draft{
			Details: socket(1 << 30), Socket: &bpf.Socket{Family: 10, Type: 3, Protocol: 65535}, Peer: longest, Local: longest,
		})
	}
	for name, worst := range map[string]*bpf.Record{
		"two paths":    sent("openat", comm, hostname, bpf.Draft{Details: &bpf.Details{Target: bpf.TargetFile}, Given: path, Name: path}),
		"a namespace":  sent("close", comm, hostname, bpf.Draft{Details: &bpf.Details{Target: bpf.TargetNamespace}, Name: path}),
		"two sockets":  sent("close", comm, hostname, bpf.Draft{Details: socket(1), Socket: &bpf.Socket{Family: 1, Type: 1, Protocol: 0}, Peer: bpf.Address{Unix: path}, Local: bpf.Address{Unix: path}}),
		"many sockets": sent("close_range", comm, hostname, ranged),
	} {
		options := []Options{{Columns: []string{"path", "detail", "file", "detail", "addr", "local_addr", "exe", "args", "parents"}}}
		for _, format := range Formats() {
			options = append(options, Options{Format: format, Latency: true, FullPath: true, Program: true})
		}
		for _, o := range options {
			var out bytes.Buffer
			w := fixed(&out, o)
			room := cap(w.buffer)
			for out.Len() < 2*bufferSize {
				before := len(w.buffer)
				if err := w.Event(&stream.Event{Record: worst, Container: containers[0], Peer: containers[2], Program: longestProgram}); err != nil {
					t.Fatal(err)
				}
				if line := len(w.buffer) - before; line >= w.format.longest() {
					t.Fatalf("%s, %+v: a line of %d bytes", name, o, line)
				}
			}
			if cap(w.buffer) != room {
				t.Errorf("%s, %+v: room for %d became %d", name, o, room, cap(w.buffer))
			}
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
		_ = w.Event(&stream.Event{Record: records[0]})
	}
	if err := w.Flush(); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("flush gave %v", err)
	}
	if w.Shown() != 3 || w.Unwritten() != 7 {
		t.Errorf("%d shown and %d unwritten of 10", w.Shown(), w.Unwritten())
	}
	if err := w.Flush(); err != nil || w.Shown() != 3 {
		t.Errorf("a flush of nothing gave %v, and %d are shown", err, w.Shown())
	}
}

func TestNoAllocations(t *testing.T) {
	for _, format := range Formats() {
		w := fixed(io.Discard, Options{Format: format, Program: true})
		for _, r := range records {
			e := &stream.Event{Record: r, Peer: containers[0], Program: programs[0]}
			if n := testing.AllocsPerRun(1000, func() { _ = w.Event(e) }); n != 0 {
				t.Errorf("%s: %v allocations for %s", format, n, bpf.Syscalls[r.Syscall].Name)
			}
		}
	}
}

// The first row after a suspend, or after somebody set the clock, has the right
// time already.
func TestClockStep(t *testing.T) {
	var out bytes.Buffer
	offset := int64(1611041700 * second)
	w, err := NewWriter(&out, Options{Columns: []string{"time"}, NoHeader: true, realtimeOffset: func() int64 { return offset }})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []int64{0, 3600 * second, -60 * second} {
		offset += step
		if err := errors.Join(w.Event(&stream.Event{Record: records[0]}), w.Flush()); err != nil {
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
	path := []byte("/var/www/html/index.html")
	opened := sent("openat", "nginx", "6643ca763e3e", bpf.Draft{
		Event: bpf.Event{Ret: 10}, Details: &bpf.Details{Target: bpf.TargetPath, Flags: 0o2000000}, Given: path,
	})
	closed := sent("close", "nginx", "6643ca763e3e", bpf.Draft{
		Details: &bpf.Details{FD: 10, Target: bpf.TargetFile, FileMode: 0o100644}, Name: path,
	})
	for _, format := range Formats() {
		b.Run(string(format), func(b *testing.B) {
			w := fixed(io.Discard, Options{Format: format})
			pair := [2]*stream.Event{{Record: opened}, {Record: closed}}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				_ = w.Event(pair[i&1])
				i++
			}
		})
	}
}
