// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/docs"
	"github.com/copenclose/copenclose/internal/conform"
)

// What copenclose fds says is open, beside what a program says that it holds.

// fds runs copenclose fds -o json and returns its lines.
func fds(t *testing.T, args ...string) []event {
	t.Helper()
	cmd := exec.Command(copenclose, append([]string{"fds", "-o", "json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("copenclose fds %v: %v", args, err)
	}
	conform.Lines(t, docs.FdsSchema, out)
	return parseLines(t, string(out))
}

// parseLines parses a JSON object a line.
func parseLines(t *testing.T, text string) (lines []event) {
	t.Helper()
	for line := range strings.Lines(text) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		lines = append(lines, e)
	}
	return lines
}

// A holder is a trigger program that holds descriptors until the test ends.
type holder struct {
	pid   int
	lines []event // what it said that it holds
}

// startHolder starts a trigger program, and returns when it holds all.
func startHolder(t *testing.T, setup func(*exec.Cmd), args ...string) holder {
	t.Helper()
	return startHolderOf(t, trigger64, setup, args...)
}

func startHolderOf(t *testing.T, program string, setup func(*exec.Cmd), args ...string) holder {
	t.Helper()
	keepOwn(t)
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	if setup != nil {
		setup(cmd)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	return holder{cmd.Process.Pid, untilReady(t, stdout)}
}

// keepOwn has programs inherit nothing of what whoever started the tests left open.
func keepOwn(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// untilReady reads what a holder says until it holds all.
func untilReady(t *testing.T, r io.Reader) (lines []event) {
	t.Helper()
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		line := parseLines(t, scanner.Text())[0]
		if line["ready"] == true {
			return lines
		}
		lines = append(lines, line)
	}
	t.Fatalf("the holder ended before it was ready, after %v: %v", lines, scanner.Err())
	return nil
}

// holdsWhatItSays compares the rows of a process with what its program said, but for
// descriptors 0 to 2.
func holdsWhatItSays(t *testing.T, rows, said []event) {
	t.Helper()
	if len(said) == 0 {
		t.Fatal("the program said nothing")
	}
	byFD := make(map[int]event)
	for _, row := range rows {
		fd := row.number("fd")
		if byFD[fd] != nil {
			t.Errorf("descriptor %d is there twice: %v", fd, row)
		}
		byFD[fd] = row
	}
	for _, want := range said {
		row := byFD[want.number("fd")]
		delete(byFD, want.number("fd"))
		if row == nil {
			t.Errorf("no row of %v", want)
		}
		for key, value := range want {
			if got := row[key]; !reflect.DeepEqual(got, value) {
				t.Errorf("%s is %v, want %v\nrow:  %v\nsaid: %v", key, got, value, row, want)
			}
		}
	}
	for fd, row := range byFD {
		if fd > 2 {
			t.Errorf("the program does not have %v", row)
		}
	}
}

func TestFdsHolds(t *testing.T) {
	h := startHolder(t, nil, "holds", t.TempDir())
	rows := fds(t, "-l", "-p", strconv.Itoa(h.pid))
	holdsWhatItSays(t, rows, h.lines)
	for _, row := range rows {
		if row.number("pid") != h.pid || row.text("comm") != "trigger" || row.number("ppid") != os.Getpid() {
			t.Errorf("not a row of the program: %v", row)
		}
	}
}

// A process whose first thread has ended has its table, once.
func TestFdsWithoutLeader(t *testing.T) {
	h := startHolder(t, nil, "holds-without-leader", t.TempDir())
	awaitState(t, h.pid, 'Z')
	if entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", h.pid)); len(entries) > 0 {
		t.Fatal("/proc shows the descriptors: the first thread has not ended")
	}
	holdsWhatItSays(t, fds(t, "-l", "-p", strconv.Itoa(h.pid)), h.lines)
}

// awaitState waits until the first thread of a process is in a state of proc(5).
func awaitState(t *testing.T, pid int, state byte) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		if i := strings.LastIndex(string(stat), ") "); i >= 0 && stat[i+2] == state {
			return
		}
	}
	t.Fatalf("process %d does not come into state %c", pid, state)
}

