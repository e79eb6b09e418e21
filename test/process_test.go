// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What a process executes and how it ends is shown for who asks, with nothing else, also
// of one that lives for less than a millisecond.
func TestProcesses(t *testing.T) {
	shell, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	const argsMax = 1024
	long := strings.Repeat("x", 2*argsMax)
	for _, syscalls := range []string{"exec,exit", "exec,exit,openat"} {
		t.Run(syscalls, func(t *testing.T) {
			autoAttach(t, func(t *testing.T, options ...string) {
				r := start(t, append(options, "-o", "json", "-s", syscalls)...)
				ran := make(map[int][]string)
				run := func(program string, args []string, want ...string) {
					cmd := exec.Command(program, args...)
					_ = cmd.Run()
					ran[cmd.Process.Pid] = want
				}
				run("sh", []string{"-c", `exec "$0" mix 0`, trigger64},
					"exec "+shell+` sh -c 'exec "$0" mix 0' `+trigger64, "exec "+trigger64+" "+trigger64+" mix 0", "exit 0")
				run(trigger32, []string{"", "it's"}, "exec "+trigger32+" "+trigger32+` '' 'it'\''s'`, "exit 2")
				run("sh", []string{"-c", "kill -9 $$"}, "exec "+shell+" sh -c 'kill -9 $$'", "exit 137 SIGKILL")
				run("sh", []string{"-c", "exec /nonexistent"}, "exec "+shell+" sh -c 'exec /nonexistent'", "exit 127")
				run("sh", []string{"-c", ":", long}, "exec "+shell+" "+("sh -c : " + long)[:argsMax]+"...", "exit 0")
				res := r.stop()
				validate(t, res.stdout)
				seen := make(map[int][]string)
				for _, e := range res.events {
					pid := e.number("pid")
					if ran[pid] == nil || e.text("syscall") == "openat" {
						continue
					}
					if e.number("ppid") != os.Getpid() || e.number("process_age_ns") <= 0 {
						t.Errorf("parent or age of %v", e)
					}
					seen[pid] = append(seen[pid], happened(e))
				}
				for pid, want := range ran {
					if !slices.Equal(seen[pid], want) {
						t.Errorf("process %d: shown\n%s\nwant\n%s\n%s", pid, strings.Join(seen[pid], "\n"), strings.Join(want, "\n"), res.summary)
					}
				}
			})
		})
	}
}

// happened is what a row says of a process.
func happened(e event) string {
	if e.text("syscall") == "exit" {
		return strings.TrimSpace(fmt.Sprintf("exit %d %s", e.number("ret"), e.text("signal")))
	}
	line := "exec " + e.text("path") + " " + e.text("args")
	if e["args_truncated"] == true {
		line += "..."
	}
	return line
}

// Also in a PID namespace, where the tool does not know its own number, a command alone is
// shown.
func TestProcessesOfNamespace(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", copenclose, "-o", "json", "-s", "exec,exit", "--no-runtime", "--", trigger64, "mix", "0")
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &said)
	}
	var seen []string
	for _, e := range parseLines(t, out.String()) {
		seen = append(seen, happened(e))
	}
	if want := []string{"exec " + trigger64 + " " + trigger64 + " mix 0", "exit 0"}; !slices.Equal(seen, want) {
		t.Errorf("shown %q, want %q\n%s", seen, want, &said)
	}
}
