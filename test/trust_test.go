// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a hostile neighbour can do to names and to the choice of containers, on a real
// Docker engine; see docs/TRUST.md.

// mallory is a user who owns nothing but a runtime directory.
const mallory = 1999

// malloryServes has a process of mallory's speak the API of Docker where a user's
// engine does.
func malloryServes(t *testing.T, handler http.Handler) {
	t.Helper()
	dir := fmt.Sprintf("/run/user/%d", mallory)
	if _, err := os.Stat(dir); err == nil {
		t.Fatalf("there is a user %d here", mallory)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, mallory, mallory); err != nil {
		t.Fatal(err)
	}
	listening := make(chan error, 1)
	fd := -1
	go func() {
		// The kernel notes the user of the thread that listens. It ends here.
		runtime.LockOSThread()
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, mallory, mallory, 0); errno != 0 {
			listening <- errno
			return
		}
		var err error
		if fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err == nil {
			err = unix.Bind(fd, &unix.SockaddrUnix{Name: dir + "/docker.sock"})
		}
		if err == nil {
			err = unix.Listen(fd, 10)
		}
		listening <- err
	}()
	if err := <-listening; err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "docker.sock")
	defer file.Close()
	l, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
}

// A fake engine of a user without rights names no container of root's, and does name
// what that user could have started.
func TestFakeEngine(t *testing.T) {
	e := docker(t)
	asked := make(chan string, 1000)
	malloryServes(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var filters map[string][]string
		_ = json.Unmarshal([]byte(r.URL.Query().Get("filters")), &filters)
		list := []map[string]any{}
		for _, id := range filters["id"] {
			asked <- id
			list = append(list, map[string]any{"Id": id, "Names": []string{"/ct-forged"}, "Image": "evil", "State": "running"})
		}
		_ = json.NewEncoder(w).Encode(list)
	}))
	// systemd gives each user a cgroup.
	user := cgroup2Mount(t) + fmt.Sprintf("/user.slice/user-%d.slice/user@%[1]d.service", mallory)
	own := strings.Repeat("c", 64)
	scope := filepath.Join(user, "docker-"+own+".scope")
	for _, dir := range []string{filepath.Dir(filepath.Dir(user)), filepath.Dir(user), user, scope} {
		if err := os.Mkdir(dir, 0o755); err == nil {
			t.Cleanup(func() { os.Remove(dir) })
		} else if !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	if err := os.Chown(user, mallory, mallory); err != nil {
		t.Fatal(err)
	}

	table := newLines()
	all := startTo(t, table, "-I", "-o", "json")
	chosen := start(t, "-c", "ct-realweb", "-o", "json")
	c := e.run(t, e.busybox(t, []string{"--name", "ct-realweb"}, "sh", "-c", steady)...)
	table.await(t, named(c.id, "ct-realweb"))
	hers := exec.Command("sh", "-c", steadyHere())
	inCgroup(t, scope)(hers)
	if err := hers.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hers.Process.Kill(); _ = hers.Wait() })
	table.await(t, named(own, "ct-forged"))
	all.stop()
	res := chosen.stop()

	for _, e := range parseJSON(t, table.String()) {
		if of := e.container(); of.text("id") == c.id && of.text("name") != "" && of.text("name") != "ct-realweb" || of.text("name") == "ct-forged" && of.text("id") != own {
			t.Fatalf("named by another user's engine: %v", e)
		}
	}
	if n := len(by(res.events, c.id)); n == 0 {
		t.Error("-c ct-realweb shows nothing of it")
	}
	for len(asked) > 0 {
		if id := <-asked; id != own {
			t.Errorf("mallory was asked for %s", id)
		}
	}
}

// steadyHere is steady outside of a container.
func steadyHere() string {
	return strings.ReplaceAll(strings.ReplaceAll(steady, "/trigger", trigger64), "usleep 20000", "sleep 0.02")
}

// Whatever cgroups a container makes inside its own, its calls stay its own, for -c,
// for -I, and by name.
func TestEscapes(t *testing.T) {
	e := docker(t)
	e.image(t, "busybox")
	victim := e.do(t, "create", "--name", "ct-victim", "busybox", "true")
	t.Cleanup(func() { e.do(t, "rm", victim) })
	names := []string{"lxc.payload.ct-victim", "docker-" + victim + ".scope", "docker/" + victim, "machine-victim.scope/payload", "init.scope"}
	script := "mkdir /mnt && mount -t cgroup2 none /mnt || exit 1\n"
	for _, n := range names {
		script += fmt.Sprintf("mkdir -p /mnt/%[1]s && sh -c 'echo $$ >/mnt/%[1]s/cgroup.procs && exec /trigger pairs 50' || exit 1\n", n)
	}
	traces := map[string]*run{}
	for _, flags := range []string{"-c ct-jail", "-c !ct-victim", "-c !victim", "-c ct-jail,!lxc*", "-I", "-c ct-victim", "-c !ct-jail"} {
		traces[flags] = start(t, append(strings.Fields(flags), "-o", "json")...)
	}
	jail := e.runToEnd(t, e.busybox(t, []string{"--name", "ct-jail", "--privileged", "--cgroupns=private"}, "sh", "-c", script)...)
	for flags, r := range traces {
		res := r.stop()
		want := 100 * len(names)
		if flags == "-c ct-victim" || flags == "-c !ct-jail" {
			want = 0
		}
		inside := make(map[string]int)
		for _, e := range by(res.events, jail) {
			if of := e.container(); of.text("name") != "" && of.text("name") != "ct-jail" || of.text("runtime") != "docker" {
				t.Fatalf("%s: of ct-jail is %v", flags, e)
			}
			inside[e.container().text("inner_runtime")+" "+e.container().text("inner")]++
		}
		if n := len(by(res.events, jail)); n != want && !(flags == "-c ct-jail" || flags == "-c ct-jail,!lxc*") {
			t.Errorf("%s: %d calls of ct-jail, want %d", flags, n, want)
		} else if n == 0 && want > 0 {
			t.Errorf("%s: nothing", flags)
		}
		t.Logf("%s: %v", flags, inside)
		for _, e := range res.events {
			// Other containers may run meanwhile; this one's hostname is its own.
			if id := e.container().text("id"); e.text("comm") == "trigger" && e.text("hostname") == jail[:12] && id != jail {
				t.Errorf("%s: it got out: %v", flags, e)
				break
			}
		}
	}
}

