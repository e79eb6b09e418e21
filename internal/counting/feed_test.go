// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package counting

import (
	"fmt"
	"testing"
	"time"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stream"
)

// feed is a kernel and a registry that a test plays.
type feed struct {
	totals     map[bpf.TotalKey]*bpf.Total
	others     [len(bpf.Syscalls)]bpf.OtherTotal
	paths      map[bpf.Executable]string // not taken yet
	containers map[uint64]*stream.Container
	hidden     map[uint64]bool
	counts     stream.Counts
	forgotten  int
}

func newFeed() *feed {
	return &feed{
		totals: make(map[bpf.TotalKey]*bpf.Total), paths: make(map[bpf.Executable]string),
		containers: map[uint64]*stream.Container{1: nil}, hidden: make(map[uint64]bool),
	}
}

func (f *feed) Totals(yield func(bpf.TotalKey, *bpf.Total)) error {
	for key, total := range f.totals {
		yield(key, total)
	}
	return nil
}

func (f *feed) OtherTotals() ([len(bpf.Syscalls)]bpf.OtherTotal, error) { return f.others, nil }

func (f *feed) ForgetTotals(keys []bpf.TotalKey) error {
	for _, key := range keys {
		delete(f.totals, key)
		f.forgotten++
	}
	return nil
}

func (f *feed) TakeExecutables(yield func(bpf.Executable, *bpf.ExecutablePath)) error {
	for exe, path := range f.paths {
		p := bpf.NewExecutablePath(path)
		yield(exe, &p)
	}
	clear(f.paths)
	return nil
}

func (f *feed) Counts() (stream.Counts, error) { return f.counts, nil }

func (f *feed) Find(cgroup uint64, _ bpf.Flags) (*stream.Container, bool) {
	c, known := f.containers[cgroup]
	if !known {
		c = stream.Unknown
	}
	return c, !f.hidden[cgroup]
}

// container makes a container with a cgroup.
func (f *feed) container(cgroup uint64, name string) {
	f.containers[cgroup] = &stream.Container{ID: fmt.Sprintf("%064d", cgroup), Name: name, Label: name, Runtime: "docker"}
}

// executable returns the executable with a path, which the kernel has seen.
func (f *feed) executable(inode uint64, path string) bpf.Executable {
	exe := bpf.Executable{Inode: inode, Device: 8 << 20}
	f.paths[exe] = path
	return exe
}

func syscallNamed(t testing.TB, name string) uint8 {
	t.Helper()
	for i, s := range bpf.Syscalls {
		if s.Name == name {
			return uint8(i)
		}
	}
	t.Fatalf("no syscall %s", name)
	return 0
}

// call counts calls that took about a microsecond.
func (f *feed) call(t testing.TB, cgroup uint64, exe bpf.Executable, syscall string, errno uint16, calls uint64) {
	t.Helper()
	key := bpf.TotalKey{Executable: exe, CgroupID: cgroup, Error: errno, Syscall: syscallNamed(t, syscall)}
	total := f.totals[key]
	if total == nil {
		total = &bpf.Total{}
		f.totals[key] = total
	}
	total.Calls += calls
	total.Latencies[2] += calls
}

// sampled gives samples a call.
func sampled(t testing.TB, s *Samples, c *stream.Container, exe bpf.Executable, syscall string, ret int32, weight uint32, given string, asked bpf.Address) {
	t.Helper()
	d := bpf.Draft{Given: []byte(given), Asked: asked, Sampled: &bpf.Sampled{Executable: exe, Weight: weight}}
	d.Details = &bpf.Details{}
	d.Syscall, d.Ret = syscallNamed(t, syscall), ret
	if !asked.IsZero() {
		d.Socket = &bpf.Socket{Family: 2}
	}
	var r bpf.Record
	if err := r.View(d.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if err := s.Event(&stream.Event{Record: &r, Container: c}); err != nil {
		t.Fatal(err)
	}
}

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func take(t testing.TB, b *Book, at time.Time) *Snapshot {
	t.Helper()
	s, err := b.Take(at)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func all(*Cell) bool { return true }
