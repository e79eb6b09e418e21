// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package test runs the built copenclose on the running kernel, as root.
//
// The environment says what to run (COPENCLOSE, TRIGGER, TRIGGER32; by default
// what make builds), and in a VM of the kernel matrix what to expect of it
// (EXPECT_ATTACH, EXPECT_ATTACHES).
package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var (
	copenclose = fromEnvironment("COPENCLOSE", "../bin/copenclose")
	trigger64  = fromEnvironment("TRIGGER", "../build/test/trigger")
	trigger32  = fromEnvironment("TRIGGER32", "../build/test/trigger32")
)

func fromEnvironment(name, otherwise string) string {
	if path := os.Getenv(name); path != "" {
		return path
	}
	path, err := filepath.Abs(otherwise)
	if err != nil {
		panic(err)
	}
	return path
}

func TestMain(m *testing.M) {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "the end-to-end tests trace this kernel: run them as root, make test does")
		os.Exit(1)
	}
	status := m.Run()
	stopDocker()
	os.Exit(status)
}

// many is n, or less in a VM, where a call takes ten times as long.
func many(n int) int {
	if os.Getenv("COPENCLOSE_VM") != "" {
		return n / 5
	}
	return n
}

// patience is how long a test waits for what must come at once, on a machine
// that emulates another one and has more to do.
const patience = 60 * time.Second

// attachWays are the --attach options that this kernel takes, found by trying
// each. In the kernel matrix, auto must choose EXPECT_ATTACH, and those of
// EXPECT_ATTACHES must be among them.
var attachWays = sync.OnceValues(func() (ways []string, err error) {
	way, err := autoWay()
	if err != nil {
		return nil, err
	}
	if expected := os.Getenv("EXPECT_ATTACH"); expected != "" && way != expected {
		return nil, fmt.Errorf("auto chose %s here, expected %s\n%s", way, expected, whyNot("--attach", expected))
	}
	for _, way := range []string{"fentry", "kprobe", "tracepoint", "perf"} {
		if exec.Command(copenclose, "--attach", way, "--duration", "1ms").Run() == nil {
			ways = append(ways, way)
		}
	}
	for _, expected := range append(strings.Fields(os.Getenv("EXPECT_ATTACHES")), way) {
		if !slices.Contains(ways, expected) {
			return nil, fmt.Errorf("--attach %s fails here\n%s", expected, whyNot("--attach", expected))
		}
	}
	return ways, nil
})

// autoWay is the way that auto chooses here.
var autoWay = sync.OnceValues(func() (string, error) {
	said, err := exec.Command(copenclose, "--duration", "1ms").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s%s", err, said, whyNot())
	}
	chosen := readyLine.FindSubmatch(said)
	if chosen == nil {
		return "", fmt.Errorf("no line says how it is attached:\n%s", said)
	}
	return string(chosen[2]), nil
})

// whyNot is the end of what copenclose says of a failure, the verifier's words
// among it.
func whyNot(args ...string) string {
	said, _ := exec.Command(copenclose, append([]string{"--verbose", "--duration", "1ms"}, args...)...).CombinedOutput()
	lines := strings.SplitAfter(string(said), "\n")
	return "...\n" + strings.Join(lines[max(0, len(lines)-40):], "")
}

// everyWay runs test for each way to attach, and for each kind of buffer that which
// is chosen here; eachAttach for each way to attach alone, and autoAttach for that
// which is chosen: what a test is about decides, since in a VM each start takes
// seconds. The way and the buffer have nothing to do with each other.
func everyWay(t *testing.T, test func(t *testing.T, options ...string)) {
	t.Helper()
	eachAttach(t, test)
	way, err := autoWay()
	if err != nil {
		t.Fatal(err)
	}
	runWay(t, way, "perf", test)
}

func eachAttach(t *testing.T, test func(t *testing.T, options ...string)) {
	t.Helper()
	ways, err := attachWays()
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range ways {
		runWay(t, way, "ring", test)
	}
}

// onceInVM returns attach, or inside a VM autoAttach: for what is not about how calls are
// caught.
func onceInVM(attach attaching) attaching {
	if os.Getenv("COPENCLOSE_VM") != "" {
		return autoAttach
	}
	return attach
}

// attaching runs a test for ways to attach, which it hands over as options.
type attaching func(t *testing.T, test func(t *testing.T, options ...string))

// Inside a VM autoAttach does not take fentry, which attaches some thirty programs and
// takes ten seconds there. TestVerifies and eachAttach have it.
func autoAttach(t *testing.T, test func(t *testing.T, options ...string)) {
	if os.Getenv("COPENCLOSE_VM") != "" && os.Getenv("EXPECT_ATTACH") == "fentry" {
		test(t, "--attach", "tracepoint")
		return
	}
	test(t)
}

