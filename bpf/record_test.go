// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package bpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

func object(t *testing.T) *bytes.Reader {
	t.Helper()
	var o bytes.Buffer
	if err := WriteObject(&o); err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(o.Bytes())
}

func objectBTF(t *testing.T) *btf.Spec {
	t.Helper()
	spec, err := btf.LoadSpecFromReader(object(t))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// Every Go view has the fields of its C struct, by name, offset and size, as the
// object that is loaded says itself.
func TestViewsMatchObject(t *testing.T) {
	spec := objectBTF(t)
	for name, view := range map[string]any{
		"event": Event{}, "details": Details{}, "socket_part": Socket{}, "address": address{}, "shared": Shared{}, "counters": Counters{},
		"id": ID{}, "comm_prefix": CommPrefix{}, "path_prefix": PathPrefix{}, "verdict_set": VerdictSet{}, "cgroup_counts": CgroupCounts{}, "config": Config{},
		"executable": Executable{}, "total_key": TotalKey{}, "total": Total{}, "executable_path": ExecutablePath{}, "sampled": Sampled{}, "lifetime_part": Lifetime{},
	} {
		viewMatches(t, spec, name, view)
	}
	// It is written field by field, without padding.
	if n := binary.Size(Config{}); n != int(unsafe.Sizeof(Config{})) {
		t.Errorf("Config has %d bytes, and is written as %d", unsafe.Sizeof(Config{}), n)
	}
}

func viewMatches(t *testing.T, spec *btf.Spec, name string, view any) {
	t.Helper()
	var c *btf.Struct
	if err := spec.TypeByName(name, &c); err != nil {
		t.Fatalf("struct %s: %v", name, err)
	}
	v := reflect.TypeOf(view)
	if int(c.Size) != int(v.Size()) {
		t.Errorf("struct %s has %d bytes, %s has %d", name, c.Size, v, v.Size())
	}
	if len(c.Members) != v.NumField() {
		t.Fatalf("struct %s has %d members, %s has %d", name, len(c.Members), v, v.NumField())
	}
	for i, member := range c.Members {
		field := v.Field(i)
		size, err := btf.Sizeof(member.Type)
		if err != nil {
			t.Fatal(err)
		}
		same := strings.EqualFold(strings.ReplaceAll(member.Name, "_", ""), field.Name) || field.Name == "_" && member.Name == "reserved"
		if !same || uintptr(member.Offset.Bytes()) != field.Offset || uintptr(size) != field.Type.Size() {
			t.Errorf("struct %s: %s at %d, %d bytes; but %s: %s at %d, %d bytes",
				name, member.Name, member.Offset.Bytes(), size, v, field.Name, field.Offset, field.Type.Size())
		}
	}
}

// The rows of syscalls.go are those of syscalls.h, and the ABIs are the same.
func TestEnumsMatchObject(t *testing.T) {
	spec := objectBTF(t)
	want := []string{}
	for _, s := range Syscalls {
		want = append(want, "SYS_"+s.Name)
	}
	for name, want := range map[string][]string{
		"verdict": {UnknownCgroup: "VERDICT_UNKNOWN", Host: "VERDICT_HOST", Container: "VERDICT_CONTAINER", Chosen: "VERDICT_CHOSEN", OwnCgroup: "VERDICT_OWN_CGROUP"},
		"kind":    {Call: "KIND_CALL", CgroupCreated: "KIND_CGROUP_CREATED", CgroupRemoved: "KIND_CGROUP_REMOVED", Forked: "KIND_FORKED", Executed: "KIND_EXECUTED", Ended: "KIND_ENDED"},
		"flag":    {InInitialPIDNS: "FLAG_INITIAL_PID_NS", HasDetails: "FLAG_DETAILS", ViaIOUring: "FLAG_IO_URING", NoResult: "FLAG_NO_RESULT", ViaExec: "FLAG_EXEC"},
		"part":    {HasSocket: "PART_SOCKET", HasLifetime: "PART_LIFETIME"},
		"syscall": append(want, "SYS_COUNT"),
		"abi":     {ABI64: "ABI_64", ABI32: "ABI_32"},
		"target": {"TARGET_UNKNOWN", "TARGET_PATH", "TARGET_FILE", "TARGET_SOCKET", "TARGET_PIPE",
			"TARGET_ANONYMOUS", "TARGET_MEMFD", "TARGET_NAMESPACE"},
		"remark": {Truncated: "REMARK_TRUNCATED", Unreadable: "REMARK_UNREADABLE", Outcome: "REMARK_OUTCOME",
			FastOpen: "REMARK_FAST_OPEN", Replaced: "REMARK_REPLACED", ArgsCut: "REMARK_ARGS_CUT", Further: "REMARK_FURTHER"},
		"id_kind": {PID: "ID_PID", TID: "ID_TID", UID: "ID_UID", GID: "ID_GID", Errno: "ID_ERRNO", IDKinds: "ID_KINDS"},
		"listing": {ListingNone: "LISTING_NONE", ListingOnly: "LISTING_ONLY", ListingExcept: "LISTING_EXCEPT"},
	} {
		var c *btf.Enum
		if err := spec.TypeByName(name, &c); err != nil {
			t.Fatalf("enum %s: %v", name, err)
		}
		got := make([]string, len(want))
		for _, v := range c.Values {
			if v.Value >= uint64(len(got)) {
				t.Fatalf("enum %s: %s = %d has no row here", name, v.Name, v.Value)
			}
			got[v.Value] = v.Name
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("enum %s is %v, here it is %v", name, got, want)
		}
	}
}

// The sizes that the tool counts on are those of the maps.
func TestMapsMatchObject(t *testing.T) {
	collection, err := ebpf.LoadCollectionSpecFromReader(object(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, entries := range map[string]uint32{SlotsMap: ClosingSlots + FreeSlots, ClosingSlotsMap: ClosingSlots, FreeSlotsMap: FreeSlots, CgroupsMap: CgroupsMax, CommsMap: CommsMax, PathsMap: PathsMax, RequestsMap: RequestsMax, VerdictsMap: VerdictSets} {
		if got := collection.Maps[name].MaxEntries; got != entries {
			t.Errorf("map %s has %d entries, want %d", name, got, entries)
		}
	}
	for _, name := range []string{RingMap, PerfMap, CountersMap, CgroupCountsMap, RatesMap, SharedMap, EnteredMap, ClosingMap, InterruptedMap, ConnectingMap, IDsMap,
		RequestsMap, RequestTextsMap, NamedRequestsMap, RequestPlacesMap, FreePlacesMap} {
		if collection.Maps[name] == nil {
			t.Errorf("no map %s", name)
		}
	}
	programs := []string{HandlersEnterProgram, HandlersReturnProgram, SysEnterProgram, SysExitProgram,
		PerfSysEnterProgram, PerfSysExitProgram, SignalProgram, StateProgram, ForkProgram, ExecProgram, ExitProgram, MkdirProgram, RmdirProgram,
		Socketcall.EntryProgram(ABI32), Socketcall.ExitProgram(ABI32)}
	for _, s := range Syscalls {
		if s.Event {
			continue
		}
		programs = append(programs, s.EntryProgram(ABI64), s.EntryProgram(ABI32), s.ExitProgram(ABI64), s.ExitProgram(ABI32))
	}
	for _, name := range programs {
		if collection.Programs[name] == nil {
			t.Errorf("no program %s", name)
		}
	}
}

// aligned is a copy of b that View can be given.
func aligned(b []byte) []byte {
	words := make([]uint64, len(b)/8+1)
	copied := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(b))
	copy(copied, b)
	return copied
}

func index(syscall string) uint8 {
	return uint8(slices.IndexFunc(Syscalls[:], func(s Syscall) bool { return s.Name == syscall }))
}

// view is what the reader makes of a draft.
func view(t testing.TB, d Draft) *Record {
	t.Helper()
	r := &Record{}
	if err := r.View(aligned(d.Append(nil))); err != nil {
		t.Fatalf("%+v: %v", d, err)
	}
	return r
}

func TestUnixAddresses(t *testing.T) {
	r := view(t, Draft{
		Details: &Details{Target: TargetSocket}, Socket: &Socket{Family: familyUnix},
		Peer: Address{Unix: []byte("\x00abs")}, Local: Address{Unix: []byte("/run\x00x")}, Asked: Address{Unix: []byte("/a")},
	})
	if peer, local, asked := r.Peer(), r.Local(), r.Asked(); string(peer.Unix) != "\x00abs" || string(local.Unix) != "/run" ||
		string(asked.Unix) != "/a" || r.Name() != nil || len(r.Given()) != 0 {
		t.Errorf("peer %q, local %q, asked %q, name %q, given %q", peer.Unix, local.Unix, asked.Unix, r.Name(), r.Given())
	}
}

// closeRange is a close_range that closed a file, a socket and a pipe.
var closeRange = Draft{
	Event:   Event{Syscall: index("close_range")},
	Details: &Details{FD: 3, LastFD: 9, NumClosed: 5},
	Closed: []Draft{
		{Details: &Details{FD: 3, Target: TargetFile}, Name: []byte("/tmp/x\xff")},
		{Details: &Details{FD: 4, Target: TargetSocket}, Socket: &Socket{Family: familyIPv6, Type: 1, Protocol: 6},
			Peer: Address{IP: netip.MustParseAddr("fe80::1"), Zone: 2, Port: 80}},
		{Details: &Details{FD: 5, Target: TargetPipe}},
	},
}

func TestClosed(t *testing.T) {
	var got []string
	for closed := range view(t, closeRange).Closed() {
		got = append(got, fmt.Sprintf("%d %q %s", closed.Details.FD, closed.Name(), closed.Peer().IP))
	}
	want := []string{`3 "/tmp/x\xff" invalid IP`, `4 "" fe80::1`, `5 "" invalid IP`}
	if !slices.Equal(got, want) {
		t.Errorf("closed %q, want %q", got, want)
	}
}

// What is no list of closed files ends it.
func TestMalformedClosed(t *testing.T) {
	raw := closeRange.Append(nil)
	first := eventSize + detailsSize
	second := first + align(detailsSize+len(closeRange.Closed[0].Name))
	for name, c := range map[string]struct {
		change func(b []byte)
		want   int
	}{
		"none were closed":                  {func(b []byte) { (*Details)(unsafe.Pointer(&b[eventSize])).NumClosed = 0 }, 0},
		"text that is longer than the rest": {func(b []byte) { (*Details)(unsafe.Pointer(&b[first])).textLen = 5000 }, 0},
		"addresses that are longer than the text": {func(b []byte) {
			(*Socket)(unsafe.Pointer(&b[second+detailsSize])).asked.textLen = 1
		}, 1},
		"a part that is cut": {func(b []byte) {
			(*Details)(unsafe.Pointer(&b[eventSize])).textLen = uint32(second + detailsSize + socketSize - 1 - first)
		}, 1},
		"an unknown part":     {func(b []byte) { (*Details)(unsafe.Pointer(&b[second])).Parts = 1 << 7 }, 1},
		"the last one is cut": {func(b []byte) { (*Details)(unsafe.Pointer(&b[eventSize])).textLen-- }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			b := aligned(raw)
			c.change(b)
			var r Record
			if err := r.View(b); err != nil {
				t.Fatal(err)
			}
			got := 0
			for range r.Closed() {
				got++
			}
			if got != c.want {
				t.Errorf("%d files, want %d", got, c.want)
			}
		})
	}
}

// Whatever the bytes are, a view of them stays inside.
func FuzzView(f *testing.F) {
	f.Add([]byte{})
	for _, size := range []int{eventSize - 1, eventSize, eventSize + detailsSize, RecordMax} {
		f.Add(make([]byte, size))
		f.Add(bytes.Repeat([]byte{0xff}, size))
	}
	for family := range uint16(50) {
		end := Address{Unix: []byte("/run/socket")}
		d := Draft{Details: &Details{Target: TargetSocket}, Socket: &Socket{Family: family}, Peer: end, Local: end, Asked: end}
		f.Add(d.Append(nil))
	}
	f.Add(closeRange.Append(nil))
	lived := Draft{Details: &Details{Target: TargetFile}, Name: []byte("/x"), Lifetime: &Lifetime{How: 1}}
	f.Add(lived.Append(nil))
	opened := Draft{Comm: "cat", Hostname: "h", Details: &Details{Target: TargetFile}, Given: []byte("../x"), Name: []byte("/x")}
	f.Add(opened.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &Record{}
		if err := r.View(aligned(b)); err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatal(err)
			}
			return
		}
		if r.Kind == Call {
			_ = Syscalls[r.Syscall].Name
			_ = r.NewFD()
		}
		if len(r.Comm()) > 16 || len(r.Hostname()) > 64 || bytes.IndexByte(r.Comm(), 0) >= 0 || bytes.IndexByte(r.Hostname(), 0) >= 0 {
			t.Fatalf("comm %q, hostname %q", r.Comm(), r.Hostname())
		}
		if n := textSize(r); n > 2*len(b) {
			t.Fatalf("%d bytes of text in %d", n, len(b))
		}
		closed := 0
		for c := range r.Closed() {
			closed += detailsSize
			_ = textSize(&c)
		}
		if closed > len(b) {
			t.Fatalf("%d bytes of closed files in %d", closed, len(b))
		}
	})
}

