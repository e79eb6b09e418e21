// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"errors"
	"os"
	"os/exec"
	"testing"
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
	return parseLines(t, string(out)), cmd.ProcessState.ExitCode()
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
