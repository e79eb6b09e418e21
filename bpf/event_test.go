package bpf

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf/btf"
)

func objectBTF(t *testing.T) *btf.Spec {
	t.Helper()
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(Object))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// Every Go view has the fields of its C struct, by name, offset and size, as the
// object that is loaded says itself.
func TestViewsMatchObject(t *testing.T) {
	spec := objectBTF(t)
	for name, view := range map[string]any{"event": Event{}, "shared": Shared{}, "counters": Counters{}} {
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
		"syscall": append(want, "SYS_COUNT"),
		"abi":     {ABI64: "ABI_64", ABI32: "ABI_32"},
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

// Whatever the bytes are, a view of them stays inside.
func FuzzView(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, unsafe.Sizeof(Event{})-1))
	f.Add(make([]byte, unsafe.Sizeof(Event{})))
	f.Add(bytes.Repeat([]byte{0xff}, int(unsafe.Sizeof(Event{}))))
	f.Add(append(bytes.Repeat([]byte{0}, int(unsafe.Offsetof(Event{}.comm))), bytes.Repeat([]byte{'x'}, 100)...))
	f.Fuzz(func(t *testing.T, record []byte) {
		aligned := make([]uint64, len(record)/8+1)
		copied := unsafe.Slice((*byte)(unsafe.Pointer(&aligned[0])), len(record))
		copy(copied, record)
		e, err := View(copied)
		if short := len(record) < int(unsafe.Sizeof(Event{})); short != (err != nil) {
			if short || int(record[unsafe.Offsetof(e.Syscall)]) < len(Syscalls) {
				t.Fatalf("%d bytes: %v", len(record), err)
			}
		}
		if err != nil {
			return
		}
		_ = Syscalls[e.Syscall].Name
		if len(e.Comm()) > 16 || len(e.Hostname()) > 64 || bytes.IndexByte(e.Comm(), 0) >= 0 || bytes.IndexByte(e.Hostname(), 0) >= 0 {
			t.Fatalf("comm %q, hostname %q", e.Comm(), e.Hostname())
		}
	})
}