// Each kind has what belongs to it, and nothing else is taken for a record.
func TestKinds(t *testing.T) {
	path := []byte("/a/b")
	for _, c := range []struct {
		draft Draft
		valid bool
	}{
		{Draft{}, true},
		{Draft{Event: Event{Kind: CgroupCreated, CgroupID: 7}, Details: &Details{}, Name: path}, true},
		{Draft{Event: Event{Kind: CgroupRemoved, Syscall: 255}, Details: &Details{}, Name: path}, true},
		{Draft{Event: Event{Kind: Executed, Syscall: 255}, Details: &Details{}, Name: path}, true},
		{Draft{Event: Event{Kind: Forked}, Details: &Details{}, Name: path}, true},
		{Draft{Event: Event{Kind: Ended}, Details: &Details{}, Name: path}, true},
		{Draft{Event: Event{Kind: CgroupCreated}}, false},
		{Draft{Event: Event{Kind: Forked}}, false},
		{Draft{Event: Event{Kind: Executed}}, false},
		{Draft{Event: Event{Kind: Ended}}, false},
		{Draft{Event: Event{Kind: Ended + 1}, Details: &Details{}}, false},
		{Draft{Event: Event{Syscall: uint8(len(Syscalls))}}, false},
		{Draft{Event: Event{ABI: ABI32 + 1}}, false},
	} {
		r := &Record{}
		err := r.View(aligned(c.draft.Append(nil)))
		if c.valid != (err == nil) || !c.valid && !errors.Is(err, ErrRecord) {
			t.Errorf("%+v: %v", c.draft.Event, err)
		}
		if c.valid && c.draft.Details != nil && string(r.Name()) != string(path) {
			t.Errorf("%+v: name %q", c.draft.Event, r.Name())
		}
	}
}

