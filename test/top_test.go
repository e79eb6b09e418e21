// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a terminal that tmux plays.
type terminal struct {
	t      *testing.T
	socket string
}

// newTerminal runs a shell script in a terminal of that size.
func newTerminal(t *testing.T, width, height int, script string) *terminal {
	t.Helper()
	term := &terminal{t, filepath.Join(t.TempDir(), "tmux")}
	term.tmux("-f", "/dev/null", "new-session", "-d", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height),
		"env", "LC_ALL=C.UTF-8", "sh", "-c", script+"; exec sleep 1000")
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", term.socket, "kill-server").Run() })
	return term
}

// needTmux skips a test where there is no tmux, as in the VMs.
func needTmux(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("no tmux here")
	}
}

func (t *terminal) tmux(args ...string) string {
	t.t.Helper()
	said, err := exec.Command("tmux", append([]string{"-u", "-S", t.socket}, args...)...).CombinedOutput()
	if err != nil {
		t.t.Fatalf("tmux %v: %v\n%s", args, err, said)
	}
	return string(said)
}

func (t *terminal) screen() string { t.t.Helper(); return t.tmux("capture-pane", "-p") }

// keys presses keys, and returns the first screen that has all of want; of what begins
// with a !, none.
func (t *terminal) keys(keys string, want ...string) string {
	t.t.Helper()
	if keys != "" {
		t.tmux("send-keys", keys)
	}
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		screen, missing := t.screen(), ""
		for _, text := range want {
			if text, not := strings.CutPrefix(text, "!"); strings.Contains(screen, text) == not {
				missing = text
			}
		}
		if missing == "" {
			return screen
		}
		if time.Now().After(end) {
			t.t.Fatalf("after %q the screen does not have %q:\n%s", keys, missing, screen)
		}
	}
}

// busyContainer has a process open and close files all the time in what looks like a
// container, and returns what that is called.
func busyContainer(t *testing.T, digit string) (name string) {
	t.Helper()
	return containerOf(t, digit, trigger64, "busy")
}

