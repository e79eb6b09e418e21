package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
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
	var servers []*container
	for range 3 {
		servers = append(servers, podmanHTTPD(t))
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
		// A worker's first accept4 was waiting before the tool came, and a call
		// that was entered before fentry attached is not seen to return.
		for range requests {
			if err := c.request(); err != nil {
				t.Fatal(err)
			}
		}
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
func podmanHTTPD(t *testing.T) *container {
	t.Helper()
	users := fmt.Sprintf("0:%d:65536", mappedRoot)
	id := podman(t, "run", "--detach", "--uidmap", users, "--gidmap", users, "httpd",
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
