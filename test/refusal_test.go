// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// What cannot be done is refused in one line that says what is missing, with 2
// for a bad command line and 1 where tracing failed.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name    string
		command []string
		uid     uint32
		status  int
		says    string
	}{
		{"unknown flag", []string{copenclose, "--frobnicate"}, 0, 2, "unknown option --frobnicate"},
		{"bad choice", []string{copenclose, "--attach", "uprobe"}, 0, 2, "not one of auto, fentry, kprobe, tracepoint, perf"},
		{"bad buffer", []string{copenclose, "--buffer", "pipe"}, 0, 2, "not one of auto, ring, perf"},
		{"bad size", []string{copenclose, "--buffer-size", "lots"}, 0, 2, "not a size like 8M"},
		{"negative size", []string{copenclose, "--buffer-size=-8M"}, 0, 2, "not a size like 8M"},
		{"huge size", []string{copenclose, "--buffer-size", "1T"}, 0, 2, "larger than 1G"},
		{"bad time", []string{copenclose, "-d", "soon"}, 0, 2, "not a time like 10s"},
		{"bad count", []string{copenclose, "--count=-1"}, 0, 2, "count"},
		{"no count", []string{copenclose, "--count=0"}, 0, 2, "--count"},
		{"argument", []string{copenclose, "now"}, 0, 2, "to trace a command: copenclose -- now"},
		{"quiet and verbose", []string{copenclose, "-qv"}, 0, 2, "exclude each other"},
		{"flag of the trace", []string{copenclose, "-I", "containers"}, 0, 2, "containers does not take -I"},
		{"no cgroup", []string{copenclose, "--cgroup", "/no/such"}, 0, 2, "--cgroup /no/such: there is no cgroup"},
		{"no privilege", []string{copenclose}, 65534, 1, "run as root (sudo), or with CAP_BPF and CAP_PERFMON"},
		{"old kernel", []string{"setarch", "--uname-2.6", copenclose}, 0, 1, "is too old: copenclose needs 5.5 or later"},
		{"no BTF", []string{"unshare", "--mount", "sh", "-c",
			"mount -t tmpfs none /sys/kernel/btf && exec " + copenclose}, 0, 1, "CONFIG_DEBUG_INFO_BTF=y"},
		{"broken BTF", []string{"unshare", "--mount", "sh", "-c",
			"mount -t tmpfs none /sys/kernel/btf && echo BTF >/sys/kernel/btf/vmlinux && exec " + copenclose}, 0, 1, "/sys/kernel/btf/vmlinux is not BTF"},
		{"no /proc", []string{"unshare", "--mount", "sh", "-c",
			"mount -t tmpfs none /proc && exec " + copenclose}, 0, 1, "/proc is not mounted"},
		{"closed stdout", []string{"sh", "-c", "exec " + copenclose + " >&-"}, 0, 1, "write to stdout: bad file descriptor"},
		{"little address space", []string{"sh", "-c", "ulimit -v 500000 && exec " + copenclose}, 0, 1, "ulimit -v unlimited"},
		{"one capability", []string{"setpriv", "--bounding-set", "-perfmon,-sys_admin", copenclose}, 0, 1, "without CAP_PERFMON: "},
		{"perf buffers beyond the limit", []string{"setpriv", "--bounding-set", "-ipc_lock,-sys_resource", "sh", "-c",
			"ulimit -l 64 && exec " + copenclose + " --buffer perf"}, 0, 1, "kernel.perf_event_mlock_kb"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "perf buffers beyond the limit" && kernelBefore(t, 5, 11) {
				t.Skip("the memory of maps is beyond the limit before")
			}
			cmd := exec.Command(c.command[0], c.command[1:]...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: c.uid, Gid: c.uid}}
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != c.status {
				t.Errorf("ended with %v, want status %d", err, c.status)
			}
			if stdout.Len() > 0 {
				t.Errorf("stdout: %s", stdout.String())
			}
			said := stderr.String()
			if strings.Count(said, "\n") != 1 || !strings.HasPrefix(said, "copenclose: ") || !strings.Contains(said, c.says) {
				t.Errorf("stderr is not one line with %q:\n%s", c.says, said)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	for _, flag := range []string{"-V", "--version"} {
		said, err := exec.Command(copenclose, flag).Output()
		if err != nil || !strings.HasPrefix(string(said), "copenclose 0.1.0") || strings.Count(string(said), "\n") != 1 {
			t.Errorf("%s: %q, %v", flag, said, err)
		}
	}
}
