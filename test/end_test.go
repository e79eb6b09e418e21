// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What cannot be run is found out before anything is traced, with the statuses of env(1).
func TestCannotRun(t *testing.T) {
	for command, want := range map[string]struct {
		status int
		says   string
	}{
		"copenclose-no-such-command": {127, "executable file not found in $PATH"},
		"/no/such/file":              {127, "no such file or directory"},
		"/etc/passwd":                {126, "permission denied"},
		"/etc":                       {126, "is a directory"},
	} {
		var stdout, stderr bytes.Buffer
		cmd := exec.Command(copenclose, "--", command)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		_ = cmd.Run()
		if cmd.ProcessState.ExitCode() != want.status || stdout.Len() > 0 || stderr.String() != "copenclose: run "+command+": "+want.says+"\n" {
			t.Errorf("%s: %s, %q, %q", command, cmd.ProcessState, &stdout, &stderr)
		}
	}
}

// commandLine is what the command of these tests says of itself when it is running.
var commandLine = regexp.MustCompile(`(?m)^command (\d+)$`)

// startCommand starts copenclose with a shell's script as its command, and returns when
// the command runs. Its events go to stdout, or nowhere.
func startCommand(t *testing.T, stdout *os.File, options []string, script string) (cmd *exec.Cmd, said *lines, pid int) {
	t.Helper()
	said = newLines()
	cmd = exec.Command(copenclose, append(options, "--", "sh", "-c", "echo command $$; "+script)...)
	if stdout != nil {
		cmd.Stdout = stdout
	}
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	pid, err := strconv.Atoi(said.await(t, commandLine)[1])
	if err != nil {
		t.Fatal(err)
	}
	return cmd, said, pid
}

// A command that still runs when the trace ends is ended, too: none is left behind.
func TestCommandIsEnded(t *testing.T) {
	const endless = "while :; do : </dev/null; sleep 0.01; done"
	for name, c := range map[string]struct {
		options []string
		signal  unix.Signal
		status  int
	}{
		"count":    {[]string{"--count", "3"}, 0, 0},
		"duration": {[]string{"-d", "300ms"}, 0, 0},
		"SIGTERM":  {nil, unix.SIGTERM, 128 + int(unix.SIGTERM)},
		"SIGINT":   {nil, unix.SIGINT, 128 + int(unix.SIGTERM)},
		"SIGQUIT":  {nil, unix.SIGQUIT, 128 + int(unix.SIGTERM)},
	} {
		t.Run(name, func(t *testing.T) {
			cmd, said, pid := startCommand(t, nil, c.options, endless)
			if c.signal != 0 {
				if err := cmd.Process.Signal(c.signal); err != nil {
					t.Fatal(err)
				}
			}
			_ = cmd.Wait()
			if cmd.ProcessState.ExitCode() != c.status || strings.Contains(said.String(), "goroutine") || summaryLine.FindString(said.String()) == "" {
				t.Errorf("%s, want %d\n%s", cmd.ProcessState, c.status, said)
			}
			if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
				t.Errorf("the command still runs: %v", err)
			}
		})
	}
	t.Run("closed pipe", func(t *testing.T) {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd, said, pid := startCommand(t, write, nil, endless)
		write.Close()
		read.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v\n%s", err, said)
		}
		if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
			t.Errorf("the command still runs: %v", err)
		}
	})
}

// A command that does not end is named.
func TestCommandStillRuns(t *testing.T) {
	cmd, said, pid := startCommand(t, nil, []string{"-d", "300ms"}, "trap '' TERM; while :; do sleep 0.01; done")
	said.await(t, regexp.MustCompile(fmt.Sprintf(`(?m)^copenclose: sh \(process %d\) still runs: it did not end within 5s of SIGTERM$`, pid)))
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil { // its output is the command's, too
		t.Errorf("%v\n%s", err, said)
	}
}

var soFar = regexp.MustCompile(`(?m)^copenclose: so far (\d+) events? shown, \d+ filtered, \d+ lost.*$`)

// SIGUSR1 prints the summary so far; Ctrl-\ is an end like Ctrl-C.
func TestSignals(t *testing.T) {
	autoAttach(t, func(t *testing.T, options ...string) {
		busy := busyHost(t)
		r := start(t, append(options, "-p", strconv.Itoa(busy))...)
		r.stdout.await(t, regexp.MustCompile(`(?m)^\S+ +\S+ +`+strconv.Itoa(busy)+` `))
		r.signal(unix.SIGUSR1)
		m := r.stderr.await(t, soFar)
		r.signal(unix.SIGQUIT)
		res := r.wait()
		if shown, _ := strconv.Atoi(m[1]); shown > res.shown || res.shown == 0 {
			t.Errorf("%s; %d rows at the end", m[0], res.shown)
		}
		if strings.Contains(r.stderr.String(), "goroutine") {
			t.Error(r.stderr)
		}
	})
}
