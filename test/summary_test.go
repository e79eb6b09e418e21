// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// summary is a report of copenclose summary -o json.
type summary struct {
	Account struct{ Counted, Filtered, Other, Lost, Missed int }
	Rows    []struct {
		Container  *struct{ ID string }
		Exe        string
		Syscall    string
		Error      string
		UID        *int
		Calls      int
		Failed     int
		Operations map[string]int
		Latency    *struct{ P50, P99 int } `json:"latency_ns"`
		Target     *struct {
			Text  string
			Error string
			Share float64
		}
	}
	Rest *struct {
		Rows, Calls, Failed int
		Operations          map[string]int
	}
}

// summarize runs copenclose summary while work is done, and returns its report.
func summarize(t *testing.T, work func(), args ...string) (s summary, missesCalls bool) {
	t.Helper()
	r := start(t, append([]string{"summary", "-o", "json", "--no-runtime"}, args...)...)
	work()
	r.signal(unix.SIGINT)
	<-r.exited
	if status := r.cmd.ProcessState.ExitCode(); status != 0 {
		t.Fatalf("status %d\n%s", status, r.stderr)
	}
	if err := json.Unmarshal([]byte(r.stdout.String()), &s); err != nil {
		t.Fatalf("%v\n%s", err, r.stdout.String())
	}
	return s, strings.Contains(r.stderr.String(), "calls can be missed with --attach ")
}

// fakeContainer makes a cgroup that is named as Docker names those of containers. digits
// are 1, 2, 4 or so, which its id has again and again.
func fakeContainer(t *testing.T, digits string) (dir, id string) {
	t.Helper()
	id = strings.Repeat(digits, 64/len(digits))
	dir = filepath.Join(cgroup2Mount(t), "docker-"+id+".scope")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Rmdir(dir) })
	return dir, id
}

