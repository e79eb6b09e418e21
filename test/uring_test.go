// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

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
			{"-s openat2", func(e event) bool { return e.text("syscall") == "openat2" }},
			{"-s openat --path " + os.TempDir(), func(e event) bool {
				return e.text("syscall") == "openat" && strings.HasPrefix(e.text("path"), os.TempDir())
			}},
			{"-s openat --path !" + os.TempDir(), func(e event) bool {
				return e.text("syscall") == "openat" && !strings.HasPrefix(e.text("path"), os.TempDir())
			}},
		} {
			t.Run(c.filter, func(t *testing.T) {
				filter := append([]string{"-o", "json", "--latency"}, strings.Fields(c.filter)...)
				if kernelFrom(t, 5, 11) { // before, the thread that polls has its own name
					filter = append(filter, "--comm", "trigger")
				}
				r := start(t, slices.Concat(options, filter)...)
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

// Who else does the same is not shown.
func TestRequestsOfOthers(t *testing.T) {
	needsURing(t)
	for _, filter := range []string{"--uid " + strconv.Itoa(nobodyElse), "--comm nothing", "--pid 1", "-I"} {
		r := start(t, append(strings.Fields(filter), "-o", "json")...)
		p := perform(t, trigger64, ring)
		if shown := ofThose(r.stop().events, p.did); len(shown) > 0 {
			t.Errorf("%s: %d rows, the first is %v", filter, len(shown), shown[0])
		}
	}
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
	r := start(t, "-o", "json", "--latency", "--buffer-size", "32M", "--comm", "trigger")
	hang := exec.Command(trigger64, "requests-hang", strconv.Itoa(bpf.RequestsMax+more))
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
}
