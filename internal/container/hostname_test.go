// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import (
	"os"
	"os/exec"
	"testing"
)

func TestHostnameOf(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to set a hostname")
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
	before, _ := os.Hostname()
	if name, err := hostnameOf(cmd.Process.Pid); name != "copenclose-test" || err != nil {
		t.Errorf("hostname %q, %v", name, err)
	}
	if after, _ := os.Hostname(); after != before {
		t.Errorf("our own hostname was %q and is %q", before, after)
	}
}
