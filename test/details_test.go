// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/docs"
	"github.com/copenclose/copenclose/internal/conform"
)

// realTempDir is a folder by the path that the kernel would tell.
func realTempDir(t *testing.T) string {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// validate checks lines against the schema.
func validate(t *testing.T, lines string) {
	t.Helper()
	conform.Lines(t, docs.EventSchema, []byte(lines))
}

// --full-path shows in a table the file that was opened, however it was called.
func TestFullPath(t *testing.T) {
	onceInVM(eachAttach)(t, func(t *testing.T, options ...string) {
		table := newLines()
		r := startTo(t, table, append(options, "--columns", "pid,fd,detail", "--full-path", "--syscall", "open")...)
		dir := realTempDir(t)
		cmd := exec.Command(trigger64, "details", dir)
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		res := r.stop()
		var paths []string
		for line := range strings.Lines(table.String()) {
			cells := strings.Fields(line)
			if cells[0] == strconv.Itoa(cmd.Process.Pid) && cells[1] != "-" { // it succeeded
				paths = append(paths, cells[2])
			}
		}
		file := dir + "/file"
		want := []string{file, dir, file, file, "/dev/null", "/dev/zero"}
		if runtime.GOARCH == "amd64" { // open and creat
			want = slices.Insert(want, 4, file, dir+"/made")
		}
		if !accountsFor(paths, want, res.missed) {
			t.Errorf("opened %q\nwant   %q\n%s", paths, want, res.summary)
		}
	})
}

// A file deep in the tree is closed under its whole path, or on older kernels
// under the end of it, which says so.
func TestDeepPath(t *testing.T) {
	onceInVM(eachAttach)(t, func(t *testing.T, options ...string) {
		path := filepath.Join(realTempDir(t), strings.Repeat("d/", 300))
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(path, "file")
		r := start(t, append(options, "-o", "json", "--syscall", "close", "--pid", strconv.Itoa(os.Getpid()))...)
		for range 5 { // the kernel may miss one
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
		res := r.stop()
		i := slices.IndexFunc(res.events, func(e event) bool { return strings.HasSuffix(e.text("path"), "/d/file") })
		if i < 0 {
			t.Fatalf("no close of it: %s", res.summary)
		}
		shown, truncated := res.events[i].text("path"), res.events[i]["truncated"] == true
		switch iterates := kernelFrom(t, 6, 4); {
		case iterates && (shown != path || truncated):
			t.Errorf("closed %q, truncated: %t; want %q", shown, truncated, path)
		case !iterates && (!truncated || len(shown) < 100 || !strings.HasSuffix(path, shown)):
			t.Errorf("closed %q, truncated: %t; want the end of %q", shown, truncated, path)
		}
	})
}

// kernelFrom reports whether the kernel has this version or a later one.
func kernelFrom(t *testing.T, major, minor int) bool {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	var is [2]int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &is[0], &is[1]); err != nil {
		t.Fatal(err)
	}
	return slices.Compare(is[:], []int{major, minor}) >= 0
}

// Each filter lets through what it says and nothing else, alone and with others.
func TestFilters(t *testing.T) {
	autoAttach(t, func(t *testing.T, options ...string) {
		other := busyHost(t)
		own := strconv.Itoa(os.Getpid())
		for _, c := range []struct {
			filter []string
			want   func(e event) bool
		}{
			{[]string{"--pid", own + "," + strconv.Itoa(other)}, func(e event) bool { return e.number("pid") == os.Getpid() || e.number("pid") == other }},
			{[]string{"--tid", strconv.Itoa(other)}, func(e event) bool { return e.number("tid") == other }},
			{[]string{"--uid", "4242,4343"}, func(e event) bool { return e.number("uid") == 4242 }},
			{[]string{"--gid", "4242", "-s", "!connect"}, func(e event) bool { return e.number("gid") == 4242 && e.text("syscall") != "connect" }},
			{[]string{"--comm", "x,trigger3*"}, func(e event) bool { return e.text("comm") == "trigger32" }},
			{[]string{"--errno", "ENOENT,ebadf"}, func(e event) bool { return e.text("error") == "ENOENT" || e.text("error") == "EBADF" }},
			{[]string{"--path", "/dev/nul,/none", "-n", "trigger32"}, func(e event) bool { return e.text("path") == "/dev/null" || e.text("path") == "/nonexistent" }},
			{[]string{"--syscall", "close,!close_range", "-n", "trigger32"}, func(e event) bool { return e.text("syscall") == "close" }},
			{[]string{"-s", "!open,!close", "-n", "trigger32"}, func(e event) bool {
				return e.text("syscall") == "connect" || strings.HasPrefix(e.text("syscall"), "accept")
			}},
			{[]string{"-p", "!" + strconv.Itoa(other)}, func(e event) bool { return e.number("pid") != other }},
			{[]string{"-p", "!" + own, "--follow"}, func(e event) bool { return e.number("pid") != os.Getpid() && e.text("comm") != "trigger32" }},
			{[]string{"-n", "!trigger,!sh,!trig3*"}, func(e event) bool { return e.text("comm") != "trigger" }},
			{[]string{"-u", "!root"}, func(e event) bool { return e.number("uid") != 0 }},
			{[]string{"--errno", "!ENOENT,!9", "-n", "trigger32"}, func(e event) bool { return e.text("error") != "ENOENT" && e.text("error") != "EBADF" }},
			{[]string{"--path", "!/dev", "-n", "trigger32"}, func(e event) bool { return !strings.HasPrefix(e.text("path"), "/dev") }},
		} {
			t.Run(strings.Join(c.filter, " "), func(t *testing.T) {
				r := start(t, slices.Concat(options, []string{"-o", "json"}, c.filter)...)
				trigger(t, trigger32, asUser(4242), "calls")
				trigger(t, trigger32, nil, "calls")
				res := r.stop()
				if len(res.events) == 0 {
					t.Fatal("nothing passed")
				}
				for _, e := range res.events {
					if !c.want(e) {
						t.Fatalf("this passed: %v", e)
					}
				}
				if res.filtered == 0 && !strings.Contains(c.filter[0], "-s") {
					t.Error("nothing was filtered")
				}
			})
		}
	})
}

// What passes a filter is all that should: the counts of a known program.
func TestFiltersLetAllThrough(t *testing.T) {
	autoAttach(t, func(t *testing.T, options ...string) {
		busyHost(t)
		for filter, want := range map[string]int{
			"--comm=trigger32 --failed":         5,
			"--comm=trigger32 --path=/dev/null": 4,
			"--comm=trigger3":                   0,
			"--comm=trigger32 --uid=4242":       13,
			// Exceptions, alone and among others.
			"--comm=trigger32 --path=!/dev/null":          9,
			"--comm=trigger32 --path=/dev,!/dev/null":     0,
			"--comm=trigger32 --path=!/dev,/dev/null":     4,
			"--comm=trigger32 --path=!/dev,!/nonexistent": 7,
			"--comm=trigger32 --errno=!ENOENT":            11,
			"--comm=trigger32 --errno=!ENOENT --failed":   3,
			"--uid=4242 --comm=!trigger32":                0,
			"--uid=4242 --comm=!trig*,trigger32":          13,
			"--uid=4242 --comm=trig*,!trigger32":          0,
			"--comm=trigger32 --uid=!4242":                0,
			"--comm=trigger32 --uid=!4243,!0":             13,
			"--comm=trigger32 --gid=!4242,!0":             0,
		} {
			t.Run(filter, func(t *testing.T) {
				r := start(t, append(options, strings.Fields(filter)...)...)
				p := trigger(t, trigger32, asUser(4242), "calls")
				res := r.stop()
				if len(p.did) != 13 || len(res.rows) > want || len(res.rows)+res.missed < want {
					t.Errorf("%d of %d calls passed, want %d\n%s", len(res.rows), len(p.did), want, res.stdout)
				}
			})
		}
	})
}

// In a cgroup or below it.
func TestCgroupFilter(t *testing.T) {
	parent, err := os.MkdirTemp(cgroup2Mount(t), "copenclose-test-")
	if err != nil {
		t.Fatal(err)
	}
	child := filepath.Join(parent, "child")
	if err := os.Mkdir(child, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(child); os.Remove(parent) })
	id := strconv.FormatUint(inode(t, parent), 10)
	autoAttach(t, func(t *testing.T, options ...string) {
		busyHost(t)
		for _, cgroup := range []string{id, parent, "/" + filepath.Base(parent)} {
			r := start(t, append(options, "--cgroup", cgroup)...)
			p := trigger(t, trigger64, inCgroup(t, child), "calls")
			res := r.stop()
			if !accountsFor(syscalls(res.of(p.pid, p.comm)), p.did, res.missed) {
				t.Errorf("--cgroup %s: %v of %v; %s", cgroup, syscalls(res.of(p.pid, p.comm)), p.did, res.summary)
			}
			others := start(t, append(options, "--cgroup", "!"+cgroup)...)
			leftOut := trigger(t, trigger64, inCgroup(t, child), "calls")
			if res := others.stop(); len(res.of(leftOut.pid, leftOut.comm)) > 0 || len(res.rows) == 0 {
				t.Errorf("--cgroup !%s: %v of %d rows", cgroup, syscalls(res.of(leftOut.pid, leftOut.comm)), len(res.rows))
			}
			for _, row := range res.rows {
				if row.pid != p.pid {
					t.Errorf("--cgroup %s: not from there: %+v", cgroup, row)
				}
			}
		}
	})
}

