// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What --program says of rows, beside what the processes were started as.

func TestWhoCalls(t *testing.T) {
	autoAttach(t, whoCalls)
}

func TestWhoCallsPerf(t *testing.T) {
	autoAttach(t, func(t *testing.T, options ...string) { whoCalls(t, append(options, "--buffer", "perf")...) })
}

// real is the executable that runs for a path.
func real(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// shell is a shell that does what it reads, and says when it has done it.
type shell struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func startShell(t *testing.T, args ...string) *shell {
	t.Helper()
	s := &shell{t: t, cmd: exec.Command("/bin/sh", append([]string{"-c", `while read -r line; do eval "$line"; echo done; done`}, args...)...)}
	in, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.in, s.out = in, bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = s.cmd.Wait() })
	return s
}

func (s *shell) do(line string) {
	s.t.Helper()
	if _, err := io.WriteString(s.in, line+"\n"); err != nil {
		s.t.Fatal(err)
	}
	if answer, err := s.out.ReadString('\n'); err != nil || answer != "done\n" {
		s.t.Fatalf("the shell says %q: %v", answer, err)
	}
}

func whoCalls(t *testing.T, options ...string) {
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sh, cat, true_ := real(t, "/bin/sh"), real(t, "/bin/cat"), real(t, "/bin/true")
	tester := fmt.Sprint(os.Getpid(), " ", real(t, me))
	loop := many(200)

	before := startShell(t, "it's")
	before.do(":") // so that it has executed the shell, and waits
	r := start(t, append(options, "-o", "json", "--program", "-s", "openat", "--path", "/dev/,/etc/", "--no-runtime")...)
	before.do(": </dev/null")                    // the shell itself
	before.do("(: </dev/zero)")                  // a fork without an exec
	before.do("/bin/cat /etc/passwd >/dev/null") // a fork with one
	short := exec.Command("/bin/sh", "-c", fmt.Sprintf(`i=0; while [ $i -lt %d ]; do /bin/true "$i"; i=$((i+1)); done`, loop))
	turns := exec.Command("/bin/sh", "-c", ": </dev/zero; exec /bin/cat /dev/null")
	for _, cmd := range []*exec.Cmd{short, turns} {
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
	}
	res := r.stop()
	validate(t, res.stdout)
	if res.missesCalls() {
		t.Skip("calls were missed")
	}

	first := `/bin/sh -c 'while read -r line; do eval "$line"; echo done; done' 'it'\''s'`
	shellPID, turnsPID, shortPID := before.cmd.Process.Pid, turns.Process.Pid, short.Process.Pid
	want := map[string]int{
		fmt.Sprintf("/dev/null %s | %s | %s", sh, first, tester):                                          2, // once for cat's stdout
		fmt.Sprintf("/dev/zero %s | %s | %d %s, %s", sh, first, shellPID, sh, tester):                     1,
		fmt.Sprintf("/etc/passwd %s | /bin/cat /etc/passwd | %d %s, %s", cat, shellPID, sh, tester):       1,
		fmt.Sprintf("/dev/zero %s | /bin/sh -c ': </dev/zero; exec /bin/cat /dev/null' | %s", sh, tester): 1,
		fmt.Sprintf("/dev/null %s | /bin/cat /dev/null | %s", cat, tester):                                1,
	}
	got := make(map[string]int)
	trues := make(map[int]bool)
	for _, e := range res.events {
		pid, parents := e.number("pid"), parentsOf(e)
		of := strings.Join(parents[:min(2, len(parents))], ", ")
		switch path := e.text("path"); {
		case pid == shellPID || pid == turnsPID || e.number("ppid") == shellPID:
			if path != "/dev/null" && path != "/dev/zero" && path != "/etc/passwd" {
				break // what the linker and the C library open
			}
			if pid == shellPID || pid == turnsPID {
				of = parents[0]
			}
			// The output of the child is redirected between its fork and its exec.
			if path == "/dev/null" && e.number("ppid") == shellPID {
				of = parents[1]
			}
			got[fmt.Sprintf("%s %s | %s | %s", path, e.text("exe"), e.text("args"), of)]++
		case e.number("ppid") == shortPID:
			trues[pid] = true
			if e.text("exe") != true_ || !strings.HasPrefix(e.text("args"), "/bin/true ") || of != fmt.Sprintf("%d %s, %s", shortPID, sh, tester) {
				t.Fatalf("%v is not %s, of %d %s, %s", e, true_, shortPID, sh, tester)
			}
		}
	}
	for line, n := range want {
		if got[line] != n {
			t.Errorf("%d times %s", got[line], line)
		}
	}
	if t.Failed() || len(got) != len(want) {
		t.Errorf("shown are\n%s\n%s", strings.Join(slices.Sorted(maps.Keys(got)), "\n"), res.summary)
	}
	if len(trues) != loop {
		t.Errorf("%d of %d processes have rows\n%s", len(trues), loop, res.summary)
	}
}

// parentsOf are the parents that a row has, as "pid exe".
func parentsOf(e event) (parents []string) {
	list, _ := e["parents"].([]any)
	for _, p := range list {
		parent := event(p.(map[string]any))
		parents = append(parents, fmt.Sprint(parent.number("pid"), " ", parent.text("exe")))
	}
	return parents
}

