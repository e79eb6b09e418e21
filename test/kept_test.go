// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What fds --keep notes when no copenclose runs, and that fds --forget ends it.

const keptFolder = "/sys/fs/bpf/copenclose"

// fdsSays runs copenclose fds, and returns its rows, stderr and status.
func fdsSays(t *testing.T, args ...string) (rows []event, says string, status int) {
	t.Helper()
	keepOwn(t)
	cmd := exec.Command(copenclose, append([]string{"fds", "-o", "json", "--no-runtime"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return parseLines(t, string(out)), stderr.String(), cmd.ProcessState.ExitCode()
}

// mayKeep mounts a BPF file system where there is none, and has nothing kept when the
// test ends.
func mayKeep(t *testing.T) {
	t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs("/sys/fs/bpf", &fs); err != nil {
		t.Fatal(err)
	}
	if fs.Type != unix.BPF_FS_MAGIC {
		if err := unix.Mount("bpf", "/sys/fs/bpf", "bpf", 0, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount("/sys/fs/bpf", 0); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := os.Stat(keptFolder); err == nil {
		t.Fatal("this host keeps a ledger: copenclose fds --forget ends it")
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(keptFolder); err != nil {
			t.Error(err)
		}
	})
}

// What is made after --keep has its age, its call and its opener, exactly, though no
// copenclose ran when it was made; what was open before is older than that.
func TestKept(t *testing.T) {
	for _, attach := range []string{"auto", "perf"} {
		t.Run(attach, func(t *testing.T) {
			if attach == "perf" && kernelBefore(t, 6, 1) {
				t.Skip("not on this kernel")
			}
			mayKeep(t)
			before := inKernel(t)
			t.Run("ages", func(t *testing.T) { keptAges(t, attach) }) // its programs end with it
			if _, says, status := fdsSays(t, "--forget"); status != 0 || !strings.Contains(says, "not kept any more") {
				t.Errorf("status %d: %s", status, says)
			}
			nothingStays(t, before)
		})
	}
}

func keptAges(t *testing.T, attach string) {
	early := startHolder(t, nil, "holds", t.TempDir())
	began := time.Now()
	_, says, status := fdsSays(t, "--keep", "--attach", attach)
	if status != 0 || !strings.Contains(says, "fds --forget") {
		t.Fatalf("status %d: %s", status, says)
	}
	kept := time.Now()
	h := startHolder(t, func(cmd *exec.Cmd) { cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true} }, "births", t.TempDir(), "7", "2000")

	shortest := time.Since(kept)
	rows, says, status := fdsSays(t, "-l", "-n", "trigger*")
	longest := time.Since(began)
	if status != 0 || says != "" {
		t.Errorf("status %d: %s", status, says)
	}
	compareBirths(t, h.lines, rows)
	n := 0
	for _, row := range rows {
		if row.number("pid") != early.pid || row.number("fd") < 3 {
			continue
		}
		n++
		age, _ := row["age_ns"].(float64)
		if row["how"] != "before" || row["age_is"] != "at least" || age < float64(shortest) || age > float64(longest) {
			t.Errorf("open before, for %v to %v: %v", shortest, longest, row)
		}
	}
	if n == 0 || n != len(early.lines) {
		t.Errorf("%d of %d descriptors were open before", n, len(early.lines))
	}
}

// What others make of a ledger that is kept, and what none of them takes for one.
func TestKeptIsShared(t *testing.T) {
	mayKeep(t)
	if _, says, status := fdsSays(t, "--forget"); status != 0 || strings.Count(says, "\n") != 1 {
		t.Errorf("nothing to forget: status %d: %s", status, says)
	}
	if _, says, status := fdsSays(t, "--older", "1h"); status != 2 || !strings.Contains(says, "--keep") {
		t.Errorf("--older without ages: status %d: %s", status, says)
	}
	if _, says, status := fdsSays(t, "--keep", "--table-size", "2"); status != 1 || !strings.Contains(says, "--table-size") || strings.Count(says, "\n") != 1 {
		t.Errorf("no room: status %d: %s", status, says)
	}
	ordinary := exec.Command(copenclose, "fds", "--keep")
	asUser(nobodyElse)(ordinary)
	if says, err := ordinary.CombinedOutput(); err == nil || strings.Count(string(says), "\n") != 1 {
		t.Errorf("an ordinary user's: %v: %s", err, says)
	}
	if _, err := os.Stat(keptFolder); err == nil {
		t.Error("what could not be kept left a folder")
	}
	if _, says, status := fdsSays(t, "--keep"); status != 0 {
		t.Fatalf("status %d: %s", status, says)
	}
	if _, says, status := fdsSays(t, "--keep"); status != 0 || !strings.Contains(says, "kept already") {
		t.Errorf("the second time: status %d: %s", status, says)
	}
	findings, _ := doctor(t, exec.Command(copenclose, "doctor", "-o", "json"))
	if f := findings["fds --keep"]; f.Status != "ok" || !strings.HasPrefix(f.Found, "since ") || !strings.Contains(f.Do, "fds --forget") {
		t.Errorf("doctor says %+v", f)
	}

	// A shell opens a file now, and closes it while it is traced.
	shell := exec.Command("sh", "-c", "exec 3</etc/passwd; echo; read line; exec 3<&-; echo; read line")
	stdin, err1 := shell.StdinPipe()
	stdout, err2 := shell.StdoutPipe()
	if err := errors.Join(err1, err2, shell.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = shell.Wait()
	})
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	opened, pid := time.Now(), strconv.Itoa(shell.Process.Pid)
	if rows, _, _ := fdsSays(t, "-l", "-p", pid, "--older", "1ns", "--path", "/etc"); len(rows) != 1 || rows[0]["how"] != "openat" || rows[0]["age_is"] != "exact" {
		t.Errorf("open: %v", rows)
	}
	lines, _ := leaks(t, "-p", pid, "-k", "file", "--path", "/etc", "-d", "100ms", "--all", "--no-runtime")
	if len(lines) != 1 || lines[0]["oldest_is"] != "exact" || lines[0]["oldest_ns"].(float64) < float64(time.Since(opened))/2 {
		t.Errorf("leaks: %v", lines)
	}
	r := start(t, "-o", "json", "--lifetime", "-s", "close", "-p", pid)
	if _, err := stdin.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if result := r.stop(); !slices.ContainsFunc(result.events, func(e event) bool {
		lived, _ := e["lifetime_ns"].(float64)
		return e.number("fd") == 3 && lived > float64(100*time.Millisecond)
	}) {
		t.Errorf("closed: %v", result.events)
	}

	// As another build would have it.
	entries, err := os.ReadDir(keptFolder)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v", entries, err)
	}
	if err := os.Rename(filepath.Join(keptFolder, entries[0].Name()), keptFolder+"/0123456789abcdef"); err != nil {
		t.Fatal(err)
	}
	rows, says, status := fdsSays(t, "-l", "-p", pid)
	if status != 0 || !strings.Contains(says, "fds --forget") || len(rows) == 0 || rows[0]["age_ns"] != nil {
		t.Errorf("of another build: status %d: %s%v", status, says, rows)
	}
	if _, says, status := fdsSays(t, "--keep"); status != 1 || !strings.Contains(says, "fds --forget") || strings.Count(says, "\n") != 1 {
		t.Errorf("of another build: status %d: %s", status, says)
	}
	if _, says, status := fdsSays(t, "--forget"); status != 0 {
		t.Errorf("status %d: %s", status, says)
	}

	// As another user could have made it.
	if err := errors.Join(os.Mkdir(keptFolder, 0o755), os.Chown(keptFolder, nobodyElse, nobodyElse)); err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{"--keep", "--forget"} {
		if _, says, status := fdsSays(t, flag); status != 1 || strings.Count(says, "\n") != 1 {
			t.Errorf("another user's, %s: status %d: %s", flag, status, says)
		}
	}
}
