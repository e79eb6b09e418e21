// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import (
	"fmt"
	"os"
	"path/filepath"
	gort "runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/internal/cgroup"
	"github.com/copenclose/copenclose/internal/container/runtime"
)

const (
	idA    = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	idB    = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	podUID = "214f3ba8-4b69-4bdb-a7d5-5ecc73f04ae9"
	idC    = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
)

// change is a call of Config.Changed.
type change struct {
	cgroup uint64
	c      *Container
}

// registry returns one over an empty tree, and its calls of Config.Changed. It is not
// started.
func registry(t *testing.T, cfg Config) (*Registry, <-chan change) {
	t.Helper()
	return registryWith(t, cfg, quick)
}

func registryWith(t *testing.T, cfg Config, set settings) (*Registry, <-chan change) {
	t.Helper()
	tree, err := cgroup.OpenAt(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	changes := make(chan change, 100_000)
	cfg.Changed = func(id uint64, c *Container) { changes <- change{id, c} }
	return newRegistry(cfg, tree, set), changes
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

// eventually waits until what nobody reports is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// until receives until a value is as wanted.
func until[T any](t *testing.T, values <-chan T, what string, wanted func(T) bool) T {
	t.Helper()
	timeout := time.After(time.Minute)
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

	r.table.forgetExpired(time.Now().Add(2 * keepGone))
	if _, ok := r.table.cgroups[11]; ok {
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
	if n := len(r.table.cgroups); n > maxGone+2 {
		t.Errorf("%d cgroups are remembered", n)
	}
	if n := len(r.table.expiries); n > maxGone+1 {
		t.Errorf("%d expiries are remembered", n)
	}
}

// Whatever cgroups a container makes, it stays what it is, and is only said to have
// something inside.
func TestInside(t *testing.T) {
	r, _ := registry(t, Config{NoNames: true})
	r.Made(1, "/docker/"+idA)
	r.Made(2, "/docker/"+idB)
	own := wantLookup(t, r, 2, idB, true)
	for i, test := range []struct{ path, inner, runtime, label string }{
		{"/docker/" + idA, idA, "docker", idA[:12]},                 // that runs elsewhere
		{"/docker/" + idA + "/inside", idA, "docker", idA[:12]},     //
		{"/docker-" + idC + ".scope", idC, "docker", idC[:12]},      // that is created and does not run
		{"/lxc.payload.web", "web", "lxc", "web"},                   // that may come
		{"/lxc.payload.web/docker/" + idC, idC, "docker", idC[:12]}, // two deep
		{"/pod" + podUID + "/" + idC, idC, "containerd", idC[:12]},  // of a pod
		{"/machine-x.scope/payload", "x", "systemd-nspawn", "x"},    //
		{"/libpod-conmon-" + idC + ".scope", "", "", ""},            // no container's
		{"/init.scope", "", "", ""},                                 //
	} {
		cgroup := uint64(10 + i)
		r.Made(cgroup, "/docker/"+idB+test.path)
		c := wantLookup(t, r, cgroup, idB, true)
		want := *own
		if test.inner != "" {
			want.Inner, want.InnerRuntime, want.Label = test.inner, test.runtime, idB[:12]+"/"+test.label
		}
		if *c != want {
			t.Errorf("%s: got  %+v\nwant %+v", test.path, *c, want)
		}
	}
	// What was claimed inside is not taken for what comes outside.
	r.Made(7, "/lxc.payload.web")
	if c := wantLookup(t, r, 7, "web", true); c.CgroupID != 7 || c.Name != "web" || c.Inner != "" {
		t.Errorf("%+v", c)
	}
	r.Made(8, "/docker/"+idC)
	wantLookup(t, r, 8, idC, true)
	// The name of the outer one is that of all.
	r.update(r.table.containers["/docker/"+idB], func(c *Container) { c.Name = "victim" })
	if c := wantLookup(t, r, 13, idB, true); c.Label != "victim/web" || c.Name != "victim" {
		t.Errorf("%+v", c)
	}
	// It forgets what is inside when that is gone.
	for i := range uint64(9) {
		r.Removed(10 + i)
	}
	if n := len(r.table.containers["/docker/"+idB].views); n != 1 {
		t.Errorf("%d views of a container with one cgroup", n)
	}
}

// Of each cgroup, Removed is called last, whoever finds out something about the
// container at the same time.
func TestOrder(t *testing.T) {
	r, _ := registry(t, Config{NoNames: true})
	removed := make(map[uint64]bool) // without a lock: the race detector sees two calls at once
	changes := 0
	r.table.changed = func(cgroup uint64, _ *Container) {
		if changes++; removed[cgroup] {
			t.Errorf("cgroup %d changed after it was removed", cgroup)
		}
	}
	r.table.removed = func(cgroup uint64) { removed[cgroup] = true }
	r.Made(1, "/docker/"+idA)
	c := r.table.containers["/docker/"+idA]
	var work sync.WaitGroup
	work.Go(func() {
		for i := range 2000 {
			r.answered(c, &runtime.Details{ID: idA, Name: fmt.Sprint(i)})
		}
	})
	for i := range uint64(2000) {
		r.Made(10+i, "/docker/"+idA+"/x")
		r.Lookup(10 + i)
		r.Removed(10 + i)
	}
	work.Wait()
	if len(removed) != 2000 || changes < 4000 {
		t.Errorf("%d cgroups removed, %d changes", len(removed), changes)
	}
	if c := wantLookup(t, r, 1, idA, true); c.Name != "1999" {
		t.Errorf("%+v", c)
	}
}

// After Close nothing goes on, not even what was to happen later.
func TestClose(t *testing.T) {
	before := goroutines()
	r, changes := registry(t, Config{NoNames: true})
	r.start()
	for i := range uint64(100) {
		r.Made(i, fmt.Sprintf("/docker/%064x", i))
	}
	r.Close()
	for len(changes) > 0 {
		<-changes
	}
	eventually(t, "its goroutines have ended", func() bool { return goroutines() <= before })
	if len(changes) > 0 {
		t.Errorf("after Close: %+v", <-changes)
	}
}

func goroutines() int { return gort.NumGoroutine() }

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
	r.mu.Lock()
	before := r.table.cgroups[id]
	r.mu.Unlock()
	if before != nil {
		t.Fatalf("cgroup %d is known before anybody asked for it", id)
	}
	r.Lookup(id) // may be answered already: the keeper can be as quick as this
	until(t, changes, "the change", func(c change) bool { return c.cgroup == id && c.c != nil && c.c.ID == idA })
	wantLookup(t, r, id, idA, true)

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
			r := newRegistry(Config{NoNames: true}, tree, quick)
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
