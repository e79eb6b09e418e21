// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/docs"
	"github.com/copenclose/copenclose/internal/conform"
)

// What copenclose leaks says of programs that leak, and of one that does not.

// leaks runs copenclose leaks -o json and returns its lines and its status.
func leaks(t *testing.T, args ...string) (lines []event, status int) {
	t.Helper()
	cmd := exec.Command(copenclose, append([]string{"leaks", "-o", "json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("copenclose leaks %v: %v", args, err)
	}
	conform.Lines(t, docs.LeaksSchema, out)
	return parseLines(t, string(out)), cmd.ProcessState.ExitCode()
}

// A looking is a copenclose fds or leaks that looks until it is ended.
type looking struct {
	t      *testing.T
	cmd    *exec.Cmd
	out    strings.Builder
	exited chan error // how it did
}

// startLooking starts one with -o json, and returns when births are noted.
func startLooking(t *testing.T, subcommand string, args ...string) *looking {
	t.Helper()
	keepOwn(t)
	ready := filepath.Join(t.TempDir(), "ready") // a FIFO, as in startProgram
	if err := unix.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	l := &looking{t: t, exited: make(chan error, 1), cmd: exec.Command(copenclose, append([]string{subcommand, "-o", "json", "--ready-file", ready}, args...)...)}
	l.cmd.Stdout, l.cmd.Stderr = &l.out, newLines()
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.cmd.Process.Kill() })
	go func() {
		l.exited <- l.cmd.Wait()
		if f, err := os.OpenFile(ready, os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
			f.Close() // nobody waits for ever
		}
	}()
	f, err := os.Open(ready)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	return l
}

// end interrupts it, and returns its lines.
func (l *looking) end() []event {
	l.t.Helper()
	if err := l.cmd.Process.Signal(os.Interrupt); err != nil {
		l.t.Fatal(err)
	}
	if err := <-l.exited; err != nil {
		l.t.Fatalf("%s: %v: %s", l.cmd, err, l.cmd.Stderr)
	}
	return parseLines(l.t, l.out.String())
}

// growing are the lines of what grows, by the name of their container.
func growing(lines []event) map[string]event {
	found := make(map[string]event)
	for _, e := range lines {
		if e["verdict"] == "grows" {
			found[e.container().text("name")] = e
		}
	}
	return found
}

func TestLeaksContainers(t *testing.T) {
	e := docker(t)
	e.image(t, "busybox")
	e.run(t, e.busybox(t, []string{"--name", "ct-leaks-sockets", "--ulimit", "nofile=4096"}, "/trigger", "leaks", "sockets", "30")...)
	e.run(t, e.busybox(t, []string{"--name", "ct-leaks-dup", "--ulimit", "nofile=4096"}, "/trigger", "leaks", "dup", "30")...)
	e.run(t, e.busybox(t, []string{"--name", "ct-leaks-nothing"}, "/trigger", "leaks", "nothing", "10")...)
	lines, status := leaks(t, "-c", "ct-leaks-*", "-d", "6s", "--fail", "--all")
	if status != 1 {
		t.Errorf("status %d, want 1", status)
	}
	found := growing(lines)
	sockets, dup := found["ct-leaks-sockets"], found["ct-leaks-dup"]
	if len(found) != 2 || sockets == nil || dup == nil {
		t.Fatalf("what grows: %v\nof: %v", found, lines)
	}
	if by := sockets["by"].(map[string]any); sockets["kind"] != "tcp" || sockets["state"] != "CLOSE_WAIT" || by["socket"] == nil || len(by) != 1 {
		t.Errorf("not sockets that wait to be closed: %v", sockets)
	}
	if by := dup["by"].(map[string]any); dup["kind"] != "device" || by["dup"] == nil || len(by) != 1 {
		t.Errorf("not made by dup: %v", dup)
	}
	for _, leak := range found {
		if leak.number("limit") != 4096 || leak["full_in_seconds"] == nil || leak["oldest_ns"] == nil || leak.number("appeared") < 10 {
			t.Errorf("incomplete: %v", leak)
		}
	}
}

// A command is looked at alone, and what it leaks until its end counts.
func TestLeaksCommand(t *testing.T) {
	lines, status := leaks(t, "--fail", "-i", "100ms", "-d", "3s", "--", trigger64, "leaks", "dup", "20")
	found := growing(lines)
	if leak := found[""]; status == 0 || len(found) != 1 || leak.text("comm") != "trigger" || leak["by"].(map[string]any)["dup"] == nil {
		t.Errorf("status %d, %v\nof %v", status, found, lines)
	}
	lines, status = leaks(t, "--fail", "-i", "100ms", "--", trigger64, "pairs", "200000")
	if found := growing(lines); status != 0 || len(found) > 0 {
		t.Errorf("nothing leaks: status %d, %v", status, found)
	}
	if _, status = leaks(t, "--", "/bin/sh", "-c", "exit 7"); status != 7 {
		t.Errorf("status %d, want the command's", status)
	}
}

// A program that dies of its limit while it is looked at is in the report.
func TestLeaksUntilTheLimit(t *testing.T) {
	look := startLooking(t, "leaks", "-n", "trigger", "-i", "200ms", "-d", "10m", "--lived", "--all")
	steady := startHolder(t, nil, "leaks", "nothing", "5")
	t.Cleanup(func() { _ = unix.Kill(steady.pid, unix.SIGKILL) })
	dying := exec.Command("/bin/sh", "-c", `ulimit -n 64; exec "$0" leaks dup 40`, trigger64)
	if err := dying.Run(); err == nil {
		t.Fatal("the program did not die of its limit")
	}
	lines := look.end()
	var died, lived bool
	for _, e := range lines {
		by, _ := e["by"].(map[string]any)
		switch e.number("pid") {
		case dying.ProcessState.Pid():
			died = died || e["verdict"] == "grows" && e["ended"] == true && e.number("refused") > 0 && by["dup"] != nil
		case steady.pid:
			lived = lived || by["openat"] != nil && e.number("closed") > 10 && e.number("closed_lived_ns") > 0 &&
				e.number("closed_lived_longest_ns") >= e.number("closed_lived_ns")
		}
	}
	if !died || !lived {
		t.Errorf("the program that died: %t, what the closed ones lived: %t:\n%v", died, lived, lines)
	}
}
