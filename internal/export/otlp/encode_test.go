// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package otlp

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/output"
	"github.com/copenclose/copenclose/internal/stream"
)

func syscall(name string) uint8 {
	return uint8(slices.IndexFunc(bpf.Syscalls[:], func(s bpf.Syscall) bool { return s.Name == name }))
}

func view(t testing.TB, d bpf.Draft) *bpf.Record {
	t.Helper()
	var r bpf.Record
	if err := r.View(d.Append(nil)); err != nil {
		t.Fatal(err)
	}
	return &r
}

func opened(t testing.TB, path string, ret int32) *bpf.Record {
	return view(t, bpf.Draft{
		Event: bpf.Event{Syscall: syscall("openat"), Time: 1000, PID: 7, TID: 8, UID: 9, GID: 10, CgroupID: 11, Ret: ret},
		Comm:  "nginx", Hostname: "web",
		Details: &bpf.Details{FD: -100, PPID: 1, Target: bpf.TargetPath, Flags: 0o2000101, Mode: 0o644, Latency: 1234},
		Given:   []byte(path),
	})
}

func connected(t testing.TB) *bpf.Record {
	return view(t, bpf.Draft{
		Event:   bpf.Event{Syscall: syscall("connect"), Time: 2000, Ret: -115, CgroupID: 11},
		Details: &bpf.Details{FD: 5, Target: bpf.TargetSocket},
		Socket:  &bpf.Socket{Family: 2, Type: 1, Protocol: 6},
		Peer:    bpf.Address{IP: netip.MustParseAddr("10.0.0.2"), Port: 443},
		Local:   bpf.Address{IP: netip.MustParseAddr("10.0.0.1"), Port: 40000},
	})
}

var web = &stream.Container{
	ID: "6643", Name: "app", Image: "registry:5000/shop/app:1.2", Runtime: "containerd", Pod: "web-1", PodUID: "5ae1", Namespace: "shop", Label: "web-1/app",
}

// kept keeps requests as a server decodes them. A request has the fields of LogsData;
// its own package brings a gateway of gRPC.
type kept struct {
	t        testing.TB
	requests []*logs.LogsData
}

func (k *kept) send(request []byte) {
	r := &logs.LogsData{}
	if err := proto.Unmarshal(request, r); err != nil {
		k.t.Fatalf("not a request: %v", err)
	}
	k.requests = append(k.requests, r)
}

// text returns attributes in the order they were sent, one a line.
func text(attributes []*common.KeyValue) string {
	var b strings.Builder
	for _, a := range attributes {
		fmt.Fprintf(&b, "%s=%s\n", a.Key, value(a.Value))
	}
	return b.String()
}

func value(v *common.AnyValue) string {
	switch v := v.Value.(type) {
	case *common.AnyValue_StringValue:
		return fmt.Sprintf("%q", v.StringValue)
	case *common.AnyValue_BytesValue:
		return fmt.Sprintf("%x", v.BytesValue)
	case *common.AnyValue_IntValue:
		return fmt.Sprint(v.IntValue)
	case *common.AnyValue_BoolValue:
		return fmt.Sprint(v.BoolValue)
	case *common.AnyValue_ArrayValue:
		var words []string
		for _, one := range v.ArrayValue.Values {
			words = append(words, value(one))
		}
		return strings.Join(words, " ")
	}
	return "?"
}

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares bytes with those of a file, which test/fleet/collector decodes with the
// Collector's own decoder.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s has another request, %v: go test -update, and look at what changes", path, err)
	}
}

func TestRequest(t *testing.T) {
	e := newEncoder("1.2.3", []Attribute{{"service.name", "copenclose"}, {"host.name", "node\xff"}})
	e.offset, e.observed = 1_000_000, 5_000_000
	e.add(&stream.Event{Record: opened(t, "/etc/\xffpasswd", -2), Container: web})
	e.add(&stream.Event{Record: connected(t)})
	e.add(&stream.Event{Record: opened(t, "/etc/hosts", 3), Container: web})
	k := &kept{t: t}
	request := e.finish(nil)
	k.send(request)
	golden(t, "testdata/request.binpb", request)

	resources := k.requests[0].ResourceLogs
	if len(resources) != 2 {
		t.Fatalf("%d resources", len(resources))
	}
	if got, want := text(resources[0].Resource.Attributes), `service.name="copenclose"
host.name="node�"
container.id="6643"
container.name="app"
container.runtime.name="containerd"
container.image.name="registry:5000/shop/app"
copenclose.container.image.tag="1.2"
k8s.namespace.name="shop"
k8s.pod.name="web-1"
k8s.pod.uid="5ae1"
k8s.container.name="app"
`; got != want {
		t.Errorf("of the container got\n%s", got)
	}
	if got := text(resources[1].Resource.Attributes); got != "service.name=\"copenclose\"\nhost.name=\"node�\"\n" {
		t.Errorf("of the host got\n%s", got)
	}
	scope := resources[0].ScopeLogs[0]
	if scope.Scope.Name != "copenclose" || scope.Scope.Version != "1.2.3" || len(scope.LogRecords) != 2 || resources[0].SchemaUrl != schema {
		t.Fatalf("got %v", scope)
	}
	failed := scope.LogRecords[0]
	if failed.TimeUnixNano != 1_001_000 || failed.ObservedTimeUnixNano != 5_000_000 || failed.SeverityNumber != logs.SeverityNumber_SEVERITY_NUMBER_WARN ||
		failed.SeverityText != "WARN" || failed.EventName != "copenclose.open" || failed.Body.GetStringValue() != `/etc/\xffpasswd` {
		t.Errorf("got %v", failed)
	}
	if got, want := text(failed.Attributes), `copenclose.hostname="web"
copenclose.cgroup_id=11
process.pid=7
thread.id=8
process.parent_pid=1
process.user.id=9
copenclose.gid=10
thread.name="nginx"
copenclose.syscall="openat"
copenclose.abi="x86_64"
copenclose.ret=-2
error.type="ENOENT"
copenclose.dirfd=-100
copenclose.flags="O_WRONLY" "O_CREAT" "O_CLOEXEC"
file.mode="0644"
file.path.bytes=2f6574632fff706173737764
file.path="/etc/�passwd"
copenclose.duration_ns=1234
`; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	pending := resources[1].ScopeLogs[0].LogRecords[0]
	if pending.SeverityText != "INFO" || pending.EventName != "copenclose.connect" || !strings.Contains(text(pending.Attributes),
		"network.peer.address=\"10.0.0.2\"\nnetwork.peer.port=443\nnetwork.local.address=\"10.0.0.1\"\nnetwork.local.port=40000\n") {
		t.Errorf("got %v", pending)
	}
	if len(e.groups) != 0 || e.records != 0 || e.size != 0 {
		t.Errorf("a new batch begins with %+v", e)
	}
}