// After records of forks and execs are lost, no row has a wrong program, and the second one
// of a process that is read has the right one.
func TestWhoCallsAfterLosses(t *testing.T) {
	for _, buffer := range []string{"ring", "perf"} {
		t.Run(buffer, func(t *testing.T) { whoCallsAfterLosses(t, "--buffer", buffer) })
	}
}

// renamed is a shell that says who it is: its name is what the file is called that was
// executed, its last argument, and the beginning of the names of files that it opens.
type renamed struct {
	*shell
	dir, name string
}

const renamedLoop = `while read -r line; do eval "$line"; echo done; done`

func startRenamed(t *testing.T, dir, name string) *renamed {
	t.Helper()
	s := &renamed{shell: startShell(t), dir: dir}
	s.do("export dir=" + dir + " loop='" + renamedLoop + "'")
	s.becomes(name)
	return s
}

// becomes executes another program in the same process.
func (s *renamed) becomes(name string) {
	s.t.Helper()
	if err := os.Link(filepath.Join(s.dir, "sh"), filepath.Join(s.dir, name)); err != nil && !os.IsExist(err) {
		s.t.Fatal(err)
	}
	s.do(fmt.Sprintf(`exec "$dir/%s" -c "echo done; $loop" %[1]s`, name))
	s.name = name
}

// opens opens a file that is called as it, and something more.
func (s *renamed) opens(more string) {
	s.t.Helper()
	s.do(`: >"$dir/opened/${0##*/}.` + more + `"`)
}

func whoCallsAfterLosses(t *testing.T, options ...string) {
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tester := fmt.Sprint(os.Getpid(), " ", real(t, me))
	const rounds = 2
	dir := publicDir(t)
	if err := os.Mkdir(filepath.Join(dir, "opened"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", real(t, "/bin/sh"), filepath.Join(dir, "sh")).CombinedOutput(); err != nil {
		t.Fatalf("copy the shell: %v\n%s", err, out)
	}
	one, before, filler := startRenamed(t, dir, "one"), startRenamed(t, dir, "before"), startShell(t)
	filler.do("long=$(printf %1000s x)")
	for _, s := range []*shell{one.shell, filler} { // on one CPU, so that they fill one perf buffer
		cpu := unix.CPUSet{1}
		if err := unix.SchedSetaffinity(s.cmd.Process.Pid, &cpu); err != nil {
			t.Fatal(err)
		}
	}
	r := start(t, append(options, "-o", "json", "--program", "-s", "openat", "--path", filepath.Join(dir, "opened")+"/",
		"--no-runtime", "--buffer-size", "64K")...)
	// while stops the tool, which reads nothing then.
	while := func(do func()) {
		r.signal(unix.SIGSTOP)
		awaitState(t, r.cmd.Process.Pid, 'T')
		do()
		r.signal(unix.SIGCONT)
	}
	fill := func() { filler.do(`i=0; while [ $i -lt 100 ]; do /bin/true "$long"; i=$((i+1)); done`) }
	// read has it read all that was recorded before.
	read := func(s *renamed, more string) {
		eventually(t, "a row of "+more, func() error {
			s.opens(more)
			if !strings.Contains(r.stdout.String(), "/"+s.name+"."+more+`"`) {
				return errors.New("there is none")
			}
			return nil
		})
	}
	for round := range rounds {
		number := fmt.Sprint(round)
		var young *renamed
		one.becomes("seen" + number)
		read(one, "known"+number)
		while(func() { fill(); one.becomes("lost" + number); young = startRenamed(t, dir, "young"+number) })
		read(before, "drained"+number)
		while(func() { one.opens("unknown"); fill(); one.becomes("later" + number) })
		for _, s := range []*renamed{before, one, young} {
			read(s, "first"+number)
			read(s, "known"+number+"-again")
		}
	}
	res := r.stop()
	validate(t, res.stdout)
	if lost := lostProcesses.FindStringSubmatch(res.stderr); lost == nil {
		t.Fatalf("no fork or exec was lost\n%s", res.stderr)
	} else {
		t.Logf("%s forks and execs were lost", lost[1])
	}
	unknown := 0
	for _, e := range res.events {
		name, more, _ := strings.Cut(filepath.Base(e.text("path")), ".")
		_, known := e["exe"]
		switch {
		case more == "unknown" && known:
			t.Errorf("the exec before this row was lost, and the one after it came before it was looked up: %v", e)
		case more == "unknown":
			unknown++
		case !known && strings.HasPrefix(more, "known"):
			t.Errorf("no program: %v", e)
		}
		inTime := e["args_truncated"] != true // else the arguments could not be read in 100 ms
		if known && (e.text("exe") != filepath.Join(dir, name) || inTime && !strings.HasSuffix(e.text("args"), " "+name)) {
			t.Errorf("%s is said to be %s %s", name, e.text("exe"), e.text("args"))
		}
		// What the parent runs is not known either, of a fork that was lost and an exec that was not.
		if known && !slices.Contains([]string{tester, fmt.Sprint(os.Getpid(), " ")}, parentsOf(e)[0]) {
			t.Errorf("not a child of %s: %v", tester, e)
		}
	}
	if unknown != rounds {
		t.Errorf("%d rows are from between two execs that were lost, want %d", unknown, rounds)
	}
}

var lostProcesses = regexp.MustCompile(`copenclose: lost (\d+) forks and execs`)
