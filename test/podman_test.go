// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Podman with crun and mapped users on pure cgroup v2: the containers that the
// two tables were made for. Only the VMs of the kernel matrix have that.

// mappedRoot is what the host calls root of a container, mappedWWWData the user
// that httpd serves as.
const (
	mappedRoot    = 100000
	mappedWWWData = mappedRoot + 33
)

func TestPodman(t *testing.T) {
	if os.Getenv("PODMAN") == "" {
		t.Skip("no Podman on pure cgroup v2 here: make test-vm has it")
	}
	podman(t, "import", "/srv/httpd.tar", "httpd")
	names := []string{"ct-web1", "ct-web2", "ct-db"}
	var servers []*container
	for _, name := range names {
		servers = append(servers, podmanHTTPD(t, name))
	}

	t.Run("hostname", func(t *testing.T) {
		labels := make(map[string]*container)
		for _, c := range servers {
			labels[c.hostname] = c
		}
		checkPodmanTable(t, labels, "-I")
	})
	t.Run("cgroup", func(t *testing.T) {
		labels := make(map[string]*container)
		for _, c := range servers {
			id, err := exec.Command("stat", "-c", "%i", podmanCgroup(c)).Output()
			if err != nil {
				t.Fatal(err)
			}
			labels[strings.TrimSpace(string(id))] = c
		}
		checkPodmanTable(t, labels, "-I", "-C")
	})
	// Podman listens only where somebody had it do so.
	t.Run("container by id", func(t *testing.T) {
		table := newLines()
		r := startTo(t, table, "-I", "-o", "wide")
		for _, c := range servers {
			requestPodman(t, c)
			table.await(t, podmanRow(c, c.id[:12]))
		}
		r.stderr.await(t, regexp.MustCompile(`copenclose: podman does not listen on /run/podman/podman.sock`))
		r.stop()
	})
	t.Run("container by name", func(t *testing.T) {
		servePodman(t)
		// The names come with -c before anything is shown.
		table := newLines()
		r := startTo(t, table, "-c", "ct-*", "-o", "wide")
		chosen := start(t, "-c", "ct-*,!*db", "-o", "json")
		for i, c := range servers {
			requestPodman(t, c)
			table.await(t, podmanRow(c, names[i]))
		}
		r.stop()
		res := chosen.stop()
		noneUnknown(t, res.events)
		image := podman(t, "inspect", "--format", "{{.ImageName}}", servers[0].id)
		seen := make(map[string]bool)
		for _, e := range res.events {
			id := e.container().text("id")
			seen[id] = true
			i := slices.IndexFunc(servers, func(c *container) bool { return c.id == id })
			if i < 0 || names[i] == "ct-db" || e.container().text("name") != names[i] || e.container().text("runtime") != "podman" ||
				e.container().text("image") != image {
				t.Fatalf("-c ct-*,!*db shows %v", e)
			}
		}
		if len(seen) != 2 {
			t.Errorf("-c ct-*,!*db shows %v", seen)
		}

		said, err := exec.Command(copenclose, "containers", "-o", "json").Output()
		if err != nil {
			t.Fatal(err)
		}
		listed := parseJSON(t, string(said))
		for i, c := range servers {
			j := slices.IndexFunc(listed, func(e event) bool { return e.text("id") == c.id })
			if j < 0 || listed[j].text("name") != names[i] || listed[j].text("hostname") != c.hostname || listed[j].number("pid") != c.pid {
				t.Errorf("%s, %s, process %d is not in the list:\n%s", names[i], c.hostname, c.pid, said)
			}
		}
	})
	// Its events follow what it was asked, through the same socket.
	t.Run("renamed", func(t *testing.T) {
		servePodman(t)
		table, chosen := newLines(), newLines()
		r := startTo(t, table, "-I", "-o", "wide")
		c := startTo(t, chosen, "-c", "ct-renamed", "-o", "wide")
		requestPodman(t, servers[0])
		table.await(t, podmanRow(servers[0], names[0]))
		podman(t, "--events-backend=file", "rename", names[0], "ct-renamed")
		for _, l := range []*lines{table, chosen} {
			for deadline := time.Now().Add(patience); !podmanRow(servers[0], "ct-renamed").MatchString(l.String()); {
				if time.Now().After(deadline) {
					t.Fatalf("the new name does not come\n%s", r.stderr)
				}
				requestPodman(t, servers[0])
			}
		}
		r.stop()
		c.stop()
	})
}

// requestPodman has a server accept, open and close. A worker's first accept4 was
// waiting before the tool came, and a call that was entered before fentry
// attached is not seen to return.
func requestPodman(t *testing.T, c *container) {
	t.Helper()
	for range requests {
		if err := c.request(); err != nil {
			t.Fatal(err)
		}
	}
}