// --follow adds the children of --pid, and theirs, and forgets them.
func TestFollow(t *testing.T) {
	autoAttach(t, func(t *testing.T, options ...string) {
		shell := exec.Command("sh", "-c", "read go; "+trigger64+" calls; ("+trigger64+" calls); :")
		stdin, err := shell.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := shell.Start(); err != nil {
			t.Fatal(err)
		}
		busyHost(t)
		r := start(t, append(options, "--follow", "--pid", strconv.Itoa(shell.Process.Pid), "--comm", "trigger")...)
		fmt.Fprintln(stdin, "go")
		if err := shell.Wait(); err != nil {
			t.Fatal(err)
		}
		res := r.stop()
		did := trigger(t, trigger64, nil, "calls").did
		if !accountsFor(syscalls(res.rows), slices.Concat(did, did), res.missed) {
			t.Errorf("%v are not twice %v; %s", syscalls(res.rows), did, res.summary)
		}
	})
}

// A command is traced from its first instruction, with its children and nothing
// else, and its status is ours.
func TestCommand(t *testing.T) {
	autoAttach(t, func(t *testing.T, options ...string) {
		busyHost(t)
		cmd := exec.Command(copenclose, slices.Concat(options, []string{"-o", "json", "--", "sh", "-c", trigger64 + " calls; exit 7"})...)
		var said strings.Builder
		cmd.Stderr = &said
		stdout, _ := cmd.Output()
		if cmd.ProcessState.ExitCode() != 7 {
			t.Fatalf("ended with %s, want 7\n%s", cmd.ProcessState, &said)
		}
		var did, seen []string
		for _, m := range regexp.MustCompile(`(?m)^(\w+) 64 -?\d+$`).FindAllStringSubmatch(said.String(), -1) {
			did = append(did, m[1])
		}
		for _, e := range parseJSON(t, string(stdout)) {
			switch e.text("comm") {
			case "trigger":
				seen = append(seen, e.text("syscall"))
			case "sh":
			default:
				t.Errorf("not of the command: %v", e)
			}
		}
		missed := 0
		if m := summaryLine.FindStringSubmatch(said.String()); m != nil {
			missed, _ = strconv.Atoi(m[4])
		}
		if len(did) == 0 || !accountsFor(seen, did, missed) {
			t.Errorf("made %v\nseen %v\n%s", did, seen, &said)
		}
	})
}