// textSize is how much text a record has.
func textSize(r *Record) int {
	return max(len(r.Given())+len(r.Name()), len(r.Peer().Unix)+len(r.Local().Unix)+len(r.Asked().Unix))
}

// A view of what a draft makes says what the draft does, and so do the files that are
// closed there.
func FuzzDraft(f *testing.F) {
	f.Add(uint16(familyIPv6), uint8(TargetSocket), "", "", []byte("0123456789abcdef"), uint32(443))
	f.Add(uint16(familyIPv4), uint8(TargetSocket), "", "", []byte("0123456789abcdef"), uint32(443))
	f.Add(uint16(familyVsock), uint8(TargetSocket), "", "", []byte("0123456789abcdef"), uint32(1<<31))
	f.Add(uint16(familyUnix), uint8(TargetSocket), "", "", []byte("/run/x\x00"), uint32(0))
	f.Add(uint16(0), uint8(TargetFile), "../x", "/home/x\xff", []byte{}, uint32(7))
	f.Fuzz(func(t *testing.T, family uint16, target uint8, given, name string, end []byte, number uint32) {
		if len(given)+len(name)+3*len(end) > TextMax/2 {
			return
		}
		details := Details{Target: Target(target), FD: int32(number)}
		d := Draft{Details: &details, Comm: "cat", Hostname: "h"}
		switch details.Target {
		case TargetSocket:
			d.Socket = &Socket{Family: family}
			d.Peer = anEnd(family, end, number)
			d.Local, d.Asked = d.Peer, d.Peer
		case TargetPipe:
		default:
			d.Given, d.Name = []byte(given), []byte(name)
		}
		r := view(t, d)
		if !says(r, d) || string(r.Comm()) != d.Comm || string(r.Hostname()) != d.Hostname {
			t.Fatalf("%+v became %+v", d, r.Details)
		}
		all := view(t, Draft{Details: &Details{NumClosed: 2}, Closed: []Draft{d, d}})
		n := 0
		for closed := range all.Closed() {
			if n++; !says(&closed, d) {
				t.Fatalf("closed %d: %+v became %+v", n, d, closed.Details)
			}
		}
		if n != 2 {
			t.Fatalf("%d closed files", n)
		}
	})
}