// The new name of a container shows at once, and is what it is chosen by.
func TestContainerRename(t *testing.T) {
	e := docker(t)
	c := e.run(t, e.busybox(t, []string{"--name", "ct-before"}, "sh", "-c", steady)...)
	table, after := newLines(), newLines()
	r := startTo(t, table, "-c", "ct-before,ct-after", "-o", "json")
	chosen := startTo(t, after, "-c", "ct-after", "-o", "json")
	table.await(t, named(c.id, "ct-before"))
	e.do(t, "rename", c.id, "ct-after")
	table.await(t, named(c.id, "ct-after"))
	after.await(t, named(c.id, "ct-after"))
	e.do(t, "rename", c.id, "ct-last")
	e.do(t, "rename", c.id, "ct-after")
	r.stop()
	chosen.stop()
}

// What runs with --pid namespaces of a container but in no container's cgroup is a
// runtime on its way into it: -I shows it, as of no container.
func TestContainerExec(t *testing.T) {
	e := docker(t)
	c := e.run(t, e.busybox(t, nil, "sleep", "1000000")...)
	r := start(t, "-I", "-o", "json")
	const n = 20
	for range n {
		e.do(t, "exec", c.id, "/trigger", "pairs", "5")
	}
	res := r.stop()
	noneUnknown(t, res.events)
	if got := len(by(res.events, c.id)); got != 10*n {
		t.Errorf("%d calls of the programs, want %d", got, 10*n)
	}
	without := 0
	for _, e := range res.events {
		if e.container() != nil {
			continue
		}
		if without++; !strings.HasPrefix(e.text("comm"), "runc") {
			t.Errorf("of no container: %v", e)
		}
	}
	t.Logf("%d of %d rows are of runc on its way in", without, len(res.events))
}

// -d holds, and memory is bounded, whatever a runtime does.
func TestHostileRuntime(t *testing.T) {
	e := docker(t)
	e.run(t, e.busybox(t, nil, "sleep", "1000000")...)
	usual := traceFor(t, "--no-runtime")
	block := strings.Repeat(`{"Id":"x","Names":["/x"],"Labels":{"a":"b"}},`, 1000)
	for name, handler := range map[string]http.HandlerFunc{
		"hung":    func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"endless": func(w http.ResponseWriter, r *http.Request) { endlessly(w, r, "[", block) },
		"a string": func(w http.ResponseWriter, r *http.Request) {
			endlessly(w, r, `[{"Id":"`, strings.Repeat("a", 1<<20))
		},
		"zipped": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			endlessly(w, r, "\x1f\x8b\x08", strings.Repeat("\x00", 1<<20))
		},
		"drops": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				w.(http.Flusher).Flush()
				time.Sleep(time.Millisecond)
			}
		},
	} {
		socket := socketDir(t) + "/s"
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/_ping" {
				handler(w, r)
			}
		})}
		go server.Serve(l)
		peak := traceFor(t, "--runtime-socket", socket)
		t.Logf("%s: %d MiB at most, %d without runtimes", name, peak>>20, usual>>20)
		if peak > usual+64<<20 {
			t.Errorf("%s: %d MiB at most, %d without runtimes", name, peak>>20, usual>>20)
		}
		server.Close()
	}
}

func endlessly(w http.ResponseWriter, r *http.Request, first, then string) {
	_, err := io.WriteString(w, first)
	for err == nil && r.Context().Err() == nil {
		_, err = io.WriteString(w, then)
	}
}

// traceFor traces containers for a second, which must not take much longer, and
// returns the peak of its memory in bytes.
func traceFor(t *testing.T, args ...string) int64 {
	t.Helper()
	cmd := exec.Command(copenclose, append([]string{"-I", "-o", "json", "-d", "1s"}, args...)...)
	said := newLines()
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, said)
	}
	if !regexp.MustCompile("events shown").MatchString(said.String()) {
		t.Errorf("%v: no summary:\n%s", args, said)
	}
	return cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
}
