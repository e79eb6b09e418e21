// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTree(t *testing.T) {
	trees := make(map[string]*tree)
	var err error
	if trees["found"], err = openTree(); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if trees["mounted"], err = mountTree(); err != nil {
			t.Fatal(err)
		}
	}
	for name, tree := range trees {
		t.Run(name, func(t *testing.T) {
			defer tree.close()
			number := 0
			err := tree.walk(func(id uint64, path string) {
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

func makeCgroup(t *testing.T, tree *tree, path string) (id uint64) {
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
	found, err := openTree()
	if err != nil {
		t.Fatal(err)
	}
	defer found.close()
	mounted, err := mountTree()
	if err != nil {
		t.Fatal(err)
	}
	defer mounted.close()

	want := fmt.Sprintf("/copenclose-test-%d", os.Getpid())
	id := makeCgroup(t, found, want)
	for _, tree := range []*tree{found, mounted} {
		if path, err := tree.path(id); path != want || err != nil {
			t.Errorf("%s: cgroup %d is %q, %v; want %q", tree.dir, id, path, err, want)
		}
		if path, err := tree.path(trueRoot); tree.whole && (path != "/" || err != nil) {
			t.Errorf("%s: the root is %q, %v", tree.dir, path, err)
		}
	}
	if err := os.Remove(found.dir + want); err != nil {
		t.Fatal(err)
	}
	for _, tree := range []*tree{found, mounted} {
		if path, err := tree.path(id); err == nil {
			t.Errorf("%s: a removed cgroup is %q", tree.dir, path)
		}
	}
}

func TestFirstProcessAndHostname(t *testing.T) {
	asRoot(t)
	tree, err := openTree()
	if err != nil {
		t.Fatal(err)
	}
	defer tree.close()
	path := fmt.Sprintf("/copenclose-test-%d", os.Getpid())
	makeCgroup(t, tree, path)
	makeCgroup(t, tree, path+"/init.scope")
	if pid := tree.firstProcess(path); pid != 0 {
		t.Errorf("process %d in an empty cgroup", pid)
	}

	// It says that it runs, and then does until its input ends.
	cmd := exec.Command("unshare", "--uts", "sh", "-c", "hostname copenclose-test && echo && read end")
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { input.Close(); cmd.Wait() }()
	if _, err := output.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	procs := filepath.Join(tree.dir+path, "init.scope/cgroup.procs")
	if err := os.WriteFile(procs, fmt.Append(nil, cmd.Process.Pid), 0); err != nil {
		t.Fatal(err)
	}
	if pid := tree.firstProcess(path); pid != cmd.Process.Pid {
		t.Errorf("process %d, want %d", pid, cmd.Process.Pid)
	}
	before, _ := os.Hostname()
	if name, err := hostnameOf(cmd.Process.Pid); name != "copenclose-test" || err != nil {
		t.Errorf("hostname %q, %v", name, err)
	}
	if after, _ := os.Hostname(); after != before {
		t.Errorf("our own hostname was %q and is %q", before, after)
	}
}

func BenchmarkWalk(b *testing.B) {
	tree, err := openTree()
	if err != nil {
		b.Fatal(err)
	}
	defer tree.close()
	n := 0
	for b.Loop() {
		_ = tree.walk(func(uint64, string) { n++ })
	}
	b.ReportMetric(float64(n)/float64(b.N), "cgroups")
}