// anEnd is an address of a family, from these bytes and this number.
func anEnd(family uint16, b []byte, number uint32) Address {
	var ip [16]byte
	copy(ip[:], b)
	switch family {
	case familyIPv4:
		return Address{IP: netip.AddrFrom4([4]byte(ip[:4])), Port: number & 0xffff}
	case familyIPv6:
		return Address{IP: netip.AddrFrom16(ip), Zone: number, Port: number >> 16}
	case familyVsock:
		return Address{IsVsock: true, CID: binary.NativeEndian.Uint32(ip[:]), Port: number}
	case familyUnix:
		if len(b) == 0 || b[0] != 0 {
			b = beforeNUL(b)
		}
		return Address{Unix: b}
	}
	return Address{}
}

// says reports whether a record says what a draft does.
func says(r *Record, d Draft) bool {
	return r.Details.FD == d.Details.FD && bytes.Equal(r.Given(), d.Given) && bytes.Equal(r.Name(), d.Name) &&
		r.Peer().Equal(d.Peer) && r.Local().Equal(d.Local) && r.Asked().Equal(d.Asked)
}

func BenchmarkView(b *testing.B) {
	for name, d := range map[string]Draft{"event": {}, "details": {Details: &Details{}}, "socket": {Details: &Details{}, Socket: &Socket{}}} {
		raw := aligned(d.Append(nil))
		b.Run(name, func(b *testing.B) {
			var r Record
			b.ReportAllocs()
			for b.Loop() {
				if err := r.View(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A lifetime follows the text or the socket, also of a file that a close_range closed.
func TestLifetimePart(t *testing.T) {
	lived := &Lifetime{Lived: 5, FileLived: 7, OpenerPID: 9, OpenerFD: 3, How: 1, FileHow: 2, IsLast: true}
	for _, draft := range []Draft{
		{Details: &Details{FD: 3, Target: TargetFile}, Name: []byte("/tmp/x"), Lifetime: lived},
		{Details: &Details{FD: 3, Target: TargetSocket}, Socket: &Socket{Family: familyUnix}, Peer: Address{Unix: []byte("/s")}, Lifetime: lived},
	} {
		b := draft.Append(nil)
		r := &Record{}
		if err := r.View(b); err != nil || r.Lifetime == nil || *r.Lifetime != *lived {
			t.Errorf("%+v, %v", r.Lifetime, err)
		}
		if err := r.View(b[: len(b)-1 : len(b)-1]); err == nil {
			t.Error("a part that is cut was taken")
		}
		all := Draft{Event: Event{Syscall: index("close_range")}, Details: &Details{NumClosed: 2}, Closed: []Draft{draft, draft}}
		if err := r.View(all.Append(nil)); err != nil {
			t.Fatal(err)
		}
		n := 0
		for c := range r.Closed() {
			if n++; c.Lifetime == nil || *c.Lifetime != *lived {
				t.Errorf("closed: %+v", c.Lifetime)
			}
		}
		if n != 2 {
			t.Errorf("%d files", n)
		}
	}
}