func containerOf(t *testing.T, digit string, words ...string) (name string) {
	t.Helper()
	dir, id := fakeContainer(t, digit)
	cmd := exec.Command(words[0], words[1:]...)
	inCgroup(t, dir)(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return id[:12]
}

// showTop is a script that shows whether the terminal is as it was.
func showTop(args string) string {
	// The shell outlives the Ctrl-C that is meant for what it runs. Where the monitor is
	// killed, the process that draws restores the terminal after it.
	return fmt.Sprintf(`trap : INT; before=$(stty -g); echo the screen before; %s top --no-runtime -d 0.3 %s; echo "status $?"; until [ "$(stty -g)" = "$before" ]; do sleep 0.05; done; echo settings as before`,
		copenclose, args)
}

// The screen, in a terminal: its views, into a container and out, filter, order, size
// and end.
func TestTop(t *testing.T) {
	needTmux(t)
	for _, size := range []struct{ width, height int }{{80, 24}, {200, 50}} {
		t.Run(fmt.Sprintf("%dx%d", size.width, size.height), func(t *testing.T) {
			name := busyContainer(t, "e")
			other := busyContainer(t, "f")
			term := newTerminal(t, size.width, size.height, showTop(""))
			term.keys("", "copenclose top", "1 Containers", "OPEN/s▾", name, other)
			term.keys("2", "PROGRAM", "trigger", name)
			term.keys("3", "FILES", "/dev/null")
			term.keys("4", "PEER")
			term.keys("5", "ERROR", "PER s▾")
			term.keys("1", "TOP TARGET", name)
			term.keys("/", "filter: ")
			screen := term.keys(name, "filter: "+name)
			if strings.Contains(strings.SplitN(screen, "\n", 3)[2], other) {
				t.Errorf("the filter leaves %s:\n%s", other, screen)
			}
			term.keys("Enter", "Enter in", name)
			term.keys("Enter", "PROGRAM", "in "+name, "trigger")
			term.keys("Enter", "FILES", "in "+name+", ")
			term.keys("Escape", "PROGRAM")
			term.keys("Escape", "CONTAINER", "!PROGRAM", "!in "+name)
			term.keys("s", "CONN/s▾")
			term.keys("I", "CONN/s▴")
			term.keys("x", "failed only")
			term.keys("x", "Enter in")
			term.keys("Space", "[stopped]")
			term.keys("Space", "[every 0.3s]")
			term.keys("?", "any key goes back")
			term.keys("?", "Enter in")

			term.tmux("resize-window", "-x", "120", "-y", "12")
			screen = term.keys("", "TREND")
			if lines := strings.Split(strings.TrimSuffix(screen, "\n"), "\n"); len(lines) != 12 || !strings.HasPrefix(lines[11], "Enter in") {
				t.Errorf("%d lines:\n%s", len(lines), screen)
			}
			// tmux mixes both screens where the size is another one than when they changed.
			term.tmux("resize-window", "-x", strconv.Itoa(size.width), "-y", strconv.Itoa(size.height))
			term.keys("", strings.Repeat("\n", size.height-12), "Enter in")
			screen = term.keys("q", "the screen before", "status 0", "settings as before")
			if strings.Contains(screen, "CONTAINER") {
				t.Errorf("what it showed is still there:\n%s", screen)
			}
		})
	}
}

// However it ends, the terminal is as it was, and what there is to say stands below the
// command line. Of the process that draws, SIGABRT ends it as a panic does.
func TestTopEnds(t *testing.T) {
	needTmux(t)
	for name, c := range map[string]struct {
		end  func(term *terminal)
		want []string
	}{
		"ctrl-c":         {func(term *terminal) { term.tmux("send-keys", "C-c") }, []string{"the screen before", "status 0", "settings as before"}},
		"term":           {func(term *terminal) { signalTop(term, unix.SIGTERM) }, []string{"the screen before", "status 0", "settings as before"}},
		"hup":            {func(term *terminal) { signalTop(term, unix.SIGHUP) }, []string{"the screen before", "status 0", "settings as before"}},
		"panic":          {func(term *terminal) { signalScreen(term, unix.SIGABRT) }, []string{"rflags ", "status 2", "settings as before"}},
		"kill":           {func(term *terminal) { signalScreen(term, unix.SIGKILL) }, []string{"what drew the screen ended: signal: killed", "the screen before", "status 1", "settings as before"}},
		"term with rows": {func(term *terminal) { term.keys("e", "Ctrl-C goes back"); signalTop(term, unix.SIGTERM) }, []string{"the screen before", "status 0", "settings as before"}},
		"killed monitor": {killMonitor, []string{"the screen before", "settings as before"}},
	} {
		t.Run(name, func(t *testing.T) {
			term := newTerminal(t, 80, 24, showTop(""))
			term.keys("", "copenclose top", "OPEN/s▾")
			c.end(term)
			term.keys("", append(c.want, "!OPEN/s▾")...)
		})
	}
}

// killMonitor kills the process that waits, and waits for the one that draws.
func killMonitor(term *terminal) {
	term.t.Helper()
	monitor := childOf(term.t, shellOf(term))
	screen := childOf(term.t, monitor)
	if err := unix.Kill(monitor, unix.SIGKILL); err != nil {
		term.t.Fatal(err)
	}
	for end := time.Now().Add(patience); unix.Kill(screen, 0) == nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			term.t.Fatalf("process %d draws on", screen)
		}
	}
}

// signalTop sends a signal to what runs in the terminal.
func signalTop(term *terminal, signal unix.Signal) {
	term.t.Helper()
	if err := unix.Kill(childOf(term.t, shellOf(term)), signal); err != nil {
		term.t.Fatal(err)
	}
}

// signalScreen sends a signal to the process that draws there.
func signalScreen(term *terminal, signal unix.Signal) {
	term.t.Helper()
	if err := unix.Kill(childOf(term.t, childOf(term.t, shellOf(term))), signal); err != nil {
		term.t.Fatal(err)
	}
}

func shellOf(term *terminal) int {
	term.t.Helper()
	return number(term.t, term.tmux("display-message", "-p", "#{pane_pid}"))
}

