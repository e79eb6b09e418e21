// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// engine is a Docker engine that answers. All tests share one; it ends with
// stopDocker, or with this process, because its pipe is closed then.
type engine struct {
	process *exec.Cmd
	release io.Closer
}

var sharedEngine struct {
	sync.Mutex
	*engine
}

// docker returns the engine, starting one where none runs. Inside the VMs of
// the kernel matrix there is none.
func docker(t *testing.T) *engine {
	t.Helper()
	if os.Getenv("COPENCLOSE_VM") != "" {
		t.Skip("no Docker engine inside a VM")
	}
	sharedEngine.Lock()
	defer sharedEngine.Unlock()
	if sharedEngine.engine == nil {
		e, err := startEngine()
		if err != nil {
			t.Fatal(err)
		}
		sharedEngine.engine = e
	}
	return sharedEngine.engine
}

// stopDocker stops the engine if docker started it. For TestMain.
func stopDocker() {
	sharedEngine.Lock()
	defer sharedEngine.Unlock()
	if e := sharedEngine.engine; e != nil {
		_ = e.release.Close()
		_ = e.process.Wait() // its status is that of cat
		sharedEngine.engine = nil
	}
}

func startEngine() (*engine, error) {
	cmd := exec.Command("images/with-docker", "sh", "-c", "echo ready; exec cat >/dev/null")
	// Ctrl-C reaches this process alone, which then lets go of the engine.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		return nil, fmt.Errorf("no Docker engine: images/with-docker: %w", cmd.Wait())
	}
	return &engine{process: cmd, release: stdin}, nil
}

// try runs the docker command line and returns what it printed.
func (e *engine) try(args ...string) (string, error) {
	cmd := exec.Command("docker", args...)
	// The classic builder takes the engine's own images and asks no registry.
	cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("docker %s: %w\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return strings.TrimSpace(string(out)), err
}

// do is try that ends the test on an error.
func (e *engine) do(t *testing.T, args ...string) string {
	t.Helper()
	out, err := e.try(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// image makes images of test/images, by the names that images/image knows.
func (e *engine) image(t *testing.T, names ...string) {
	t.Helper()
	cmd := exec.Command("images/image", names...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("images/image %s: %v\n%s", strings.Join(names, " "), err, out)
	}
}

// staticImage makes an image that has the static binary alone, as the Dockerfile makes it,
// which is run with these options before those of the container.
func (e *engine) staticImage(t *testing.T, name string, options ...string) {
	t.Helper()
	if _, err := os.Stat("../bin/static/copenclose"); err != nil {
		t.Fatalf("%v; make static makes it", err)
	}
	tar := filepath.Join(t.TempDir(), "tar")
	if out, err := exec.Command("tar", "-cf", tar, "-C", "../bin/static", "copenclose").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	entry, err := json.Marshal(append([]string{"/copenclose"}, options...))
	if err != nil {
		t.Fatal(err)
	}
	name = strings.TrimPrefix(name, "docker.io/")
	e.do(t, "import", "--change", "ENTRYPOINT "+string(entry), tar, name)
	t.Cleanup(func() { e.do(t, "rmi", name) })
}

// container is a running container.
type container struct {
	engine   *engine
	id       string // 64 hex digits
	hostname string
	address  string // on the bridge, empty without a network of its own
	pid      int    // of its first process, as the host sees it
}

// run is docker run --detach with the arguments given: flags, an image, a
// command. The container is removed when the test ends.
func (e *engine) run(t *testing.T, args ...string) *container {
	t.Helper()
	id := e.do(t, append([]string{"run", "--detach"}, args...)...)
	t.Cleanup(func() {
		if _, err := e.try("rm", "--force", "--volumes", id); err != nil {
			t.Error(err)
		}
	})
	out := e.do(t, "inspect", "--format",
		"{{.State.Pid}}|{{.Config.Hostname}}|{{.NetworkSettings.IPAddress}}", id)
	field := strings.Split(out, "|")
	pid, err := strconv.Atoi(field[0])
	if err != nil || pid == 0 {
		logs, _ := e.try("logs", id)
		t.Fatalf("docker run %s: not running: %s\n%s", strings.Join(args, " "), out, logs)
	}
	return &container{engine: e, id: id, hostname: field[1], address: field[2], pid: pid}
}

// httpd runs a container that serves a page with apache2 as user and group
// 100000, and returns when the page is served.
func (e *engine) httpd(t *testing.T, flags ...string) *container {
	t.Helper()
	e.image(t, "httpd")
	c := e.run(t, append(append([]string{"--user", "100000:100000"}, flags...), "copenclose/httpd")...)
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := c.request()
		if err == nil {
			return c
		}
		if time.Now().After(deadline) {
			logs, _ := e.try("logs", c.id)
			t.Fatalf("httpd serves no page: %v\n%s", err, logs)
		}
		time.Sleep(20 * time.Millisecond) // httpd has no ready signal
	}
}

// request fetches the page of an httpd container from outside of it, with a
// connection of its own.
func (c *container) request() error {
	client := http.Client{
		Transport: &http.Transport{DisableKeepAlives: true},
		Timeout:   10 * time.Second,
	}
	resp, err := client.Get("http://" + c.address + "/")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", c.hostname, resp.Status)
	}
	return nil
}

// pids are the container's processes, as the host sees them.
func (c *container) pids(t *testing.T) map[int]bool {
	t.Helper()
	pids := make(map[int]bool)
	for _, line := range strings.Split(c.engine.do(t, "top", c.id, "-eo", "pid"), "\n")[1:] {
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatalf("docker top: %q", line)
		}
		pids[pid] = true
	}
	return pids
}

