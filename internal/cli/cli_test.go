// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/counting"
	"github.com/copenclose/copenclose/internal/stream"
	"github.com/copenclose/copenclose/internal/tracer"
)

// stub is a kernel that sends what a test says.
type stub struct {
	counting.Source // nil but where calls are counted
	cfg             tracer.Config
	attachErr       error
	startErr        error
	misses          string
	during          func(ctx context.Context, to stream.Records) error // nil waits for the end
	counts          stream.Counts
	countsErr       error
	closed          bool
	dropped         map[uint64]stream.Dropped
}

func (s *stub) attach(cfg tracer.Config) (kernel, error) {
	s.cfg = cfg
	if s.attachErr != nil {
		return (*stub)(nil), s.attachErr // as tracer.New does
	}
	return s, nil
}

func (s *stub) Start() error                                { return s.startErr }
func (s *stub) AttachMode() tracer.AttachMode               { return tracer.Fentry }
func (s *stub) Misses() string                              { return s.misses }
func (s *stub) HidesExecCloses() bool                       { return s.cfg.AllCloses }
func (s *stub) Buffer() tracer.BufferKind                   { return tracer.Ring }
func (s *stub) Syscalls() []bpf.Syscall                     { return bpf.Syscalls[:2] }
func (s *stub) ProcessesLost() uint32                       { return 0 }
func (s *stub) WakeOn(int)                                  {}
func (s *stub) Counts() (stream.Counts, error)              { return s.counts, s.countsErr }
func (s *stub) Dropped() (map[uint64]stream.Dropped, error) { return s.dropped, nil }
func (s *stub) Close()                                      { s.closed = true }
func (s *stub) SetVerdict(uint64, bpf.Verdict)              {}
func (s *stub) ForgetVerdict(uint64)                        {}
func (s *stub) VerdictsComplete()                           {}

func (s *stub) Run(ctx context.Context, to stream.Records) error {
	if s.during == nil {
		<-ctx.Done()
		return nil
	}
	return s.during(ctx, to)
}

// atOnce ends a trace at once.
func atOnce(context.Context, stream.Records) error { return nil }

// sends returns a trace of n events.
func sends(n int) func(context.Context, stream.Records) error {
	return func(_ context.Context, to stream.Records) error {
		for range n {
			var d bpf.Draft
			d.Comm, d.Hostname = "httpd", "web"
			d.PID, d.TID = 7, 7
			var r bpf.Record
			if err := r.View(d.Append(nil)); err != nil {
				return err
			}
			if err := to.Record(&r); err != nil {
				return errors.Join(err, to.Flush())
			}
		}
		return to.Flush()
	}
}

// result is how copenclose ended, and what it wrote.
type result struct {
	status         int
	stdout, stderr string
}

// run runs copenclose with a kernel that is s, or must not be used if it is nil.
func run(t *testing.T, s *stub, args ...string) result {
	t.Helper()
	return runTo(t, nil, s, args...)
}

func runTo(t *testing.T, stdout *os.File, s *stub, args ...string) result {
	t.Helper()
	attach := func(tracer.Config) (kernel, error) {
		t.Errorf("%q: traces", args)
		return nil, errors.New("no kernel")
	}
	if s != nil {
		attach = s.attach
	}
	out, said := file(t), file(t)
	if stdout == nil {
		stdout = out
	}
	one := tool{build: Build{Version: "1.2.3"}, stdout: stdout, stderr: said, attach: attach}
	status := one.main(args)
	return result{status, written(t, out), written(t, said)}
}