// childOf returns the copenclose that a process has started.
func childOf(t *testing.T, parent int) int {
	t.Helper()
	said, err := exec.Command("pgrep", "-P", strconv.Itoa(parent), "-x", "copenclose").Output()
	if err != nil {
		t.Fatalf("find copenclose below %d: %v", parent, err)
	}
	return number(t, string(said))
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The process that draws has given up what every trace gives up, and S saves all the
// same.
func TestTopPrivileges(t *testing.T) {
	needTmux(t)
	name := busyContainer(t, "e")
	dir := t.TempDir()
	term := newTerminal(t, 100, 20, "cd "+dir+"; "+showTop("-I"))
	term.keys("", "OPEN/s▾", name)
	screen := childOf(t, childOf(t, shellOf(term)))
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", screen))
		if strings.Contains(string(status), "Seccomp:\t2") {
			break
		}
		if err != nil || time.Now().After(end) {
			t.Fatalf("%v: no seccomp filter:\n%s", err, status)
		}
	}
	checkThreads(t, screen, leftAtMost)
	term.keys("S", "saved copenclose-top-")
	term.keys("q", "status 0", "settings as before")
	saved, err := filepath.Glob(dir + "/copenclose-top-*.json")
	if err != nil || len(saved) != 1 {
		t.Fatal(saved, err)
	}
	text, err := os.ReadFile(saved[0])
	var s summary
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil || len(s.Rows) == 0 || s.Rows[0].Container == nil || s.Rows[0].Container.ID[:12] != name {
		t.Errorf("%v\n%s", err, text)
	}
}

// Colours are of the 16 that every terminal has; there are none with NO_COLOR.
func TestTopColors(t *testing.T) {
	needTmux(t)
	busyContainer(t, "f") // has the cursor, and so no colour
	name := containerOf(t, "e", "python3", "-c", "import os, time\nwhile True:\n  try: os.open('/nonexistent', 0)\n  except OSError: time.sleep(0.01)")
	for environment, want := range map[string]bool{
		"TERM=xterm": true, "TERM=linux": true, "TERM=xterm-256color": true, "TERM=xterm NO_COLOR=1": false, "TERM=xterm-256color NO_COLOR=yes": false,
	} {
		t.Run(environment, func(t *testing.T) {
			term := newTerminal(t, 120, 20, "export "+environment+"; "+showTop("-I"))
			term.keys("", "OPEN/s▾", name, "ENOENT /nonexistent")
			drawn := term.tmux("capture-pane", "-e", "-p")
			if strings.Contains(drawn, "\x1b[31m") != want || regexp.MustCompile(`[34]8;[25];`).MatchString(drawn) {
				t.Errorf("red is not %v, or colours are of more than 16:\n%q", want, drawn)
			}
			term.keys("q", "status 0")
		})
	}
}

// Rows of the selection are shown until Ctrl-C, and then the screen again.
func TestTopRows(t *testing.T) {
	needTmux(t)
	name := busyContainer(t, "e")
	term := newTerminal(t, 120, 20, showTop("-I"))
	term.keys("", "OPEN/s▾", name)
	term.keys("e", "openat", name, "/dev/null")
	term.keys("C-c", "OPEN/s▾", name)
	term.keys("q", "status 0", "settings as before")
}

// Without a terminal it says what to do, and in batches it prints tables.
func TestTopBatch(t *testing.T) {
	said, err := exec.Command(copenclose, "top").CombinedOutput()
	if code := err.(*exec.ExitError).ExitCode(); code != 2 || string(said) != "copenclose: top needs a terminal; --batch prints tables\n" {
		t.Errorf("status %d: %s", code, said)
	}
	name := busyContainer(t, "e")
	table, err := exec.Command(copenclose, "top", "-b", "-n", "2", "-d", "0.3", "--no-runtime", "-q").Output()
	if err != nil || strings.Count(string(table), "CONTAINER ") != 2 || strings.Count(string(table), name) != 2 || strings.Count(string(table), " counted + ") != 2 {
		t.Errorf("%v\n%s", err, table)
	}
	lines, err := exec.Command(copenclose, "top", "-b", "-n", "3", "-d", "0.3", "--no-runtime", "-q", "-I", "-o", "json", "--by", "container,exe").Output()
	if err != nil || bytes.Count(lines, []byte("\n")) != 3 {
		t.Fatalf("%v\n%s", err, lines)
	}
	for line := range bytes.Lines(lines) {
		var s summary
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatal(err)
		}
		if len(s.Rows) == 0 || s.Rows[0].Container == nil || s.Rows[0].Container.ID[:12] != name || s.Rows[0].Calls == 0 || filepath.Base(s.Rows[0].Exe) != "trigger" {
			t.Errorf("%s", line)
		}
	}
}