// The same calls with the same results as strace sees, thread by thread, in the
// same run: strace is the command, and what it traces is traced with it.
func TestLikeStrace(t *testing.T) {
	if os.Getenv("COPENCLOSE_VM") != "" {
		t.Skip("no strace inside a VM")
	}
	dir := realTempDir(t)
	source := filepath.Join(dir, "a.c")
	if err := os.WriteFile(source, []byte("#include <stdio.h>\nint main(void) { return puts(\"a\") < 0; }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{
		"git -C " + dir + " init -q repo",
		"python3 -c import\tsubprocess,socket;subprocess.run(['true'])",
		"curl -s http://127.0.0.1:1/",
		"gcc -o " + dir + "/a " + source,
		"tar -C /etc -cf " + dir + "/etc.tar hostname passwd nothing",
	} {
		words := strings.Split(strings.ReplaceAll(command, "\t", "\x00"), " ")
		for i := range words {
			words[i] = strings.ReplaceAll(words[i], "\x00", " ")
		}
		t.Run(words[0], func(t *testing.T) { likeStrace(t, words) })
	}
}

func likeStrace(t *testing.T, command []string) {
	traces := filepath.Join(t.TempDir(), "strace")
	cmd := exec.Command(copenclose, slices.Concat([]string{"-o", "json", "--buffer-size", "64M", "--",
		"strace", "-ff", "-o", traces, "-s", "4096", "-e", "signal=none",
		"-e", "trace=open,openat,openat2,creat,accept,accept4,connect,close,close_range"}, command)...)
	var said strings.Builder
	cmd.Stderr = &said
	stdout, _ := cmd.Output()
	if m := summaryLine.FindStringSubmatch(said.String()); m == nil || m[3] != "0" {
		t.Fatalf("events were lost, or it failed:\n%s", &said)
	}
	seen := make(map[string][]string)
	for _, e := range parseJSON(t, string(stdout)) {
		// What is no call to strace, or no close.
		more := e["outcome"] == true || strings.HasPrefix(e.text("syscall"), "dup")
		if e.text("comm") != "strace" && !more {
			tid := strconv.Itoa(e.number("tid"))
			seen[tid] = append(seen[tid], callOf(e))
		}
	}
	files, err := filepath.Glob(traces + ".*")
	if err != nil || len(files) == 0 {
		t.Fatalf("strace left nothing: %v\n%s", err, &said)
	}
	total := 0
	for _, file := range files {
		tid := strings.TrimPrefix(filepath.Ext(file), ".")
		calls := straceCalls(t, file)
		total += len(calls)
		if !slices.Equal(calls, seen[tid]) {
			t.Errorf("thread %s: strace says\n%s\nshown are\n%s", tid, strings.Join(calls, "\n"), strings.Join(seen[tid], "\n"))
		}
	}
	if total < 5 {
		t.Errorf("only %d calls in all", total)
	}
	t.Logf("%d calls of %d threads are the same", total, len(files))
}

// callOf is an event as straceCalls has it: syscall, path of an open or fd, result.
func callOf(e event) string {
	about := e.text("path")
	switch e.text("syscall") {
	case "close", "close_range", "connect", "accept", "accept4":
		about = strconv.Itoa(e.number("fd"))
	}
	result := e.text("error")
	if result == "" {
		result = strconv.Itoa(e.number("ret"))
	}
	return e.text("syscall") + " " + about + " " + result
}

var straceLine = regexp.MustCompile(`^(\w+)\((?:(?:(?:AT_FDCWD|\d+), )?"((?:[^"\\]|\\.)*)"|(-?\d+)).* = (?:\? (\w+)|-1 (\w+)|(-?\d+))`)

// straceCalls reads what strace -ff wrote of one thread.
func straceCalls(t *testing.T, file string) (calls []string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "+++ ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		m := straceLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("cannot read strace's %q", line)
		}
		about := m[3]
		if about == "" {
			if about, err = strconv.Unquote(`"` + m[2] + `"`); err != nil {
				t.Fatalf("cannot read strace's %q: %v", line, err)
			}
		}
		calls = append(calls, m[1]+" "+about+" "+m[4]+m[5]+m[6])
	}
	return calls
}