// Each field is an attribute, a part of the record or of its resource, and no two are
// the same attribute.
func TestAttributes(t *testing.T) {
	named := make(map[string]string)
	for i := range output.Fields {
		f := &output.Fields[i]
		name := AttributeOf(f)
		if other, twice := named[name]; twice && name != "" {
			t.Errorf("%s and %s are both %s", other, f.Name, name)
		}
		named[name] = f.Name
	}
	for field := range semantic {
		if field != "exe" && !slices.ContainsFunc(output.Fields, func(f output.Field) bool { return f.Name == field }) {
			t.Errorf("there is no field %s", field)
		}
	}
}

// docs/FLEET.md has a row for each attribute.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/FLEET.md")
	if err != nil {
		t.Fatal(err)
	}
	for i := range output.Fields {
		f := &output.Fields[i]
		if name := AttributeOf(f); name != "" && f.Kind != output.Files && !strings.Contains(string(text), fmt.Sprintf("| `%s` | `%s` |", name, f.Name)) {
			t.Errorf("docs/FLEET.md does not have %s of the field %s", name, f.Name)
		}
	}
}

func TestEventAllocatesNothing(t *testing.T) {
	e := newEncoder("1", nil)
	event := &stream.Event{Record: opened(t, "/etc/hosts", 3), Container: web}
	buffer := make([]byte, 0, 1<<20)
	fill := func() {
		for range 1000 {
			e.add(event)
		}
	}
	for range 2 {
		fill()
		buffer = e.finish(buffer[:0])
	}
	if n := testing.AllocsPerRun(10, func() { e.add(event) }); n != 0 {
		t.Errorf("%v allocations an event", n)
	}
}

func TestSinkSends(t *testing.T) {
	s := &stub{}
	sink := newSink(newQueue(s, queueMax, func(error) {}), "1", false, nil)
	event := &stream.Event{Record: opened(t, "/etc/hosts", 3)}
	const n = batchRecords + 100
	for range n {
		if err := sink.Event(event); err != nil {
			t.Fatal(err)
		}
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	if a := sink.Account(); a.Made != n || a.Sent != n || a.Requests < 2 {
		t.Errorf("%+v", a)
	}
	for _, request := range s.sent {
		if len(request) > batchSize+64<<10 {
			t.Errorf("a request of %d bytes", len(request))
		}
	}
}

// A lone event does not wait for others for ever.
func TestSinkSendsInTime(t *testing.T) {
	sent := make(chan struct{})
	s := &stub{answer: func(int) (int, error) { close(sent); return 0, nil }}
	sink := newSink(newQueue(s, queueMax, func(error) {}), "1", false, nil)
	if err := sink.Event(&stream.Event{Record: opened(t, "/etc/hosts", 3)}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-sent:
	case <-time.After(time.Minute):
		t.Error("it was not sent")
	}
	_ = sink.Close()
}

func FuzzEncode(f *testing.F) {
	f.Add([]byte("/etc/hosts"), []byte("nginx"), "web", int32(-2))
	f.Add([]byte("\xff\xfe"), []byte{0x80}, "\x00\xff", int32(3))
	f.Fuzz(func(t *testing.T, path, comm []byte, name string, ret int32) {
		if len(path) >= bpf.TextMax {
			return
		}
		d := bpf.Draft{
			Event:   bpf.Event{Syscall: syscall("openat"), Ret: ret},
			Comm:    string(comm),
			Details: &bpf.Details{Target: bpf.TargetPath},
			Given:   path,
		}
		e := newEncoder("1", nil)
		e.add(&stream.Event{Record: view(t, d), Container: &stream.Container{ID: name, Name: name, Image: name, Pod: name}})
		(&kept{t: t}).send(e.finish(nil))
	})
}

func BenchmarkEncode(b *testing.B) {
	e := newEncoder("1", nil)
	events := []*stream.Event{{Record: opened(b, "/var/www/html/index.html", 3), Container: web}, {Record: connected(b)}}
	request := make([]byte, 0, batchSize)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		e.add(events[i&1])
		i++
		if e.records == batchRecords || e.size >= batchSize {
			request = e.finish(request[:0])
		}
	}
}
