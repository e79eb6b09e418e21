// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// gaveUp is the last line about privileges, on stderr with --verbose.
var gaveUp = regexp.MustCompile(`gave up syscalls: only \d+ are left`)

// capabilities of which a running copenclose may have some: those that names need, and
// before 5.19 CAP_BPF.
const leftAtMost = 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_BPF

// While it traces, every thread of it has given up what it does not need, it has no
// file open for writing but what it was given, and still shows everything.
func TestGivesUpPrivileges(t *testing.T) {
	autoAttach(t, givesUpPrivileges)
}

func givesUpPrivileges(t *testing.T, options ...string) {
	for _, args := range []string{"", "-o json --latency", "-I -o json", "--no-runtime -o json"} {
		t.Run(args, func(t *testing.T) {
			r := start(t, slices.Concat(options, strings.Fields(args), []string{"--verbose"})...)
			r.stderr.await(t, gaveUp)
			left := uint64(leftAtMost)
			if args == "" {
				left = 1 << unix.CAP_BPF
			}
			checkThreads(t, r.cmd.Process.Pid, left)
			checkFiles(t, r.cmd.Process.Pid)
			if args == "" {
				p := trigger(t, trigger64, nil, "pairs", "500")
				if rows := r.stop().of(p.pid, p.comm); len(rows) != 1000 {
					t.Errorf("%d rows of 1000 calls", len(rows))
				}
				return
			}
			r.stop()
		})
	}
}

func checkThreads(t *testing.T, pid int, left uint64) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) < 2 {
		t.Fatalf("%d threads, %v", len(files), err)
	}
	for _, file := range files {
		status := statusOf(t, file)
		if status == nil {
			continue // it has ended
		}
		if status["NoNewPrivs"] != "1" || status["Seccomp"] != "2" {
			t.Errorf("%s: NoNewPrivs %s, Seccomp %s", file, status["NoNewPrivs"], status["Seccomp"])
		}
		for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb"} {
			if more := hex(t, status[set]) &^ left; more != 0 {
				t.Errorf("%s: %s has %x more", file, set, more)
			}
		}
	}
}

func hex(t *testing.T, digits string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(digits, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// statusOf returns a file like /proc/PID/status, nil if it is not there.
func statusOf(t *testing.T, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	return parseStatus(string(text))
}

func parseStatus(text string) map[string]string {
	status := make(map[string]string)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		status[name] = strings.TrimSpace(value)
	}
	return status
}

func checkFiles(t *testing.T, pid int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/", pid)
	fds, err := os.ReadDir(dir + "fd")
	if err != nil || len(fds) < 3 {
		t.Fatalf("%d files, %v", len(fds), err)
	}
	for _, fd := range fds {
		n, _ := strconv.Atoi(fd.Name())
		target, err := os.Readlink(dir + "fd/" + fd.Name())
		info := statusOf(t, dir+"fdinfo/"+fd.Name())
		if n < 3 || err != nil || info == nil {
			continue
		}
		flags, err := strconv.ParseUint(info["flags"], 8, 64)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(target, "/") && !strings.HasPrefix(target, "/memfd:") && flags&unix.O_ACCMODE != unix.O_RDONLY {
			t.Errorf("it has %s open for writing", target)
		}
	}
}

// The command that is traced has all that it had without copenclose.
func TestCommandKeepsPrivileges(t *testing.T) {
	own, dir := statusOf(t, "/proc/self/status"), t.TempDir()
	r := start(t, "-o", "json", "--", "sh", "-c", "cat /proc/self/status; mount -t tmpfs none "+dir+" && umount "+dir+" && echo mounted")
	said := r.wait().stderr
	status := parseStatus(said)
	for _, name := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"} {
		if status[name] == "" || status[name] != own[name] {
			t.Errorf("%s is %q, without copenclose it is %q", name, status[name], own[name])
		}
	}
	if !strings.Contains(said, "\nmounted\n") {
		t.Errorf("the command cannot mount:\n%s", said)
	}
}

