// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
)

// needsURing skips a test where the kernel has no io_uring, or it is switched off.
func needsURing(t *testing.T) {
	t.Helper()
	if disabled, err := os.ReadFile("/proc/sys/kernel/io_uring_disabled"); err == nil && strings.TrimSpace(string(disabled)) == "2" {
		t.Skip("io_uring is switched off: kernel.io_uring_disabled is 2")
	}
	// With nothing to set up it fails otherwise where it exists.
	if _, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 0, 0, 0); errno == unix.ENOSYS {
		t.Skip("this kernel has no io_uring")
	}
}

// ring is what TestRequests and those below are about.
var ring = subject{"requests", true, 100}

// What requests of io_uring do is shown as what calls do, whoever does it. The programs
// for it are the same whatever the way to attach.
func TestRequests(t *testing.T) {
	needsURing(t)
	autoAttach(t, func(t *testing.T, options ...string) {
		performAll(t, []subject{ring}, options)
	})
}

// Filters hold for requests: who submitted them, and what came of them.
func TestFilteredRequests(t *testing.T) {
	needsURing(t)
	autoAttach(t, func(t *testing.T, options ...string) {
		for _, c := range []struct {
			filter string
			want   func(e event) bool
		}{
			{"--failed", func(e event) bool { return e.text("error") != "" }},
			{"--errno ENOENT,ECANCELED", func(e event) bool { return e.text("error") == "ENOENT" || e.text("error") == "ECANCELED" }},
			{"--errno !EBADF", func(e event) bool { return e.text("error") != "EBADF" }},
			{"-s accept,connect", func(e event) bool { return e.text("syscall") == "accept4" || e.text("syscall") == "connect" }},
			{"--uid 0 --gid 0 --tid !1", func(event) bool { return true }},
			{"--follow --pid " + strconv.Itoa(os.Getpid()), func(event) bool { return true }},
			{"-s openat2", func(e event) bool { return e.text("syscall") == "openat2" }},
			{"-s openat --path " + os.TempDir(), func(e event) bool {
				return e.text("syscall") == "openat" && strings.HasPrefix(e.text("path"), os.TempDir())
			}},
			{"-s openat --path !" + os.TempDir(), func(e event) bool {
				return e.text("syscall") == "openat" && !strings.HasPrefix(e.text("path"), os.TempDir())
			}},
		} {
			t.Run(c.filter, func(t *testing.T) {
				// The thread that polls is known by the name of its process.
				r := start(t, slices.Concat(options, []string{"-o", "json", "--latency", "--comm", "trigger"}, strings.Fields(c.filter))...)
				p := perform(t, trigger64, ring)
				res := r.stop()
				want := slices.DeleteFunc(slices.Clone(p.did), func(e event) bool { return !c.want(e) })
				if err := compareSaid(ofThose(res.events, p.did), want); err != nil {
					t.Errorf("%v\n%s", err, res.summary)
				}
			})
		}
	})
}

// Filters of who makes a call hold for who submits a request, whoever completes it; others,
// who do the same, are not shown.
func TestRequestsOfOthers(t *testing.T) {
	needsURing(t)
	dir, id := fakeContainer(t, "c")
	inContainer := inCgroup(t, dir)
	group := func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Gid: nobodyElse}}
	}
	filters := []struct {
		filter string
		passes func(*exec.Cmd) // starts what passes; nil where nothing does
	}{
		{"--comm trigger --gid " + strconv.Itoa(nobodyElse), group},
		{"-c " + id, inContainer},
		{"--cgroup " + dir, inContainer},
		{"-I", inContainer},
		{"--uid " + strconv.Itoa(nobodyElse), nil},
		{"--comm nothing", nil},
		{"--pid 1", nil},
		{"--tid 1", nil},
	}
	if os.Getenv("COPENCLOSE_VM") != "" {
		filters = filters[:2] // to start takes seconds there
	}
	autoAttach(t, func(t *testing.T, options ...string) {
		for _, f := range filters {
			t.Run(f.filter, func(t *testing.T) {
				r := start(t, slices.Concat(options, strings.Fields(f.filter), []string{"-o", "json", "--latency"})...)
				var own said
				if f.passes != nil {
					own = performIn(t, trigger64, ring, f.passes)
				}
				others := perform(t, trigger64, ring)
				res := r.stop()
				if shown := ofThose(res.events, others.did); len(shown) > 0 {
					t.Errorf("%d rows of others, the first is %v", len(shown), shown[0])
				}
				if f.passes == nil {
					return
				}
				if err := compareSaid(ofThose(res.events, own.did), own.did); err != nil {
					t.Errorf("%v\n%s", err, res.summary)
				}
			})
		}
	})
}

// A command's requests are shown, as are those of a process that is followed; also where a
// thread of the kernel takes them.
func TestRequestsOfCommand(t *testing.T) {
	needsURing(t)
	autoAttach(t, func(t *testing.T, options ...string) {
		cmd := exec.Command(copenclose, slices.Concat(options, []string{"-o", "json", "--latency", "--", trigger64, ring.name, realTempDir(t)})...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		stdout, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, &stderr)
		}
		shown := parseJSON(t, string(stdout))
		// What the command says goes where the tool's own lines do.
		var did []event
		for line := range strings.Lines(stderr.String()) {
			if strings.HasPrefix(line, "{") {
				did = append(did, parseJSON(t, line)...)
			}
		}
		did = shownHere(t, did)
		if err := compareSaid(shown, did); err != nil {
			t.Errorf("%v\n%s", err, &stderr)
		}
	})
}

