// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package bpf

import (
	"bytes"
	"testing"

	"github.com/cilium/ebpf/btf"
)

func TestDescriptorMatchesObject(t *testing.T) {
	var o bytes.Buffer
	if err := WriteDescriptorsObject(&o); err != nil {
		t.Fatal(err)
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(o.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	viewMatches(t, spec, "descriptor", Descriptor{})
	viewMatches(t, spec, "birth_key", BirthKey{})
	viewMatches(t, spec, "birth", Birth{})
	viewMatches(t, spec, "birth_counts", BirthCounts{})
	viewMatches(t, spec, "maker", Maker{})
	viewMatches(t, spec, "made", Made{})
	viewMatches(t, spec, "suspect", Suspect{})
	viewMatches(t, spec, "call_stack", CallStack{})
	viewMatches(t, spec, "usage", Usage{})
	var creators *btf.Enum
	if err := spec.TypeByName("creator", &creators); err != nil {
		t.Fatal(err)
	}
	if len(creators.Values) != len(Creators)+1 {
		t.Fatalf("%d creators, want %d", len(creators.Values)-1, len(Creators))
	}
	for i, name := range Creators {
		if v := creators.Values[i]; v.Name != "MADE_BY_"+name || v.Value != uint64(i) {
			t.Errorf("creator %d is %s, want %s", v.Value, v.Name, name)
		}
	}
	viewMatches(t, spec, "details", Details{})
	viewMatches(t, spec, "socket_part", Socket{})
}

var descriptorDrafts = []DescriptorDraft{
	{Descriptor: Descriptor{PID: 7, FD: 3}, Comm: "sixteen-bytes-16", Of: Draft{Details: &Details{Target: TargetFile}, Name: []byte("/a/b")}},
	{Descriptor: Descriptor{PID: 7, FD: 4}, Comm: "x", Of: Draft{
		Details: &Details{Target: TargetSocket}, Socket: &Socket{Family: familyUnix}, Local: Address{Unix: []byte("/sock")},
	}},
	{Descriptor: Descriptor{PID: 7, FD: 5}, Of: Draft{Details: &Details{Target: TargetPipe}}},
}

// Each row is read as what it was made of, and of a part of it that more is missing.
func TestDescriptorRow(t *testing.T) {
	for _, draft := range descriptorDrafts {
		b := draft.Append(nil)
		var row DescriptorRow
		for n := range len(b) {
			if size, err := row.View(b[:n:n]); size != 0 || err != nil {
				t.Fatalf("%d bytes of %d: %d, %v", n, len(b), size, err)
			}
		}
		size, err := row.View(b)
		if size != len(b) || err != nil {
			t.Fatalf("%d of %d bytes, %v", size, len(b), err)
		}
		if row.PID != 7 || row.FD != draft.FD || string(row.Comm()) != draft.Comm ||
			!bytes.Equal(row.Of.Name(), draft.Of.Name) || row.Of.Details.Target != draft.Of.Details.Target ||
			!row.Of.Local().Equal(draft.Of.Local) {
			t.Errorf("read as %+v %+v, was %+v", row.Descriptor, row.Of.Details, draft)
		}
	}
}

func FuzzDescriptorRow(f *testing.F) {
	for _, draft := range descriptorDrafts {
		f.Add(draft.Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = append(make([]byte, 0, align(len(b))), b...)
		var row DescriptorRow
		size, err := row.View(b)
		if err != nil || size == 0 {
			return
		}
		if size > len(b) {
			t.Fatalf("a row of %d bytes in %d", size, len(b))
		}
		_, _, _, _ = row.Of.Name(), row.Of.Peer(), row.Of.Local(), row.Comm()
	})
}