func file(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func written(t *testing.T, f *os.File) string {
	t.Helper()
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestVersion(t *testing.T) {
	for _, flag := range []string{"-V", "--version", "version"} {
		if r := run(t, nil, flag); r != (result{0, "copenclose 1.2.3\n", ""}) {
			t.Errorf("%s: %+v", flag, r)
		}
	}
	if b := (Build{"1.2.3", "abc"}); b.String() != "1.2.3 (commit abc)" {
		t.Errorf("%+v is shown as %s", b, b)
	}
}

func TestColumnsHelp(t *testing.T) {
	r := run(t, nil, "--columns", "help")
	if r.status != 0 || r.stderr != "" || !strings.Contains(r.stdout, "UTS node name") {
		t.Errorf("%+v", r)
	}
}

// --summary-json writes the counts that the summary has, for programs.
func TestSummaryJSON(t *testing.T) {
	file := filepath.Join(t.TempDir(), "summary")
	s := &stub{during: sends(3), counts: stream.Counts{Filtered: 4, Lost: 5, Missed: 6, Unfollowed: 7, Unread: 8}}
	r := run(t, s, "--summary-json", file)
	const want = `{"shown":3,"filtered":4,"lost":5,"over_rate":0,"missed_at_most":6,"processes_not_followed":7,"unwritten":8}` + "\n"
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("%s%v\n%+v", got, err, r)
	}
	r = run(t, nil, "--summary-json", "/nonexistent/summary")
	if r.status != exitUsage || !strings.HasPrefix(r.stderr, "copenclose: --summary-json: open /nonexistent/summary: no such file") {
		t.Errorf("%+v", r)
	}
}

// Each run has the values of its own command line.
func TestForgets(t *testing.T) {
	self := strconv.Itoa(os.Getpid())
	all := "-I -x -p " + self + " --follow --tid " + self + " -u 9 -g 10 -n nginx --path /etc/ -c !web -s close --errno ENOENT --columns pid,ret " +
		"--time unix --timestamp-precision ns --no-header -d 1ms --count 3 --attach kprobe --buffer perf --buffer-size 1M " +
		"--runtime-socket unix:///x -q --verbose=false"
	var configs []tracer.Config
	var results []result
	for _, args := range []string{"-d 1ms", all, "-d 1ms"} {
		s := &stub{during: sends(1)}
		results = append(results, run(t, s, strings.Fields(args)...))
		configs = append(configs, s.cfg)
	}
	if !reflect.DeepEqual(configs[0], configs[2]) || results[0] != results[2] {
		t.Errorf("first\n%+v\n%+v\nthird\n%+v\n%+v", configs[0], results[0], configs[2], results[2])
	}
	if reflect.DeepEqual(configs[0].Filter, configs[1].Filter) || results[0] == results[1] {
		t.Errorf("the options change nothing: %+v\n%+v", configs[1], results[1])
	}
}

// Cgroups are looked up when the command line is otherwise right.
func TestNoCgroup(t *testing.T) {
	r := run(t, nil, "--cgroup", "/no/such/cgroup")
	if r.status != 2 || !strings.HasPrefix(r.stderr, "copenclose: --cgroup /no/such/cgroup: ") || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("%+v", r)
	}
	if r := run(t, nil, "--cgroup", "/no/such/cgroup", "-qv"); !strings.Contains(r.stderr, "exclude each other") {
		t.Errorf("%+v", r)
	}
}

// The first -- ends the options, whatever the words are that follow.
func TestCommandIsCutOff(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "containers"), []byte("#!/bin/sh\necho \"$@\"\nexit 7\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	s := &stub{}
	r := run(t, s, "-q", "--", "containers", "-o", "--", "json")
	if r.status != 7 || !strings.Contains(r.stderr, "-o -- json\n") || strings.Contains(r.stderr, "copenclose") {
		t.Errorf("%+v", r)
	}
	if !s.cfg.Filter.Command || !s.cfg.Filter.FollowChildren {
		t.Errorf("%+v", s.cfg.Filter)
	}
}

func TestContainers(t *testing.T) {
	listed := run(t, nil, "containers", "-o", "json", "--no-runtime")
	if listed.status == 1 {
		t.Skip(listed.stderr) // no cgroup v2 here
	}
	for line := range strings.Lines(listed.stdout) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	// Its options may stand before it.
	table := run(t, nil, "--runtime-socket", filepath.Join(t.TempDir(), "none"), "containers")
	if listed.status != 0 || table.status != 0 || !strings.Contains(table.stdout, "CGROUPID") {
		t.Errorf("%+v\n%+v", listed, table)
	}
}

// What a kernel cannot show of all closes is said.
func TestHiddenExecCloses(t *testing.T) {
	r := run(t, &stub{during: atOnce}, "-o", "json", "--all-closes", "--no-runtime")
	if r.status != 0 || !strings.Contains(r.stderr, "copenclose: what an exec closes is not shown: that needs fentry or kernel 6.10\n") {
		t.Errorf("%+v", r)
	}
}

// A trace has a header and rows on stdout, and the rest on stderr.
func TestTrace(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	s := &stub{during: sends(3), misses: "preempt=full", counts: stream.Counts{Unread: 2}}
	r := run(t, s, "--columns", "pid,comm", "--ready-file", ready)
	want := result{0, "PID    COMM\n" + strings.Repeat("7      httpd\n", 3), "copenclose: tracing open, openat (fentry, ring buffer)\n" +
		"copenclose: calls can be missed with --attach fentry, because this kernel can preempt its own code: preempt=full\n" +
		"copenclose: 3 events shown, 0 filtered, 0 lost, 2 recorded but not written\n"}
	if r != want {
		t.Errorf("got  %+v\nwant %+v", r, want)
	}
	if _, err := os.Stat(ready); err != nil || !s.closed || s.cfg.Log != nil {
		t.Errorf("%v, %+v", err, s)
	}
}