// What is over the rate is counted as that of who submitted it, in whatever task it
// completes; others' requests are shown.
func TestRateOfRequests(t *testing.T) {
	needsURing(t)
	const perSecond, burst = 20, 200
	flooding, floodID := fakeContainer(t, "0a")
	quiet, _ := fakeContainer(t, "0b")
	autoAttach(t, func(t *testing.T, options ...string) {
		for _, how := range []string{"unpolled", "polled"} {
			t.Run(how, func(t *testing.T) {
				pairs, summaryFile := many(5000), filepath.Join(t.TempDir(), "summary")
				r := start(t, append(slices.Clone(options), "-s", "openat,close", "--rate", fmt.Sprintf("%d/%d", perSecond, burst), "--summary-json", summaryFile)...)
				began := time.Now()
				flood := requestPairs(t, flooding, pairs, how)
				took := time.Since(began)
				little := requestPairs(t, quiet, burst/4, how)
				res := r.stop()
				sum := readSummary(t, summaryFile)
				missed := int(sum.Missed)
				// Its own calls, as it starts, are some rows of each.
				if rows, did := len(res.of(little, "trigger")), 2*(burst/4); rows+missed < did {
					t.Errorf("%d of the quiet container's %d requests are shown; %s", rows, did, res.summary)
				}
				rows := len(res.of(flood, "trigger"))
				if most := burst + int(took.Seconds()*perSecond) + perSecond; rows+missed < burst || rows > most {
					t.Errorf("%d requests of the flood are shown, want %d to %d; %s", rows, burst, most, res.summary)
				}
				if of := sum.of(inode(t, flooding)); of.ID != floodID || rows+int(of.Limited)+missed < 2*pairs || int(of.Limited) < pairs {
					t.Errorf("%d rows and %+v of %d requests; %s", rows, of, 2*pairs, res.summary)
				}
				if of := sum.of(inode(t, quiet)); of.Limited+of.Lost > 0 {
					t.Errorf("of the quiet container %+v; %s", of, res.summary)
				}
			})
		}
	})
}

// requestPairs opens and closes in a ring, in a cgroup, and returns whose requests they are.
func requestPairs(t *testing.T, cgroup string, n int, how string) (pid int) {
	t.Helper()
	cmd := exec.Command(trigger64, "request-pairs", "/dev/null", strconv.Itoa(n), how)
	inCgroup(t, cgroup)(cmd)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

// Requests are counted, each once, in the container of who submitted them.
func TestRequestsAreCounted(t *testing.T) {
	needsURing(t)
	dir, id := fakeContainer(t, "e")
	did := make(map[string]int)
	s, misses := summarize(t, func() {
		for _, e := range performIn(t, trigger64, ring, inCgroup(t, dir)).did {
			if e["_again"] != true && e["outcome"] != true {
				did[e.text("syscall")+" "+e.text("error")]++
			}
		}
	}, "--by", "container,syscall,errno")
	got := make(map[string]int)
	for _, row := range s.Rows {
		if row.Container != nil && row.Container.ID == id {
			got[row.Syscall+" "+row.Error] += row.Calls
		}
	}
	for call, n := range did {
		// A failure of which it was not known whether it would be one counts as none.
		if got[call] != n && !(misses && got[call] < n) {
			t.Errorf("%s: %d, want %d", call, got[call], n)
		}
	}
	if len(did) < 8 {
		t.Errorf("only %v was done", did)
	}
}

// Without details, and through either buffer, there are the same rows.
func TestRequestsInTheTable(t *testing.T) {
	needsURing(t)
	way, err := autoWay()
	if err != nil {
		t.Fatal(err)
	}
	for _, buffer := range []string{"ring", "perf"} {
		runWay(t, way, buffer, func(t *testing.T, options ...string) {
			r := start(t, append(options, "-s", "openat,openat2,close,accept,connect")...)
			p := perform(t, trigger64, ring)
			res := r.stop()
			counts := make(map[string]int)
			pid := p.did[0].number("pid")
			for _, e := range p.did {
				if e["outcome"] != true {
					counts[e.text("syscall")]++
				}
			}
			for _, row := range res.rows {
				if row.pid == pid && row.comm != "e2e.test" {
					counts[row.syscall]--
				}
			}
			for syscall, n := range counts {
				if n != 0 && !(n > 0 && n <= res.missed) {
					t.Errorf("%d rows of %s are missing; %s", n, syscall, res.summary)
				}
			}
		})
	}
}

// Whoever keeps how many requests waiting: those of others are shown. What loses its
// place is counted as lost.
func TestHangingRequests(t *testing.T) {
	needsURing(t)
	const more = 500
	autoAttach(t, func(t *testing.T, options ...string) {
		r := start(t, append(options, "-o", "json", "--latency", "--buffer-size", "32M")...)
		hang := exec.Command(trigger64, "requests-hang", strconv.Itoa(bpf.RequestsMax+more))
		hang.Stderr = os.Stderr
		asUser(nobodyElse)(hang)
		stdin, err1 := hang.StdinPipe()
		stdout, err2 := hang.StdoutPipe()
		if err := errors.Join(err1, err2, hang.Start()); err != nil {
			t.Fatal(err)
		}
		if line, err := firstLine(stdout); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		p := perform(t, trigger64, ring)
		stdin.Close()
		if err := hang.Wait(); err != nil {
			t.Error(err)
		}
		res := r.stop()
		if err := compareSaid(res.events, p.did); err != nil {
			t.Error(err)
		}
		if res.lost < more {
			t.Errorf("%d were lost, want %d at least; %s", res.lost, more, res.summary)
		}
	})
}
