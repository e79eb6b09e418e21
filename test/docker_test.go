// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// requests is how many pages each container serves in a test.
const requests = 20

// perRequest is what httpd does for each, in order: it opens and closes the
// page, then it closes the connection.
const perRequest = "accept4 openat close close "

// threeHTTPDs are three containers that serve a page, as in the README.
func threeHTTPDs(t *testing.T, e *engine) []*container {
	t.Helper()
	var cs []*container
	for range 3 {
		cs = append(cs, e.httpd(t))
	}
	return cs
}

// requestAll has every container serve its page, and once more: httpd closes a
// connection some time after the page has come, but before the next accept4.
func requestAll(t *testing.T, cs []*container) {
	t.Helper()
	for range requests + 1 {
		for _, c := range cs {
			if err := c.request(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// checkHTTPD fails unless the rows of c, which is called label there, are what it
// did for the requests, in order, by its own process and user.
func checkHTTPD(t *testing.T, c *container, label string, rows []row) {
	t.Helper()
	pids := c.pids(t)
	var calls strings.Builder
	for _, r := range rows {
		if r.container != label {
			continue
		}
		if r.comm != "httpd" || r.uid != 100000 || r.gid != 100000 || !pids[r.pid] {
			t.Errorf("container %s runs httpd as 100000:100000 in processes %v: wrong row %+v", label, pids, r)
		}
		calls.WriteString(r.syscall + " ")
	}
	// The connection that found httpd ready may be closed late, too.
	sequence := strings.TrimPrefix(calls.String(), "close ")
	last, ok := strings.CutPrefix(sequence, strings.Repeat(perRequest, requests))
	if !ok || last == "" || !strings.HasPrefix(perRequest, last) {
		t.Errorf("container %s: not %q for each of %d requests and begun once more:\n%s",
			label, perRequest, requests, sequence)
	}
}

func TestDockerContainers(t *testing.T) {
	cs := threeHTTPDs(t, docker(t))
	began := time.Now().Truncate(time.Second)
	r := start(t, "-I")
	requestAll(t, cs)
	rows := r.stop().rows
	ended := time.Now()

	for _, c := range cs {
		checkHTTPD(t, c, c.hostname, rows)
	}
	for _, r := range rows {
		if r.time.Before(began) || r.time.After(ended) {
			t.Errorf("traced from %s to %s: wrong time in row %+v", began, ended, r)
		}
	}
}

func TestDockerCgroupIDs(t *testing.T) {
	cs := threeHTTPDs(t, docker(t))
	r := start(t, "-I", "-C")
	requestAll(t, cs)
	rows := r.stop().rows

	for _, c := range cs {
		checkHTTPD(t, c, fmt.Sprint(c.cgroup(t)), rows)
	}
}

func TestDockerIgnoreHost(t *testing.T) {
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	cs := threeHTTPDs(t, docker(t))
	busy := busyHost(t)
	r := start(t, "-I")
	requestAll(t, cs)
	counted := trigger(t, trigger64, nil, "pairs", "1000")
	end := r.stop()

	for _, r := range end.rows {
		if r.container == hostname || r.pid == busy || r.pid == counted.pid {
			t.Fatalf("-I shows a row of the host: %+v", r)
		}
	}
	for _, c := range cs {
		checkHTTPD(t, c, c.hostname, end.rows)
	}
	if end.filtered < 2000 {
		t.Errorf("the host made 2000 calls and more, but %d were left out", end.filtered)
	}
}

// TestImage builds the Dockerfile and runs the tool from its own image: it sees
// the other containers and the host.
func TestImage(t *testing.T) {
	e := docker(t)
	e.image(t, "golang")
	// What is not set in the environment is not passed on.
	e.do(t, "build", "--network", "host", "--tag", "copenclose:test",
		"--build-arg", "GOPROXY", "--build-arg", "http_proxy", "--build-arg", "https_proxy", "..")

	t.Run("static", func(t *testing.T) {
		binary := filepath.Join(t.TempDir(), "copenclose")
		id := e.do(t, "create", "copenclose:test")
		defer e.do(t, "rm", id)
		e.do(t, "cp", id+":/copenclose", binary)

		out, _ := exec.Command("ldd", binary).CombinedOutput() // ldd fails on these
		if !strings.Contains(string(out), "not a dynamic executable") {
			t.Errorf("ldd says: %s", out)
		}
		file, err := elf.Open(binary)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for _, p := range file.Progs {
			if p.Type == elf.PT_INTERP {
				t.Error("the binary asks for a dynamic linker")
			}
		}
	})

	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{
		{"--privileged"},
		{"--privileged", "--pid=host", "--cgroupns=host"},
	} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			cs := threeHTTPDs(t, e)
			tool := e.tool(t, "copenclose:test", flags...)
			requestAll(t, cs)
			host := trigger(t, trigger64, nil, "pairs", "1000")
			rows := tool.interrupt(t)

			for _, c := range cs {
				checkHTTPD(t, c, c.hostname, rows)
			}
			rows = slices.DeleteFunc(rows, func(r row) bool { return r.pid != host.pid || r.container != hostname })
			if len(rows) != 2000 {
				t.Errorf("the host made 2000 calls, %d are shown", len(rows))
			}
		})
	}
}