// In a container the rows are the same, with its identity.
func TestFdsContainer(t *testing.T) {
	e := docker(t)
	e.image(t, "busybox")
	c := e.run(t, e.busybox(t, []string{"--name", "ct-fds", "--ulimit", "nofile=64:128"}, "sh", "-c",
		"mkdir /held && { sleep 3600 | /trigger holds /held; }")...)
	var said []event
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		lines := e.do(t, "logs", c.id)
		if strings.Contains(lines, `{"ready":true}`) {
			said = parseLines(t, lines)
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the container is not ready: %s", lines)
		}
	}
	said = said[:len(said)-1]

	rows := slices.DeleteFunc(fds(t, "-l", "-c", "ct-fds"), func(row event) bool { return row.text("comm") != "trigger" })
	for i, row := range said {
		// These name processes by the numbers that they have in the container.
		delete(row, "other_end")
		delete(row, "shared_with")
		said[i] = row
	}
	holdsWhatItSays(t, rows, said)
	for _, row := range rows {
		if row.container().text("id") != c.id || row.container().text("name") != "ct-fds" {
			t.Errorf("not of the container: %v", row)
		}
	}
	for _, process := range fds(t, "-c", "ct-fds") {
		if process.text("comm") == "trigger" {
			if process.number("limit") != 64 || process.number("hard_limit") != 128 || process.number("fds") != len(rows) {
				t.Errorf("limit 64 of 128 and %d descriptors, but: %v", len(rows), process)
			}
			return
		}
	}
	t.Error("the process is not among those of the container")
}

// Each filter alone chooses, of what the program holds, what is so.
func TestFdsFilters(t *testing.T) {
	dir := t.TempDir()
	h := startHolder(t, nil, "holds", dir)
	for _, c := range []struct {
		args []string
		is   func(event) bool
	}{
		{[]string{"--kind", "tcp,eventfd"}, func(e event) bool { return e["kind"] == "tcp" || e["kind"] == "eventfd" }},
		{[]string{"--kind", "socket"}, func(e event) bool {
			return slices.Contains([]any{"tcp", "udp", "unix", "netlink"}, e["kind"])
		}},
		{[]string{"--deleted"}, func(e event) bool { return e["deleted"] == true }},
		{[]string{"--state", "close-wait,LISTEN"}, func(e event) bool { return e["state"] == "CLOSE_WAIT" || e["state"] == "LISTEN" }},
		{[]string{"--path", dir + "/fi"}, func(e event) bool { return strings.HasPrefix(fmt.Sprint(e["path"]), dir+"/fi") }},
	} {
		var want, got []int
		for _, e := range h.lines {
			if c.is(e) {
				want = append(want, e.number("fd"))
			}
		}
		for _, row := range fds(t, append(c.args, "-l", "-p", strconv.Itoa(h.pid))...) {
			got = append(got, row.number("fd"))
		}
		slices.Sort(want)
		slices.Sort(got)
		if len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%v: descriptors %v, want %v", c.args, got, want)
		}
	}
}

// A child has what its parent passed on to it, and says so.
func TestFdsInherited(t *testing.T) {
	f, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := startHolder(t, func(cmd *exec.Cmd) { cmd.ExtraFiles = []*os.File{f} }, "holds", t.TempDir())
	rows := fds(t, "-l", "--inherited", "-p", strconv.Itoa(h.pid))
	i := slices.IndexFunc(rows, func(row event) bool { return row.number("fd") == 3 })
	if i < 0 || rows[i].text("path") != f.Name() {
		t.Fatalf("descriptor 3 is not inherited: %v", rows)
	}
	shared := fmt.Sprint(rows[i]["shared_with"])
	if want := fmt.Sprintf("[map[fd:%d pid:%d]]", f.Fd(), os.Getpid()); shared != want {
		t.Errorf("shared with %s, want %s", shared, want)
	}
}

// What others see is right of a large table, too, and within its limit.
func TestFdsMany(t *testing.T) {
	const n = 4000
	h := startHolder(t, func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		// A pipe, because these tests' own stderr may be a file, which would count.
		cmd.Stderr = newLines()
	}, "holds-many", strconv.Itoa(n))
	for _, process := range fds(t, "-p", strconv.Itoa(h.pid)) {
		if process.number("pid") != h.pid {
			continue
		}
		kinds := process["kinds"].(map[string]any)
		if process.number("fds") != n+3 || kinds["unix"] != float64(n/2) || kinds["file"] != float64(n/4) {
			t.Fatalf("not what it holds: %v", process)
		}
		return
	}
	t.Fatal("the process is not there")
}
