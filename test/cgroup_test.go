// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// --cgroup finds the tree as -I does, also where it is not mounted: by path and by
// id.
func TestCgroupUnmounted(t *testing.T) {
	mount := cgroup2Mount(t)
	dir, err := os.MkdirTemp(mount, "copenclose-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	tool, err := filepath.Abs(copenclose)
	if err != nil {
		t.Fatal(err)
	}
	for _, cgroup := range []string{"/" + filepath.Base(dir), fmt.Sprint(inode(t, dir))} {
		// Any COMMAND will do: it is traced only if it is in the cgroup.
		script := fmt.Sprintf(`echo $$ > %s/cgroup.procs && umount --recursive /sys/fs/cgroup && exec %s -q -o json --cgroup %s -- %s pairs 10`,
			dir, tool, cgroup, trigger64)
		cmd := exec.Command("unshare", "--mount", "sh", "-c", script)
		said := newLines()
		cmd.Stderr = said
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("--cgroup %s: %v\n%s", cgroup, err, said)
		}
		n := 0
		for _, e := range parseJSON(t, string(out)) {
			if e.text("comm") == "trigger" {
				n++
			}
		}
		if n < 20 {
			t.Errorf("--cgroup %s shows %d events of the 20 and more of its trigger", cgroup, n)
		}
	}
}
