package bpf

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

func object(t *testing.T) *bytes.Reader {
	t.Helper()
	o, err := Object()
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(o)
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
		"event": Event{}, "details": Details{}, "address": address{}, "shared": Shared{}, "counters": Counters{},
		"id": ID{}, "comm_prefix": CommPrefix{}, "path_prefix": PathPrefix{}, "verdict_set": VerdictSet{},
	} {
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
}

// The rows of syscalls.go are those of syscalls.h, and the ABIs are the same.
func TestEnumsMatchObject(t *testing.T) {
	spec := objectBTF(t)
	want := []string{}
	for _, s := range Syscalls {
		want = append(want, "SYS_"+s.Name)
	}
	for name, want := range map[string][]string{
		"verdict":     {UnknownCgroup: "VERDICT_UNKNOWN", Host: "VERDICT_HOST", Container: "VERDICT_CONTAINER", Chosen: "VERDICT_CHOSEN"},
		"cgroup_news": {cgroupMade: "CGROUP_MADE", cgroupRemoved: "CGROUP_REMOVED"},
		"syscall":     append(want, "SYS_COUNT"),
		"abi":         {ABI64: "ABI_64", ABI32: "ABI_32"},
		"target": {"TARGET_UNKNOWN", "TARGET_PATH", "TARGET_FILE", "TARGET_SOCKET", "TARGET_PIPE",
			"TARGET_ANONYMOUS", "TARGET_MEMFD"},
		"id_kind": {PID: "ID_PID", TID: "ID_TID", UID: "ID_UID", GID: "ID_GID", Errno: "ID_ERRNO"},
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
	for name, entries := range map[string]uint32{SlotsMap: Slots, FreeSlotsMap: Slots, CgroupsMap: CgroupsMax, VerdictsMap: VerdictSets} {
		if got := collection.Maps[name].MaxEntries; got != entries {
			t.Errorf("map %s has %d entries, want %d", name, got, entries)
		}
	}
	for _, name := range []string{RingMap, PerfMap, CountersMap, SharedMap, EnteredMap, IDsMap, CommsMap, PathsMap} {
		if collection.Maps[name] == nil {
			t.Errorf("no map %s", name)
		}
	}
	programs := []string{SysEnterProgram, SysExitProgram, ForkProgram, ExecProgram, ExitProgram, MkdirProgram, RmdirProgram,
		Socketcall.EntryProgram(ABI32), Socketcall.ExitProgram(ABI32)}
	for _, s := range Syscalls {
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

func TestUnixAddresses(t *testing.T) {
	b := make([]byte, eventSize+detailsSize, RecordMax)
	d := (*Details)(unsafe.Pointer(&b[eventSize]))
	d.Target, d.Family = TargetSocket, familyUnix
	d.peer.textLen, d.local.textLen, d.textLen = 4, 6, 10
	b = append(b, "\x00abs/run\x00x"...)
	var r Record
	if err := r.View(aligned(b)); err != nil {
		t.Fatal(err)
	}
	if peer, local := r.Peer(), r.Local(); string(peer.Unix) != "\x00abs" || string(local.Unix) != "/run" || r.Path() != nil {
		t.Errorf("peer %q, local %q, path %q", peer.Unix, local.Unix, r.Path())
	}
}

// Whatever the bytes are, a view of them stays inside.
func FuzzView(f *testing.F) {
	f.Add([]byte{})
	for _, size := range []int{eventSize - 1, eventSize, eventSize + detailsSize, RecordMax} {
		f.Add(make([]byte, size))
		f.Add(bytes.Repeat([]byte{0xff}, size))
	}
	for family := range byte(12) {
		b := make([]byte, eventSize+detailsSize+20)
		d := (*Details)(unsafe.Pointer(&b[eventSize]))
		d.Family, d.textLen, d.peer.textLen, d.local.textLen = uint16(family), 20, 8, 12
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Record
		if err := r.View(aligned(b)); err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatal(err)
			}
			return
		}
		if r.IsCgroupNews() {
			_ = r.Path()
			return
		}
		_ = Syscalls[r.Syscall].Name
		if len(r.Comm()) > 16 || len(r.Hostname()) > 64 || bytes.IndexByte(r.Comm(), 0) >= 0 || bytes.IndexByte(r.Hostname(), 0) >= 0 {
			t.Fatalf("comm %q, hostname %q", r.Comm(), r.Hostname())
		}
		if n := len(r.Path()) + len(r.Peer().Unix) + len(r.Local().Unix); n > 2*len(b) {
			t.Fatalf("%d bytes of text in %d", n, len(b))
		}
		_ = r.NewFD()
	})
}

func BenchmarkView(b *testing.B) {
	for name, size := range map[string]int{"event": eventSize, "details": eventSize + detailsSize} {
		raw := aligned(make([]byte, size))
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