// Whatever ends a trace as it was asked for is no failure.
func TestEnds(t *testing.T) {
	for args, s := range map[string]*stub{
		"--duration 1ms":  {},
		"--count 2":       {during: sends(5)},
		"-v":              {during: atOnce},
		"-I --no-runtime": {during: atOnce},
		"-o wide":         {during: func(context.Context, stream.Records) error { return unix.EPIPE }},
		"-x": {during: func(ctx context.Context, _ stream.Records) error {
			if err := unix.Kill(os.Getpid(), unix.SIGTERM); err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		}},
	} {
		r := run(t, s, strings.Fields(args)...)
		if r.status != 0 || !strings.Contains(r.stderr, " events shown, 0 filtered, 0 lost\n") || !s.closed {
			t.Errorf("%s: %+v", args, r)
		}
		if rows := strings.Count(r.stdout, "\n") - 1; args == "--count 2" && rows != 2 {
			t.Errorf("%s: %d rows", args, rows)
		}
		if verbose := s.cfg.Log != nil; verbose != (args == "-v") {
			t.Errorf("%s: verbose is %t", args, verbose)
		}
	}
}

func TestFailures(t *testing.T) {
	broken := errors.New("broken")
	fails := func(context.Context, stream.Records) error { return broken }
	for name, c := range map[string]struct {
		s      *stub
		args   string
		status int
	}{
		"attach":         {&stub{attachErr: broken}, "-q", 1},
		"start":          {&stub{startErr: broken}, "-q", 1},
		"run":            {&stub{during: fails}, "-q", 1},
		"counts":         {&stub{during: atOnce, countsErr: broken}, "-q", 1},
		"counts, status": {&stub{countsErr: broken}, "-q -- false", 1},
	} {
		r := run(t, c.s, strings.Fields(c.args)...)
		if r.status != c.status || r.stderr != "copenclose: broken\n" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	r := run(t, &stub{}, "-q", "--ready-file", "/no/such/directory/ready")
	if r.status != 1 || !strings.HasPrefix(r.stderr, "copenclose: create the ready file: open /no/such") {
		t.Errorf("%+v", r)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	if r := runTo(t, full, &stub{}, "-q"); r.status != 1 || r.stderr != "copenclose: write to stdout: write /dev/full: no space left on device\n" {
		t.Errorf("%+v", r)
	}
	// A program that is found, but cannot be run.
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/no/such/shell\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if r := run(t, &stub{}, "-q", "--", script); r.status != 127 || !strings.Contains(r.stderr, "run "+script+": the interpreter that it names: no such file") {
		t.Errorf("%+v", r)
	}
}

// A reader of stdout that went away before the header is none of our failures.
func TestClosedPipe(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	read.Close()
	if r := runTo(t, write, &stub{}); r != (result{}) {
		t.Errorf("%+v", r)
	}
}

// Losses are printed while they happen and at the end, also with --quiet.
func TestLosses(t *testing.T) {
	s := &stub{counts: stream.Counts{Lost: 5}, during: func(context.Context, stream.Records) error {
		time.Sleep(1500 * time.Millisecond)
		return nil
	}}
	r := run(t, s, "-q")
	if r.status != 0 || r.stderr != "copenclose: lost 5 events\ncopenclose: 0 events shown, 0 filtered, 5 lost\n" {
		t.Errorf("%+v", r)
	}
}

// The summary is a line that the end-to-end tests can read.
func TestSummary(t *testing.T) {
	line := regexp.MustCompile(`^(\d+) events? shown, (\d+) filtered, (\d+) lost(?:, at most (\d+) missed)?(?:, \d+ processes not followed)?(?:, (\d+) recorded but not written)?$`)
	for want, c := range map[string]struct {
		counts      stream.Counts
		shown, late uint64
	}{
		"0 events shown, 0 filtered, 0 lost":                             {},
		"1 event shown, 2 filtered, 3 lost":                              {stream.Counts{Filtered: 2, Lost: 3}, 1, 0},
		"1 event shown, 0 filtered, 0 lost, at most 4 missed":            {stream.Counts{Missed: 4}, 1, 0},
		"0 events shown, 0 filtered, 0 lost, 5 processes not followed":   {stream.Counts{Unfollowed: 5}, 0, 0},
		"0 events shown, 0 filtered, 0 lost, 6 recorded but not written": {stream.Counts{}, 0, 6},
		"1 event shown, 2 filtered, 3 lost, at most 4 missed, 5 processes not followed, 6 recorded but not written": {
			stream.Counts{Filtered: 2, Lost: 3, Missed: 4, Unfollowed: 5}, 1, 6},
	} {
		if got := newSummary(c.shown, c.counts, c.late).String(); got != want || !line.MatchString(got) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// Main is the same with the real kernel.
func TestMainRefuses(t *testing.T) {
	if os.Getenv("COPENCLOSE_MAIN") != "" {
		os.Exit(Main([]string{"copenclose", "-qv"}, Build{}))
	}
	self := exec.Command(os.Args[0], "-test.run=^TestMainRefuses$")
	self.Env = append(os.Environ(), "COPENCLOSE_MAIN=1")
	var said bytes.Buffer
	self.Stderr, self.Stdout = &said, io.Discard
	_ = self.Run()
	if self.ProcessState.ExitCode() != 2 || said.String() != "copenclose: --quiet and --verbose exclude each other\n" {
		t.Errorf("%s, %q", self.ProcessState, &said)
	}
}