func runWay(t *testing.T, way, buffer string, test func(t *testing.T, options ...string)) {
	t.Run(way+"/"+buffer, func(t *testing.T) { test(t, "--attach", way, "--buffer", buffer) })
}

// run is a running copenclose.
type run struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout *lines
	stderr *lines
	exited chan struct{}
	isJSON bool
}

var readyLine = regexp.MustCompile(`copenclose: tracing (.*) \((\w+), (\w+) buffer\)`)

// start runs copenclose and returns when every program is attached.
func start(t *testing.T, args ...string) *run {
	t.Helper()
	return startTo(t, nil, args...)
}

// startTo is start with another stdout than run.stdout.
func startTo(t *testing.T, stdout io.Writer, args ...string) *run {
	t.Helper()
	return startProgram(t, stdout, []string{copenclose}, args...)
}

// publicDir is t.TempDir, where every user may look.
func publicDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// startProgram is startTo for a program that runs copenclose, as setpriv does.
func startProgram(t *testing.T, stdout io.Writer, program []string, args ...string) *run {
	t.Helper()
	// The ready file is a FIFO: to open it waits for the tool to open it, too.
	ready := filepath.Join(publicDir(t), "ready")
	if err := errors.Join(unix.Mkfifo(ready, 0o600), os.Chmod(ready, 0o666)); err != nil {
		t.Fatal(err)
	}
	r := &run{t: t, stdout: newLines(), stderr: newLines(), exited: make(chan struct{}), isJSON: slices.Contains(args, "json")}
	r.cmd = exec.Command(program[0], slices.Concat(program[1:], []string{"--ready-file", ready}, args)...)
	r.cmd.Stdout = r.stdout
	if stdout != nil {
		r.cmd.Stdout = stdout
	}
	r.cmd.Stderr = r.stderr
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		<-r.exited
	})
	go func() {
		_ = r.cmd.Wait()
		close(r.exited)
		// Should it have ended before it was ready, nobody waits for ever.
		if f, err := os.OpenFile(ready, os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
			f.Close()
		}
	}()
	if f, err := os.Open(ready); err == nil {
		f.Close()
	}
	select {
	case <-r.exited:
		t.Fatalf("copenclose %s ended before it was ready: %s\n%s%s", strings.Join(args, " "), r.cmd.ProcessState, r.stderr, whyNot(args...))
	default:
	}
	m := r.stderr.await(t, readyLine)
	t.Logf("attach=%s buffer=%s", m[2], m[3])
	return r
}

// result is what copenclose left when it had ended.
type result struct {
	header                  string
	rows                    []row   // of a table
	events                  []event // of JSON
	shown, filtered, lost   int
	missed, unshown         int
	status                  int
	stdout, stderr, summary string
}

var summaryLine = regexp.MustCompile(`(?m)^copenclose: (\d+) events? shown, (\d+) filtered, (\d+) lost(?:, \d+ over the rate)?(?:, at most (\d+) missed)?(?:, \d+ processes not followed)?(?:, (\d+) recorded but not written)?$`)

// stop ends it as Ctrl-C does.
func (r *run) stop() result {
	r.t.Helper()
	r.signal(unix.SIGINT)
	return r.wait()
}

func (r *run) signal(s syscall.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatalf("send %s to copenclose: %v\n%s", s, err, r.stderr)
	}
}

// wait waits for its end, and checks what is true of every run: it ends with
// status 0, what it counted adds up, and it did not trace itself.
func (r *run) wait() result {
	r.t.Helper()
	select {
	case <-r.exited:
	case <-time.After(patience):
		r.t.Fatalf("copenclose does not end\n%s", r.stderr)
	}
	res := result{status: r.cmd.ProcessState.ExitCode(), stdout: r.stdout.String(), stderr: r.stderr.String()}
	if res.status != 0 {
		r.t.Fatalf("copenclose ended with %s\n%s", r.cmd.ProcessState, res.stderr)
	}
	m := summaryLine.FindStringSubmatch(res.stderr)
	if m == nil {
		r.t.Fatalf("no summary on stderr:\n%s", res.stderr)
	}
	res.summary = m[0]
	for i, n := range []*int{&res.shown, &res.filtered, &res.lost, &res.missed, &res.unshown} {
		*n, _ = strconv.Atoi(m[i+1])
	}
	if res.missed > 0 {
		r.t.Log(res.summary)
	}
	if r.cmd.Stdout != io.Writer(r.stdout) {
		return res
	}
	if r.isJSON {
		res.events = parseJSON(r.t, res.stdout)
		for _, e := range res.events {
			if e.number("pid") == r.cmd.Process.Pid {
				r.t.Fatalf("it traced itself: %v", e)
			}
		}
		if len(res.events) != res.shown {
			r.t.Fatalf("%d events, but the summary says: %s", len(res.events), res.summary)
		}
		return res
	}
	header, body, _ := strings.Cut(res.stdout, "\n")
	res.header = header
	for line := range strings.Lines(body) {
		one, err := parseRow(strings.TrimSuffix(line, "\n"))
		if err != nil {
			r.t.Fatal(err)
		}
		if one.pid == r.cmd.Process.Pid {
			r.t.Fatalf("it traced itself: %s", line)
		}
		res.rows = append(res.rows, one)
	}
	if len(res.rows) != res.shown {
		r.t.Fatalf("%d rows, but the summary says: %s", len(res.rows), res.summary)
	}
	return res
}