// tool runs copenclose from an image and returns when every program is attached.
func (e *engine) tool(t *testing.T, image string, flags ...string) *container {
	t.Helper()
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready")
	if err := unix.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	c := e.run(t, append(flags, "--volume", dir+":/run", image, "--ready-file", "/run/ready")...)
	ended := make(chan string, 1)
	go func() {
		status, _ := e.try("wait", c.id)
		ended <- status
		// Should it have ended before it was ready, nobody waits for ever.
		if f, err := os.OpenFile(ready, os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
			f.Close()
		}
	}()
	if f, err := os.Open(ready); err == nil {
		f.Close()
	}
	select {
	case status := <-ended:
		cmd := exec.Command("docker", "logs", c.id)
		logs, _ := cmd.CombinedOutput()
		t.Fatalf("copenclose in a container ended with status %s before it was ready\n%s", status, logs)
	default:
	}
	return c
}

// interrupt ends copenclose in a container as Ctrl-C does and returns its rows.
func (c *container) interrupt(t *testing.T) (rows []row) {
	t.Helper()
	c.engine.do(t, "kill", "--signal", "INT", c.id)
	if status := c.engine.do(t, "wait", c.id); status != "0" {
		t.Errorf("copenclose in a container ended with status %s", status)
	}
	_, body, _ := strings.Cut(c.engine.do(t, "logs", c.id), "\n")
	for line := range strings.Lines(body) {
		one, err := parseRow(line)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, one)
	}
	return rows
}

// cgroup is the id of the container's cgroup v2, as stat -c %i prints it.
func (c *container) cgroup(t *testing.T) uint64 {
	t.Helper()
	return cgroupID(t, c.pid)
}

// cgroupID is the id of a process's cgroup v2: the inode of its directory.
func cgroupID(t *testing.T, pid int) uint64 {
	t.Helper()
	mount := "/sys/fs/cgroup"
	if _, err := os.Stat(filepath.Join(mount, "cgroup.controllers")); err != nil {
		mount = "/sys/fs/cgroup/unified" // beside cgroup v1
	}
	cgroups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(cgroups), "\n") {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			info, err := os.Stat(filepath.Join(mount, path))
			if err != nil {
				t.Fatal(err)
			}
			return info.Sys().(*syscall.Stat_t).Ino
		}
	}
	t.Fatalf("process %d has no cgroup v2:\n%s", pid, cgroups)
	return 0
}
