// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/internal/cgroup"
)

const (
	idA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	idB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	idC = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
)

// change is a call of Config.Changed.
type change struct {
	cgroup uint64
	c      *Container
}

// registry returns one over an empty tree, and what it tells of changes. It is
// not started.
func registry(t *testing.T, cfg Config) (*Registry, <-chan change) {
	t.Helper()
	tree, err := cgroup.OpenAt(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	changes := make(chan change, 100_000)
	cfg.Changed = func(id uint64, c *Container) { changes <- change{id, c} }
	return newRegistry(cfg, tree), changes
}

// dirOf returns the root of the cgroup tree.
func dirOf(t *testing.T, r *Registry) string {
	t.Helper()
	dir, err := r.tree.Directory("/")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// makeCgroup makes a cgroup, which only root can.
func makeCgroup(t *testing.T, root, path string) (id uint64) {
	t.Helper()
	if err := os.Mkdir(root+path, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(root + path) })
	var st unix.Stat_t
	if err := unix.Stat(root+path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func started(t *testing.T, r *Registry) {
	t.Helper()
	r.start()
	t.Cleanup(r.Close)
}

// handled waits until the keeper is through with everything before. It works in
// batches, and asks for names at the end of one: the second signal is not in the
// batch of the first.
func handled(t *testing.T, r *Registry, changes <-chan change) {
	t.Helper()
	for _, signal := range []uint64{1<<40 + 1, 1<<40 + 2} {
		r.Made(signal, "/signal")
		until(t, changes, "the keeper", func(c change) bool { return c.cgroup == signal })
		r.Removed(signal)
	}
}

// until receives until a value is as wanted.
func until[T any](t *testing.T, values <-chan T, what string, wanted func(T) bool) T {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case v := <-values:
			if wanted(v) {
				return v
			}
		case <-timeout:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func wantLookup(t *testing.T, r *Registry, cgroup uint64, id string, known bool) *Container {
	t.Helper()
	c, ok := r.Lookup(cgroup)
	if ok != known || (c == nil) != (id == "") || c != nil && c.ID != id {
		t.Fatalf("cgroup %d is %+v, known %v; want %q, %v", cgroup, c, ok, id, known)
	}
	return c
}

func TestLookup(t *testing.T) {
	r, changes := registry(t, Config{NoNames: true})
	r.Made(1, "/")
	r.Made(10, "/docker")
	r.Made(11, "/docker/"+idA)
	r.Made(12, "/docker/"+idA+"/init.scope")
	wantLookup(t, r, 1, "", true)
	wantLookup(t, r, 10, "", true)
	c := wantLookup(t, r, 11, idA, true)
	if c.CgroupID != 11 || c.Runtime != "docker" || c.Label != idA[:12] {
		t.Errorf("%+v", c)
	}
	if inside := wantLookup(t, r, 12, idA, true); inside != c {
		t.Errorf("a cgroup in the container is in another container: %+v", inside)
	}
	wantLookup(t, r, 99, "", false)

	started(t, r)
	for _, want := range []change{{1, nil}, {10, nil}, {11, c}, {12, c}} {
		until(t, changes, fmt.Sprintf("cgroup %d", want.cgroup), func(got change) bool { return got == want })
	}
}

func TestGoneIsRemembered(t *testing.T) {
	r, _ := registry(t, Config{NoNames: true})
	started(t, r)
	r.Made(11, "/docker/"+idA)
	r.Removed(11)
	r.Removed(11)
	wantLookup(t, r, 11, idA, true)

	// It starts again.
	r.Made(21, "/docker/"+idA)
	if c := wantLookup(t, r, 21, idA, true); c.CgroupID != 21 {
		t.Errorf("%+v", c)
	}

	r.forget(time.Now().Add(2 * keepGone))
	if _, ok := r.cgroups[11]; ok {
		t.Error("a cgroup that is gone is remembered for ever")
	}
	wantLookup(t, r, 21, idA, true)

	// A container that makes and removes cgroups, and ids that nobody knows,
	// do not fill the memory.
	for i := range uint64(3 * maxGone) {
		r.Made(1000+i, "/docker/"+idA+"/x")
		r.Removed(1000 + i)
		r.Lookup(1_000_000 + i)
	}
	if n := len(r.cgroups); n > maxGone+2 {
		t.Errorf("%d cgroups are remembered", n)
	}
	if n := len(r.gone); n > maxGone+1 {
		t.Errorf("%d departures are remembered", n)
	}
}

// A container may name its cgroups after another container.
func TestClaimedIDs(t *testing.T) {
	r, _ := registry(t, Config{NoNames: true})
	r.Made(1, "/docker/"+idA)
	r.Made(2, "/docker/"+idB)
	r.Made(3, "/docker/"+idB+"/docker/"+idA)
	r.Made(4, "/docker/"+idB+"/docker/"+idA+"/inside")
	r.Made(5, "/docker/"+idB+"/docker/"+idC)
	wantLookup(t, r, 1, idA, true)
	wantLookup(t, r, 3, idB, true)
	wantLookup(t, r, 4, idB, true)
	wantLookup(t, r, 5, idC, true)

	// The name of a container that is yet to come.
	r.Made(6, "/docker/"+idB+"/lxc.payload.web")
	squatter := wantLookup(t, r, 6, "web", true)
	r.Made(7, "/lxc.payload.web")
	if c := wantLookup(t, r, 7, "web", true); c == squatter || c.CgroupID != 7 || c.Name != "web" {
		t.Errorf("the container is taken for the squatter: %+v", c)
	}
}

// Cgroups that were made while events were lost are looked up in the tree.
func TestLookedUpLater(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make a cgroup")
	}
	changes := make(chan change, 100_000)
	r, err := New(Config{NoNames: true, Changed: func(id uint64, c *Container) {
		select {
		case changes <- change{id, c}:
		default:
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Warning(); err != nil {
		t.Error(err)
	}
	parent := fmt.Sprintf("/copenclose-test-%d", os.Getpid())
	path := parent + "/docker-" + idA + ".scope"
	makeCgroup(t, dirOf(t, r), parent)
	for len(changes) > 0 {
		<-changes
	}
	id := makeCgroup(t, dirOf(t, r), path)
	wantLookup(t, r, id, "", false)
	handled(t, r, changes)
	wantLookup(t, r, id, idA, true)
	until(t, changes, "the change", func(c change) bool { return c.cgroup == id && c.c != nil && c.c.ID == idA })

	listed := r.List()
	var found *Container
	for _, c := range listed {
		if c.ID == idA {
			found = c
		}
	}
	if found == nil || found.CgroupID != id {
		t.Errorf("it is not listed: %+v", found)
	}
	if err := os.Remove(dirOf(t, r) + path); err != nil {
		t.Fatal(err)
	}
	for _, c := range r.List() {
		if c.ID == idA {
			t.Error("it is listed, though it is gone")
		}
	}
}

func TestList(t *testing.T) {
	r, _ := registry(t, Config{NoNames: true})
	for i, path := range []string{"/docker/" + idB, "/lxc.payload.web", "/docker/" + idA, "/docker/" + idC} {
		if err := os.MkdirAll(filepath.Join(dirOf(t, r), path), 0o755); err != nil {
			t.Fatal(err)
		}
		r.Made(uint64(10+i), path)
	}
	own := fmt.Appendln(nil, os.Getpid())
	if err := os.WriteFile(filepath.Join(dirOf(t, r), "docker", idA, "cgroup.procs"), own, 0o644); err != nil {
		t.Fatal(err)
	}
	// The event for its end was lost.
	if err := os.Remove(filepath.Join(dirOf(t, r), "docker", idC)); err != nil {
		t.Fatal(err)
	}
	started(t, r)
	var got []string
	for _, c := range r.List() {
		got = append(got, c.Label)
		if c.ID == idA && c.PID != os.Getpid() {
			t.Errorf("its process is %d", c.PID)
		}
	}
	if want := []string{idA[:12], idB[:12], "web"}; strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	r, _ := registry(t, Config{NoNames: true})
	r.Made(1, "/")
	r.Made(11, "/docker/"+idA)
	if n := testing.AllocsPerRun(1000, func() { r.Lookup(1); r.Lookup(11) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []uint64{1, 20, 5000} {
		b.Run(fmt.Sprintf("%d cgroups", n), func(b *testing.B) {
			tree, err := cgroup.OpenAt(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			r := newRegistry(Config{NoNames: true}, tree)
			for i := range n {
				r.Made(i, fmt.Sprintf("/docker/%064x", i))
			}
			i := uint64(0)
			for b.Loop() {
				r.Lookup(i)
				if i++; i == n {
					i = 0
				}
			}
		})
	}
}