// missesCalls reports whether calls were missed in a way that can miss them on this
// kernel, as the tool said at its start.
func (res result) missesCalls() bool {
	return res.missed > 0 && strings.Contains(res.stderr, "\ncopenclose: calls can be missed with --attach ")
}

// row is a line of either table.
type row struct {
	time          time.Time
	container     string // hostname or cgroup id
	pid, uid, gid int
	syscall, comm string
}

func parseRow(line string) (row, error) {
	f := strings.Fields(line)
	if len(f) < 7 {
		return row{}, fmt.Errorf("not a row of the table: %q", line)
	}
	when, err := time.Parse(time.RFC3339, f[0])
	pid, err1 := strconv.Atoi(f[2])
	uid, err2 := strconv.Atoi(f[3])
	gid, err3 := strconv.Atoi(f[4])
	if err := errors.Join(err, err1, err2, err3); err != nil {
		return row{}, fmt.Errorf("not a row of the table: %q: %w", line, err)
	}
	return row{when, f[1], pid, uid, gid, f[5], strings.Join(f[6:], " ")}, nil
}

// event is a line of JSON.
type event map[string]any

func parseJSON(t *testing.T, text string) (events []event) {
	t.Helper()
	for line := range strings.Lines(text) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("not a line of JSON: %q: %v", line, err)
		}
		events = append(events, e)
	}
	return events
}

// number is what an event has under a key that is a number, -1 without it.
func (e event) number(key string) int {
	if n, ok := e[key].(float64); ok {
		return int(n)
	}
	return -1
}

// text is what an event has under a key that is a string, "" without it.
func (e event) text(key string) string {
	s, _ := e[key].(string)
	return s
}

// of are the rows of one process, from when it had become comm.
func (res result) of(pid int, comm string) []row {
	return slices.DeleteFunc(slices.Clone(res.rows), func(r row) bool { return r.pid != pid || r.comm != comm })
}

func syscalls(rows []row) (names []string) {
	for _, r := range rows {
		names = append(names, r.syscall)
	}
	return names
}

// traced is a trigger program that ran, and what it says it did.
type traced struct {
	pid  int
	comm string
	did  []string // syscalls, in order
}

// trigger runs a trigger program to its end. setup may change how it is started.
func trigger(t *testing.T, program string, setup func(*exec.Cmd), args ...string) traced {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	if setup != nil {
		setup(cmd)
	}
	said, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	d := traced{pid: cmd.Process.Pid, comm: filepath.Base(program)}
	for line := range strings.Lines(string(said)) {
		d.did = append(d.did, strings.Fields(line)[0])
	}
	return d
}

// asUser starts a program as another user.
func asUser(id uint32) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
	}
}

// inPIDNamespace starts a program as a container does: as the first process of
// its own PID namespace, and of its own UTS namespace.
func inPIDNamespace(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWUTS}
}

// busyHost keeps the host opening and closing files until the test is over, some
// thousand times a second.
func busyHost(t *testing.T) (pid int) {
	t.Helper()
	cmd := exec.Command(trigger64, "busy")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

// lines collects what is written to it; a test can wait for a line.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	more *sync.Cond
}

func newLines() *lines {
	l := &lines{}
	l.more = sync.NewCond(&l.mu)
	return l
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.more.Broadcast()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await returns the first match, or fails the test when none comes.
func (l *lines) await(t *testing.T, re *regexp.Regexp) []string {
	t.Helper()
	late := false
	timer := time.AfterFunc(patience, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		late = true
		l.more.Broadcast()
	})
	defer timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if m := re.FindStringSubmatch(l.text.String()); m != nil {
			return m
		}
		if late {
			t.Fatalf("no %q in:\n%s", re, l.text.String())
		}
		l.more.Wait()
	}
}

// firstLine reads one line of r.
func firstLine(r io.Reader) (string, error) { return bufio.NewReader(r).ReadString('\n') }

// keepSettings restores settings of the whole machine, by their names below /proc/sys, when
// the test is over.
func keepSettings(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		file := "/proc/sys/" + name
		before, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.WriteFile(file, before, 0o644); err != nil {
				t.Error(err)
			}
		})
	}
}