// Where /proc is of another PID namespace, threads cannot be found by it: what would be
// given up on each of them stays, and the tool works.
func TestForeignProc(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "unshare", "--pid", "--fork", "--kill-child", copenclose, "-v", "-d", "100ms").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "capabilities: not given up: /proc is of another PID namespace") ||
		!strings.Contains(string(out), " events shown, ") {
		t.Errorf("%v\n%s", err, out[max(0, len(out)-2000):])
	}
}

// An ordinary user with CAP_BPF and CAP_PERFMON sees what root sees.
func TestOrdinaryUser(t *testing.T) {
	if kernelBefore(t, 5, 11) {
		t.Skip("the memory of maps counts against RLIMIT_MEMLOCK here")
	}
	bin := filepath.Join(publicDir(t), "copenclose")
	binary, err := os.ReadFile(copenclose)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bin, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	user := strconv.Itoa(nobodyElse)
	for name, program := range map[string][]string{
		"ambient capabilities": {"setpriv", "--reuid", user, "--regid", user, "--clear-groups",
			"--inh-caps", "-all,+bpf,+perfmon", "--ambient-caps", "-all,+bpf,+perfmon", copenclose},
		"capabilities of the file": {"setpriv", "--reuid", user, "--regid", user, "--clear-groups", bin},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "capabilities of the file" {
				// VFS_CAP_REVISION_2 with the effective bit, of include/uapi/linux/capability.h.
				caps := []byte{1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
				caps[12], caps[13] = 1<<(unix.CAP_PERFMON-32)|1<<(unix.CAP_BPF-32), 0
				if err := unix.Setxattr(bin, "security.capability", caps, 0); err != nil {
					t.Skip(err)
				}
			}
			way := []string{}
			autoAttach(t, func(_ *testing.T, options ...string) { way = options })
			r := startProgram(t, nil, program, append(way, "-o", "json", "--latency", "--verbose")...)
			r.stderr.await(t, gaveUp)
			checkThreads(t, r.cmd.Process.Pid, 1<<unix.CAP_BPF)
			did := perform(t, trigger64, subjects[0]).did
			res := r.stop()
			if err := compareSaid(res.events, did); err != nil && !res.missesCalls() {
				t.Error(err)
			}
		})
	}
}

// kernelBefore reports whether the kernel is older than a version.
func kernelBefore(t *testing.T, major, minor int) bool {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	var v [2]int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &v[0], &v[1]); err != nil {
		t.Fatal(err)
	}
	return slices.Compare(v[:], []int{major, minor}) < 0
}

// An ordinary user who may talk to Docker has its containers' names, too.
func TestOrdinaryUserHasNames(t *testing.T) {
	e := docker(t)
	info, err := os.Stat("/run/docker.sock")
	if err != nil {
		t.Fatal(err)
	}
	group := strconv.Itoa(int(info.Sys().(*syscall.Stat_t).Gid))
	user := strconv.Itoa(nobodyElse)
	table := newLines()
	r := startProgram(t, table, []string{"setpriv", "--reuid", user, "--regid", user, "--groups", group,
		"--inh-caps", "-all,+bpf,+perfmon", "--ambient-caps", "-all,+bpf,+perfmon", copenclose}, "-o", "json", "-I", "--verbose")
	r.stderr.await(t, gaveUp)
	c := e.run(t, e.busybox(t, []string{"--name", "ct-ordinary"}, "sh", "-c", steady)...)
	table.await(t, named(c.id, "ct-ordinary"))
	r.stop()
	// What needs no more than a list.
	out, err := exec.Command("setpriv", "--reuid", user, "--regid", user, "--groups", group, copenclose, "containers").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "ct-ordinary") {
		t.Errorf("containers: %v\n%s", err, out)
	}
}
