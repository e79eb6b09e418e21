// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stream"
)

// What was closed has a lifetime, as far as it is known, in rows and in what a close_range
// closed.
func TestLifetime(t *testing.T) {
	call := func(name string) uint8 { return uint8(1 + slices.Index(bpf.Creators[:], name)) }
	file := func(fd int32, l *bpf.Lifetime) bpf.Draft {
		return bpf.Draft{Details: &bpf.Details{FD: fd, Target: bpf.TargetPipe}, Lifetime: l}
	}
	dup := &bpf.Lifetime{Lived: 1_500_000, FileLived: 3 * second, OpenerPID: 70, OpenerFD: 4, How: call("dup"), FileHow: call("openat")}
	drafts := []bpf.Draft{
		file(7, dup),
		file(8, &bpf.Lifetime{Lived: 2 * second, FileLived: 3 * second, OpenerPID: 70, OpenerFD: 4, How: bpf.HowInherited, FileHow: call("openat"), IsLast: true}),
		file(9, &bpf.Lifetime{IsLast: true}),            // from before
		file(10, nil),                                   // not asked for, or nothing was closed
		file(11, &bpf.Lifetime{How: 200, FileHow: 201}), // no such calls
		{Details: &bpf.Details{FD: 3, LastFD: 4, NumClosed: 1}, Closed: []bpf.Draft{file(3, dup)}},
	}
	for _, c := range []struct {
		options Options
		want    string
	}{
		{Options{Format: Table, Columns: []string{"fd", "lifetime", "made_by", "file_lifetime", "opened_by.pid", "opened_by.fd", "opened_by.call", "last"}, NoHeader: true}, `
   7    1.5ms dup                 3s            70            4 openat         -
   8       2s inherited            3s            70            4 openat         yes
   9        - -                     -             -            - -              yes
  10        - -                     -             -            - -              -
  11      0ns -                   0ns             0            0 -              -
   3        - -                     -             -            - -              -
`},
		{Options{Format: "tsv", Columns: []string{"fd", "lifetime_ns", "last"}}, "\nfd\tlifetime_ns\tlast\n7\t1500000\t\n8\t2000000000\ttrue\n9\t\ttrue\n10\t\t\n11\t0\t\n3\t\t\n"},
	} {
		if got := "\n" + lived(t, c.options, drafts); got != c.want {
			t.Errorf("got:%swant:%s", got, c.want)
		}
	}
	text := lived(t, Options{Format: JSON}, drafts)
	for _, part := range []string{
		`"fd":7,"type":"pipe","lifetime_ns":1500000,"made_by":"dup","file_lifetime_ns":3000000000,"opened_by":{"call":"openat","pid":70,"fd":4}}`,
		`"made_by":"inherited","file_lifetime_ns":3000000000,"opened_by":{"call":"openat","pid":70,"fd":4},"last":true}`,
		`"fd":9,"type":"pipe","last":true}`,
		`"fd":10,"type":"pipe"}`,
		`"closed":[{"fd":3,"type":"pipe","lifetime_ns":1500000,"made_by":"dup","file_lifetime_ns":3000000000,"opened_by":{"call":"openat","pid":70,"fd":4}}]`,
	} {
		if !strings.Contains(text, part) {
			t.Errorf("no %s in\n%s", part, text)
		}
	}
	if needs := fixed(&bytes.Buffer{}, Options{Format: JSON}).Needs(); needs.Lifetime {
		t.Error("lifetimes are noted though nobody asked")
	}
	if needs := fixed(&bytes.Buffer{}, Options{Format: JSON, Lifetime: true}).Needs(); !needs.Lifetime {
		t.Error("lifetimes are not noted")
	}
}

func lived(t *testing.T, o Options, drafts []bpf.Draft) string {
	t.Helper()
	var out bytes.Buffer
	w := fixed(&out, o)
	for _, d := range drafts {
		name := "close"
		if d.Closed != nil {
			name = "close_range"
		}
		if err := w.Event(&stream.Event{Record: sent(name, "x", "h", d)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