// podmanRow is a row of the wide table that calls a container by label.
func podmanRow(c *container, label string) *regexp.Regexp {
	return regexp.MustCompile(fmt.Sprintf(`(?m)^\S+ +%s +%s +\d+ .* openat +httpd `, c.hostname, label))
}

// servePodman has Podman listen, and returns when it does.
func servePodman(t *testing.T) {
	t.Helper()
	const socket = "/run/podman/podman.sock"
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		t.Fatal(err)
	}
	service := exec.Command("podman", "--events-backend=file", "system", "service", "--time=0", "unix://"+socket)
	said := newLines()
	service.Stderr = said
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = service.Process.Kill()
		_ = service.Wait()
		_ = os.Remove(socket)
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) { // it says nothing
		connection, err := net.Dial("unix", socket)
		if err == nil {
			connection.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("podman does not listen: %v\n%s", err, said)
		}
	}
}

// checkPodmanTable traces the containers while they serve pages and reread
// their configuration, and the host is busy. The table calls them by labels.
func checkPodmanTable(t *testing.T, labels map[string]*container, flags ...string) {
	if len(labels) != 3 {
		t.Fatalf("three containers have these labels: %v", labels)
	}
	busyHost(t)
	table := newLines()
	r := startTo(t, table, flags...)
	for _, c := range labels {
		requestPodman(t, c)
		// A graceful restart: the first process, root there, opens its files again.
		if err := unix.Kill(c.pid, unix.SIGUSR1); err != nil {
			t.Fatal(err)
		}
	}
	for label, c := range labels {
		first := strconv.Itoa(c.pid)
		for _, call := range []struct {
			pid  string
			id   int
			name string
		}{
			{`\d+`, mappedWWWData, "accept4"}, {`\d+`, mappedWWWData, "openat"}, {`\d+`, mappedWWWData, "close"},
			{first, mappedRoot, "openat"}, {first, mappedRoot, "close"},
		} {
			table.await(t, regexp.MustCompile(fmt.Sprintf(`(?m)^\S+ +%s +%s +%d +%[3]d +%s +httpd$`,
				label, call.pid, call.id, call.name)))
		}
	}
	if res := r.stop(); res.filtered == 0 {
		t.Error("nothing of the host was left out, although it was busy")
	}

	_, body, _ := strings.Cut(table.String(), "\n")
	for line := range strings.Lines(body) {
		row, err := parseRow(strings.TrimSuffix(line, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		c := labels[row.container]
		switch {
		case c == nil:
			t.Errorf("a row of none of the containers %v: %s", labels, line)
		case row.comm != "httpd" || !podmanHas(c, row.pid):
			t.Errorf("a row of no httpd in %s: %s", c.id, line)
		case row.uid != mappedRoot && row.uid != mappedWWWData || row.gid != mappedRoot && row.gid != mappedWWWData:
			t.Errorf("a row of neither user of httpd: %s", line)
		}
	}
}

func podman(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("podman", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("podman %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// podmanHTTPD starts a server and returns when it has served its page.
func podmanHTTPD(t *testing.T, name string) *container {
	t.Helper()
	users := fmt.Sprintf("0:%d:65536", mappedRoot)
	id := podman(t, "run", "--detach", "--name", name, "--uidmap", users, "--gidmap", users, "httpd",
		"/usr/sbin/httpd", "-DFOREGROUND", "-f", "/etc/httpd.conf", "-c", "User www-data", "-c", "Group www-data")
	t.Cleanup(func() { podman(t, "rm", "--force", "--time", "0", id) })
	out := podman(t, "inspect", "--format", "{{.State.Pid}} {{.Config.Hostname}} {{.NetworkSettings.IPAddress}}", id)
	c := &container{id: id}
	if _, err := fmt.Sscan(out, &c.pid, &c.hostname, &c.address); err != nil {
		t.Fatalf("podman inspect: %q: %v\n%s", out, err, podman(t, "logs", id))
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) { // httpd has no ready signal
		err := c.request()
		if err == nil {
			return c
		}
		if time.Now().After(deadline) {
			t.Fatalf("httpd serves no page: %v\n%s", err, podman(t, "logs", id))
		}
	}
}

func podmanCgroup(c *container) string { return "/sys/fs/cgroup/libpod_parent/libpod-" + c.id }

// podmanHas reports whether a process, if it is still there, is in the container.
func podmanHas(c *container, pid int) bool {
	cgroup, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	return err != nil || strings.HasSuffix(strings.TrimSpace(string(cgroup)), "/libpod-"+c.id)
}
