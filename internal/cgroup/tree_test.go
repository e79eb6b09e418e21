// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cgroup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/internal/owner"
)

func TestTree(t *testing.T) {
	trees := make(map[string]*Tree)
	var err error
	if trees["found"], err = Open(); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if trees["mounted"], err = mountOwn(); err != nil {
			t.Fatal(err)
		}
	}
	for name, tree := range trees {
		t.Run(name, func(t *testing.T) {
			defer tree.Close()
			number := 0
			err := tree.Walk(func(id uint64, path string) {
				number++
				if number == 1 && path != "/" {
					t.Errorf("the first path is %q", path)
				}
				var st unix.Stat_t
				// Others make and remove cgroups meanwhile.
				if err := unix.Stat(tree.dir+path, &st); err != nil && !errors.Is(err, unix.ENOENT) || err == nil && st.Ino != id {
					t.Errorf("%s: id %d, but stat says %d, %v", path, id, st.Ino, err)
				}
			})
			if err != nil || number == 0 {
				t.Fatalf("%d cgroups, %v", number, err)
			}
		})
	}
}

// asRoot skips a test that makes cgroups.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make a cgroup")
	}
}

func makeCgroup(t *testing.T, tree *Tree, path string) (id uint64) {
	t.Helper()
	if err := os.Mkdir(tree.dir+path, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(tree.dir + path) })
	var st unix.Stat_t
	if err := unix.Stat(tree.dir+path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func TestTreePath(t *testing.T) {
	asRoot(t)
	found, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	mounted, err := mountOwn()
	if err != nil {
		t.Fatal(err)
	}
	defer mounted.Close()

	want := fmt.Sprintf("/copenclose-cgroup-%d", os.Getpid())
	id := makeCgroup(t, found, want)
	for _, tree := range []*Tree{found, mounted} {
		if path, err := tree.Path(id); path != want || err != nil {
			t.Errorf("%s: cgroup %d is %q, %v; want %q", tree.dir, id, path, err, want)
		}
		if path, err := tree.Path(trueRoot); tree.whole && (path != "/" || err != nil) {
			t.Errorf("%s: the root is %q, %v", tree.dir, path, err)
		}
	}
	if err := os.Remove(found.dir + want); err != nil {
		t.Fatal(err)
	}
	for _, tree := range []*Tree{found, mounted} {
		if path, err := tree.Path(id); err == nil {
			t.Errorf("%s: a removed cgroup is %q", tree.dir, path)
		}
	}
}

func TestFirstProcess(t *testing.T) {
	asRoot(t)
	tree, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	path := fmt.Sprintf("/copenclose-cgroup-%d", os.Getpid())
	makeCgroup(t, tree, path)
	makeCgroup(t, tree, path+"/init.scope")
	if pid := tree.FirstProcess(path); pid != 0 {
		t.Errorf("process %d in an empty cgroup", pid)
	}
	cmd := exec.Command("cat")
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { input.Close(); cmd.Wait() }()
	procs := filepath.Join(tree.dir+path, "init.scope/cgroup.procs")
	if err := os.WriteFile(procs, fmt.Append(nil, cmd.Process.Pid), 0); err != nil {
		t.Fatal(err)
	}
	if pid := tree.FirstProcess(path); pid != cmd.Process.Pid {
		t.Errorf("process %d, want %d", pid, cmd.Process.Pid)
	}
}

// A cgroup is named by its id, its path or its directory, and what is found does
// not depend on where the tree is mounted.
func TestDirectory(t *testing.T) {
	asRoot(t)
	found, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	mounted, err := mountOwn()
	if err != nil {
		t.Fatal(err)
	}
	defer mounted.Close()
	path := fmt.Sprintf("/copenclose-cgroup-%d", os.Getpid())
	id := makeCgroup(t, found, path)
	for _, tree := range []*Tree{found, mounted} {
		words := []string{fmt.Sprint(id), path, path[1:], path + "/"}
		if tree.mount != "" {
			words = append(words, tree.mount+path)
		}
		for _, word := range words {
			dir, err := tree.Directory(word)
			if err != nil {
				t.Errorf("%s: %v", word, err)
				continue
			}
			var st unix.Stat_t
			if err := unix.Stat(dir, &st); err != nil || st.Ino != id {
				t.Errorf("%s: %s is cgroup %d, %v; want %d", word, dir, st.Ino, err, id)
			}
		}
		if dir, err := tree.Directory("/"); err != nil {
			t.Errorf("/: %s, %v", dir, err)
		}
		for _, word := range []string{"/copenclose-test-nowhere", "123456789012", "/cgroup.procs"} {
			if dir, err := tree.Directory(word); err == nil {
				t.Errorf("%s is %s", word, dir)
			}
		}
		if got, err := tree.search(id); got != path || err != nil {
			t.Errorf("search finds %q, %v; want %q", got, err, path)
		}
	}
}

func BenchmarkWalk(b *testing.B) {
	tree, err := Open()
	if err != nil {
		b.Fatal(err)
	}
	defer tree.Close()
	n := 0
	for b.Loop() {
		_ = tree.Walk(func(uint64, string) { n++ })
	}
	b.ReportMetric(float64(n)/float64(b.N), "cgroups")
}

// Who is a cgroup's own owner does not matter, but who owns those above.
func TestMadeBy(t *testing.T) {
	asRoot(t)
	root := t.TempDir()
	tree, err := OpenAt(root)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	for _, d := range []struct {
		path string
		uid  int
		mode os.FileMode
	}{
		{"/docker", 0, 0o755}, {"/docker/a", 100_000, 0o755}, {"/docker/a/docker", 0, 0o755},
		{"/user.slice", 0, 0o755}, {"/user.slice/user-7.slice", 0, 0o755}, {"/user.slice/user-7.slice/user@7.service", 7, 0o755},
		{"/user.slice/user-7.slice/user@7.service/a.scope", 100_000, 0o755}, {"/user.slice/user-7.slice/user@7.service/root", 0, 0o755},
		{"/shared", 0, 0o777},
	} {
		if err := os.Mkdir(root+d.path, d.mode); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Chmod(root+d.path, d.mode), os.Chown(root+d.path, d.uid, 0)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]owner.ID{
		"/": owner.Root, "/docker/a": owner.Root, "/docker/a/docker/b": 100_000, "/user.slice/user-7.slice/x.scope": owner.Root,
		"/user.slice/user-7.slice/user@7.service/a.scope":   7,
		"/user.slice/user-7.slice/user@7.service/root/b":    7,
		"/user.slice/user-7.slice/user@7.service/a.scope/b": owner.Nobody,
		"/user.slice/user-8.slice/user@8.service/gone":      8,
		"/system.slice/gone/gone":                           owner.Root,
		"/shared/a":                                         owner.Nobody,
	} {
		if got := tree.MadeBy(path); got != want {
			t.Errorf("%s was made by %s, want %s", path, got, want)
		}
	}
}