// mixers run trigger's mix in two containers and outside, at the same time on all CPUs,
// and return what was done, as CONTAINER SYSCALL ERROR.
func mixers(t *testing.T, n int, ids map[string]string) (did map[string]int) {
	t.Helper()
	did = make(map[string]int)
	var running sync.WaitGroup
	defer running.Wait()
	for id, dir := range ids {
		for range 2 {
			cmd := exec.Command(trigger64, "mix", strconv.Itoa(n))
			asUser(nobodyElse)(cmd)
			if dir != "" {
				attr := cmd.SysProcAttr
				inCgroup(t, dir)(cmd)
				cmd.SysProcAttr.Credential = attr.Credential
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			running.Go(func() {
				if err := cmd.Wait(); err != nil {
					t.Error(err)
				}
			})
			for _, call := range []string{"openat ", "openat ENOENT", "openat ENOTDIR", "close ", "close EBADF"} {
				did[id+" "+call] += n
			}
		}
	}
	return did
}

// Sums are those of who made the calls, by container and error.
func TestSummary(t *testing.T) {
	eachAttach(t, func(t *testing.T, options ...string) {
		first, firstID := fakeContainer(t, "a")
		second, secondID := fakeContainer(t, "b")
		var did map[string]int
		s, misses := summarize(t, func() {
			did = mixers(t, many(5000), map[string]string{firstID: first, secondID: second, "": ""})
		}, append(options, "--by", "container,syscall,errno,exe,user", "--uid", strconv.Itoa(nobodyElse), "--latency")...)
		got, all := make(map[string]int), 0
		for _, row := range s.Rows {
			id := ""
			if row.Container != nil {
				id = row.Container.ID
			}
			got[id+" "+row.Syscall+" "+row.Error] += row.Calls
			all += row.Calls
			if filepath.Base(row.Exe) != "trigger" || row.UID == nil || *row.UID != nobodyElse ||
				row.Latency == nil || row.Latency.P50 <= 0 || row.Latency.P99 < row.Latency.P50 ||
				(row.Failed != 0) != (row.Error != "") {
				t.Errorf("%+v", row)
			}
		}
		made := 0
		for call, n := range did {
			made += n
			if got[call] != n && !(misses && got[call] < n) {
				t.Errorf("%s: %d, want %d", call, got[call], n)
			}
		}
		if a := s.Account; made == 0 || a.Counted != all || a.Other+a.Lost != 0 || all > made || all+a.Missed < made || !misses && all != made {
			t.Errorf("%d rows' calls of %d, %+v", all, made, a)
		}
	})
}

// What the table of the kernel has no room for is counted all the same.
func TestSummaryOverflows(t *testing.T) {
	autoAttach(t, func(t *testing.T, options ...string) {
		dir, id := fakeContainer(t, "c")
		var did map[string]int
		s, misses := summarize(t, func() {
			did = mixers(t, many(5000), map[string]string{id: dir, "": ""})
		}, append(options, "--by", "container,syscall,errno", "--uid", strconv.Itoa(nobodyElse), "--table-size", "3")...)
		if misses {
			t.Skip("calls can be missed here")
		}
		made, opens, failed := 0, 0, 0
		for call, n := range did {
			made += n
			if strings.Contains(call, " openat ") {
				opens += n
			}
			if !strings.HasSuffix(call, " ") {
				failed += n
			}
		}
		if s.Rest == nil {
			t.Fatalf("%+v", s)
		}
		gotOpens, gotFailed := s.Rest.Operations["open"], s.Rest.Failed
		for _, row := range s.Rows {
			gotOpens += row.Operations["open"]
			gotFailed += row.Failed
		}
		if a := s.Account; len(s.Rows) != 3 || a.Other == 0 || a.Counted+a.Other != made || a.Lost != 0 || gotOpens != opens || gotFailed != failed {
			t.Errorf("%d rows, %d opens of %d, %d failed of %d; %+v", len(s.Rows), gotOpens, opens, gotFailed, failed, a)
		}
	})
}

// Filters hold: by path in a program that describes what it counts, and by what is
// known of the caller.
func TestSummaryFilters(t *testing.T) {
	autoAttach(t, func(t *testing.T, options ...string) {
		dir, id := fakeContainer(t, "d")
		n := many(2000)
		for filter, want := range map[string]int{
			"--path /dev/null/":                 2 * n,
			"-x -s close":                       2 * n,
			"--errno ENOENT,EBADF":              4 * n,
			"-I --path /dev/ -n trigger":        2 * 3 * n,
			"-c " + id[:12] + " --errno ENOENT": 2 * n,
		} {
			ids := map[string]string{id: dir}
			s, misses := summarize(t, func() { mixers(t, n, ids) }, append(options, append(strings.Fields(filter), "--uid", strconv.Itoa(nobodyElse))...)...)
			calls := s.Account.Counted
			if (calls != want && !(misses && calls < want && calls+s.Account.Missed >= want)) || s.Account.Other+s.Account.Lost != 0 {
				t.Errorf("%s: %d calls, want %d; %+v", filter, calls, want, s.Account)
			}
			if len(s.Rows) != 1 || s.Rows[0].Container == nil || s.Rows[0].Container.ID != id {
				t.Errorf("%s: %+v", filter, s.Rows)
			}
		}
	})
}

// Of a command it says what it did, exactly.
func TestSummaryOfCommand(t *testing.T) {
	autoAttach(t, func(t *testing.T, options ...string) {
		n := many(1000)
		args := append([]string{"summary", "-q"}, options...)
		said, err := exec.Command(copenclose, append(args, "--", trigger64, "mix", strconv.Itoa(n))...).Output()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(said), " missed") {
			t.Skip("calls can be missed here")
		}
		for _, want := range []string{
			fmt.Sprintf(`(?m)^%s opens, %s failed: %s ENOENT, %s of them /nonexistent, %s ENOTDIR`, grouped(3*n), grouped(2*n), grouped(n), grouped(n), grouped(n)),
			fmt.Sprintf(`(?m)^%s closes, %s failed: %s EBADF$`, grouped(2*n), grouped(n), grouped(n)),
			fmt.Sprintf(`(?m)^opened:\n +%s  /dev/null\n`, grouped(n)),
			fmt.Sprintf(`(?m)^failed to open:\n +%s  ENOTDIR /dev/null/below\n +%[1]s  ENOENT /nonexistent$`, grouped(n)),
		} {
			if !regexp.MustCompile(want).Match(said) {
				t.Errorf("it does not say %s:\n%s", want, said)
			}
		}
	})
}

// grouped is a number below a million with its commas.
func grouped(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}
