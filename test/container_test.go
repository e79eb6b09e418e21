// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"encoding/json"
	"fmt"
	"net"
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

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Which container, on a real Docker engine: names, -I, -c, the list, and engines
// that come and go.

// steady is a command for a container that keeps making calls, ten now and then.
const steady = "while :; do /trigger pairs 5; usleep 20000; done"

// triggerMount is the --mount that puts a trigger program into a container.
var triggerMount = "type=bind,readonly,target=/trigger,source=" + trigger64

// busybox are the arguments of docker run for a busybox with a trigger program.
func (e *engine) busybox(t *testing.T, flags []string, command ...string) []string {
	t.Helper()
	e.image(t, "busybox")
	return slices.Concat(flags, []string{"--mount", triggerMount, "busybox"}, command)
}

// runToEnd runs a container, which must end with status 0, and returns its id.
func (e *engine) runToEnd(t *testing.T, args ...string) (id string) {
	t.Helper()
	id = e.do(t, append([]string{"create"}, args...)...)
	t.Cleanup(func() { e.do(t, "rm", "--force", id) })
	e.do(t, "start", "--attach", id)
	return id
}

// container is what an event says of its container, nil for none.
func (e event) container() event {
	c, _ := e["container"].(map[string]any)
	return c
}

// by are the events of the trigger program in a container.
func by(events []event, id string) (found []event) {
	for _, e := range events {
		if e.container().text("id") == id && e.text("comm") == "trigger" {
			found = append(found, e)
		}
	}
	return found
}

// noneUnknown fails the test if an event is neither a container's nor the host's.
func noneUnknown(t *testing.T, events []event) {
	t.Helper()
	for _, e := range events {
		if e.container().text("runtime") == "unknown" {
			t.Fatalf("an event of nobody knows whom: %v", e)
		}
	}
}

// named is a line of JSON with the name of the container.
func named(id, name string) *regexp.Regexp {
	return regexp.MustCompile(`"container":\{"id":"` + id + `","name":"` + regexp.QuoteMeta(name) + `",.*\n`)
}

// onlyID is a line of JSON with no name of the container.
func onlyID(id string) *regexp.Regexp {
	return regexp.MustCompile(`"container":\{"id":"` + id + `","runtime":"docker"\}.*\n`)
}

// A container's first event has its id and runtime, and as soon as Docker has
// told them, its events have name and image; those of the host have nothing.
func TestContainerIdentity(t *testing.T) {
	e := docker(t)
	args := e.busybox(t, []string{"--name", "ct-identity"}, "sh", "-c", steady)
	table := newLines()
	r := startTo(t, table, "-o", "json")
	host := trigger(t, trigger64, nil, "pairs", "10")
	c := e.run(t, args...)
	table.await(t, named(c.id, "ct-identity"))
	r.stop()

	events := parseJSON(t, table.String())
	validate(t, table.String())
	noneUnknown(t, events)
	cgroup, first, name := c.cgroup(t), "", ""
	var ofHost int
	for _, e := range events {
		if e.number("pid") == host.pid && e.text("comm") == host.comm {
			ofHost++
			if e.container() != nil {
				t.Fatalf("a container of a process of the host: %v", e)
			}
		}
		if uint64(e.number("cgroup_id")) != cgroup {
			if e.container().text("id") == c.id {
				t.Fatalf("another cgroup than %d: %v", cgroup, e)
			}
			continue
		}
		if first == "" {
			first = e.text("comm")
		}
		of := e.container()
		if of.text("id") != c.id || of.text("runtime") != "docker" {
			t.Fatalf("not said to be of %s: %v", c.id, e)
		}
		if name == "" {
			name = of.text("name")
		}
		if of.text("name") != name || (name != "") != (of.text("image") == "busybox") {
			t.Fatalf("name or image is lost again, or another: %v", e)
		}
	}
	// What runc does in the cgroup comes before what the container does.
	if !strings.HasPrefix(first, "runc") || name != "ct-identity" || ofHost != 20 {
		t.Errorf("the container's first event is of %q, its name %q; %d events of the host", first, name, ofHost)
	}

	for _, column := range []struct {
		label string
		flags []string
	}{
		{"ct-identity", nil},
		{c.id[:12], []string{"--no-runtime"}},
	} {
		table := newLines()
		r := startTo(t, table, append(column.flags, "-o", "wide")...)
		trigger(t, trigger64, nil, "pairs", "10")
		table.await(t, regexp.MustCompile(`^TIME +HOSTNAME +CONTAINER +PID `))
		table.await(t, regexp.MustCompile(`(?m)^\S+ +`+c.hostname+` +`+column.label+` +\d+ .* trigger `))
		table.await(t, regexp.MustCompile(`(?m)^\S+ +\S+ +- +\d+ .* trigger `))
		r.stop()
	}
}

// Who is host for -I, and who is not. Each makes 2000 calls, and they are shown
// all or none.
func TestContainerIgnoreHost(t *testing.T) {
	e := docker(t)
	service, err := os.MkdirTemp(cgroup2Mount(t), "copenclose-test-*.service")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(service) })
	busy := busyHost(t)
	r := start(t, "-I", "-o", "json")

	containers := make(map[string]string) // id by flags
	for _, flags := range []string{
		"", "--pid=host", "--network=host", "--uts=host", "--ipc=host", "--cgroupns=host", "--cgroupns=private",
		"--pid=host --network=host --uts=host --ipc=host --cgroupns=host",
	} {
		containers[flags] = e.runToEnd(t, e.busybox(t, strings.Fields(flags), "/trigger", "pairs", "1000")...)
	}
	hosts := []struct {
		who        string
		namespaces uintptr
		shown      bool
		args       []string
	}{
		{who: "a process"},
		{who: "a process in a UTS namespace of its own, as with ProtectHostname=", namespaces: unix.CLONE_NEWUTS, args: []string{"hostname", "ct-service"}},
		{who: "a process in a mount namespace of its own, as with PrivateTmp=", namespaces: unix.CLONE_NEWNS},
		{who: "a process in a network namespace of its own, as with PrivateNetwork=", namespaces: unix.CLONE_NEWNET},
		{who: "a process in a PID namespace of its own", namespaces: unix.CLONE_NEWPID, shown: true},
	}
	var pids []int
	for _, h := range hosts {
		p := trigger(t, trigger64, func(cmd *exec.Cmd) {
			inCgroup(t, service)(cmd)
			cmd.SysProcAttr.Cloneflags = h.namespaces
		}, append(h.args, "pairs", "1000")...)
		pids = append(pids, p.pid)
	}
	res := r.stop()

	noneUnknown(t, res.events)
	for flags, id := range containers {
		if n := len(by(res.events, id)); n != 2000 {
			t.Errorf("a container with %q: %d events of 2000", flags, n)
		} else {
			t.Logf("shown: a container with %q", flags)
		}
	}
	count := make(map[int]int)
	for _, e := range res.events {
		if e.container() == nil && e.text("comm") == "trigger" {
			count[e.number("pid")]++
		}
	}
	for i, h := range hosts {
		want := 0
		if h.shown {
			want = 2000
		}
		if n := count[pids[i]]; n != want {
			t.Errorf("%s: %d events, want %d", h.who, n, want)
		} else {
			t.Logf("shown %t: %s", h.shown, h.who)
		}
	}
	if count[busy] > 0 {
		t.Errorf("%d events of the host, which is busy", count[busy])
	}
	if res.filtered < 4*2000 {
		t.Errorf("the host made 8000 calls and more, but %d were left out", res.filtered)
	}
}

// All events of a container that lives for 50 ms are its own.
func TestContainerShortLived(t *testing.T) {
	e := docker(t)
	r := start(t, "-o", "json")
	id := e.runToEnd(t, e.busybox(t, nil, "sh", "-c", "/trigger pairs 50; usleep 50000; /trigger pairs 50")...)
	res := r.stop()
	lived := strings.Fields(e.do(t, "inspect", "--format", "{{.State.StartedAt}} {{.State.FinishedAt}}", id))
	t.Logf("lived from %s to %s", lived[0], lived[1])

	checkOwn(t, res.events, id[:12], id, 200)
}

// checkOwn fails the test unless a container's hostname and cgroup stand beside
// its id and no other, and the trigger program is seen to make so many calls
// there.
func checkOwn(t *testing.T, events []event, hostname, id string, calls int) {
	t.Helper()
	cgroups := make(map[int]bool)
	for _, e := range events {
		if e.text("hostname") == hostname {
			cgroups[e.number("cgroup_id")] = true
		}
	}
	if len(cgroups) != 1 {
		t.Errorf("%s was seen in cgroups %v, want one", id, cgroups)
	}
	for _, e := range events {
		if own := e.container().text("id") == id; own != cgroups[e.number("cgroup_id")] {
			t.Fatalf("of %s, or not: %v", id, e)
		}
	}
	if n := len(by(events, id)); n != calls {
		t.Errorf("%s made %d calls, %d are shown", id, calls, n)
	}
}

// atOnce is how many containers are started at once.
const atOnce = 100

// Containers that are started at once and make their calls at once are told
// apart.
func TestContainerMany(t *testing.T) {
	e := docker(t)
	e.image(t, "busybox")
	// They all wait until the gate is opened for writing.
	gate := filepath.Join(t.TempDir(), "gate")
	if err := unix.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, "-I", "-o", "json")

	began := time.Now()
	ids := make([]string, atOnce)
	errs := make([]error, atOnce)
	var running sync.WaitGroup
	for i := range atOnce {
		running.Go(func() {
			// What takes longest is a network of their own. The process is in the name
			// because a run that was killed leaves its containers.
			name := fmt.Sprintf("ct-many-%d-%d", os.Getpid(), i)
			ids[i], errs[i] = e.try("run", "--detach", "--runtime", "runc", "--network", "host", "--name", name, "--hostname", name,
				"--volume", gate+":/gate", "--mount", triggerMount, "busybox", "sh", "-c", ": </gate; /trigger pairs 50")
		})
	}
	running.Wait()
	t.Cleanup(func() {
		if _, err := e.try(append([]string{"rm", "--force"}, slices.DeleteFunc(ids, func(id string) bool { return id == "" })...)...); err != nil {
			t.Error(err)
		}
	})
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	started := time.Now()
	opened, err := os.OpenFile(gate, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	if status := e.do(t, append([]string{"wait"}, ids...)...); status != strings.TrimSpace(strings.Repeat("0\n", atOnce)) {
		t.Fatalf("they ended with %s", status)
	}
	res := r.stop()
	t.Logf("%d containers, started within %v, ended %v later", atOnce, started.Sub(began), time.Since(started))

	noneUnknown(t, res.events)
	names := 0
	for i, id := range ids {
		name := fmt.Sprintf("ct-many-%d-%d", os.Getpid(), i)
		checkOwn(t, res.events, name, id, 100)
		for _, e := range by(res.events, id) {
			if got := e.container().text("name"); got != "" {
				names++
				if got != name {
					t.Errorf("%s is called %q", name, got)
				}
			}
		}
	}
	if names == 0 {
		t.Error("no event has a name")
	}
}

// -c chooses containers by all that they are called, and nothing else is shown.
func TestContainerChosen(t *testing.T) {
	e := docker(t)
	e.image(t, "busybox")
	e.do(t, "tag", "busybox", "copenclose/other:1")
	t.Cleanup(func() { e.do(t, "rmi", "copenclose/other:1") })
	sleeper := func(image string, flags ...string) *container {
		args := append(flags, "--mount", triggerMount, image, "sleep", "1000000")
		return e.run(t, args...)
	}
	web1 := sleeper("busybox", "--name", "ct-web1")
	web2 := sleeper("busybox", "--name", "ct-web2")
	db := sleeper("copenclose/other:1", "--name", "ct-db", "--hostname", "ct-database")
	all := []*container{web1, web2, db}

	runs := []struct {
		flags  []string
		chosen []*container
		others bool // other containers may be chosen, too
		run    *run
	}{
		{flags: []string{"-c", "ct-web*"}, chosen: []*container{web1, web2}},
		{flags: []string{"-c", "ct-web1,ct-db"}, chosen: []*container{web1, db}},
		{flags: []string{"-c", db.id[:7]}, chosen: []*container{db}},
		{flags: []string{"-c", "copenclose/other"}, chosen: []*container{db}},
		{flags: []string{"-c", "other:?"}, chosen: []*container{db}},
		{flags: []string{"-c", "ct-datab*"}, chosen: []*container{db}},
		{flags: []string{"-c", "ct-*,!ct-web2"}, chosen: []*container{web1, db}},
		{flags: []string{"-c", "!ct-web*"}, chosen: []*container{db}, others: true},
		{flags: []string{"--no-runtime", "-c", web2.id[:12]}, chosen: []*container{web2}},
	}
	for i := range runs {
		runs[i].run = start(t, append(runs[i].flags, "-o", "json")...)
	}
	table := newLines()
	late := startTo(t, table, "-c", "ct-late*", "-o", "json")
	host := trigger(t, trigger64, nil, "pairs", "1000")
	for _, c := range all {
		e.do(t, "exec", c.id, "/trigger", "pairs", "100")
	}
	for _, r := range runs {
		res := r.run.stop()
		var ids []string
		for _, c := range r.chosen {
			ids = append(ids, c.id)
		}
		for _, c := range all {
			want := 0
			if slices.Contains(ids, c.id) {
				want = 200
			}
			if n := len(by(res.events, c.id)); n != want {
				t.Errorf("%v: %d events of %s, want %d", r.flags, n, c.hostname, want)
			}
		}
		for _, e := range res.events {
			if !r.others && !slices.Contains(ids, e.container().text("id")) || e.number("pid") == host.pid {
				t.Fatalf("%v: shown is %v", r.flags, e)
			}
		}
		if res.filtered < 2000 {
			t.Errorf("%v: the host made 2000 calls and more, but %d were left out", r.flags, res.filtered)
		}
	}

	c := e.run(t, e.busybox(t, []string{"--name", "ct-late"}, "sh", "-c", steady)...)
	table.await(t, named(c.id, "ct-late"))
	late.stop()
	for _, e := range parseJSON(t, table.String()) {
		if e.container().text("id") != c.id {
			t.Fatalf("-c ct-late*: shown is %v", e)
		}
	}
}

// copenclose containers says what docker inspect says.
func TestContainersCommand(t *testing.T) {
	e := docker(t)
	e.image(t, "busybox")
	cs := []*container{
		e.run(t, "--name", "ct-listed", "busybox", "sleep", "1000000"),
		e.run(t, "--hostname", "box.example", "--pid=host", "busybox:latest", "sh", "-c", "sleep 1000000; :"),
	}
	listed, err := exec.Command(copenclose, "containers", "-o", "json").Output()
	if err != nil {
		t.Fatal(err)
	}
	table, err := exec.Command(copenclose, "containers").Output()
	if err != nil {
		t.Fatal(err)
	}
	byID := make(map[string]event)
	for _, c := range parseJSON(t, string(listed)) {
		byID[c.text("id")] = c
	}
	for _, c := range cs {
		var inspected event
		format := `{"id":{{json .Id}},"name":{{json .Name}},"image":{{json .Config.Image}},"hostname":{{json .Config.Hostname}},"pid":{{json .State.Pid}}}`
		if err := json.Unmarshal([]byte(e.do(t, "inspect", "--format", format, c.id)), &inspected); err != nil {
			t.Fatal(err)
		}
		inspected["name"] = strings.TrimPrefix(inspected.text("name"), "/")
		inspected["runtime"] = "docker"
		inspected["cgroup_id"] = float64(c.cgroup(t))
		if got := byID[c.id]; fmt.Sprint(got) != fmt.Sprint(inspected) {
			t.Errorf("listed %v\nwant   %v", got, inspected)
		}
		want := fmt.Sprint([]string{c.id[:12], inspected.text("name"), inspected.text("image"), "docker",
			inspected.text("hostname"), strconv.FormatUint(c.cgroup(t), 10), strconv.Itoa(c.pid), "-"})
		if !slices.ContainsFunc(strings.Split(string(table), "\n"), func(line string) bool { return fmt.Sprint(strings.Fields(line)) == want }) {
			t.Errorf("no line of %s in\n%s", want, table)
		}
	}
	if fmt.Sprint(strings.Fields(strings.SplitN(string(table), "\n", 2)[0])) != "[ID NAME IMAGE RUNTIME HOSTNAME CGROUPID PID POD]" {
		t.Errorf("header:\n%s", table)
	}
}

// From a container of its own the tool sees whose an event is, or says what it
// takes.
func TestContainerInside(t *testing.T) {
	e := docker(t)
	e.staticImage(t, "copenclose:inside", "-I", "-o", "json")
	c := e.run(t, e.busybox(t, []string{"--name", "ct-outside", "--pid=host"}, "sh", "-c", steady)...)
	plain := e.run(t, e.busybox(t, nil, "sh", "-c", steady)...)
	const warning = "docker run --privileged --pid=host --cgroupns=host"

	for _, flags := range []string{
		"--privileged --pid=host --cgroupns=host --volume /var/run/docker.sock:/var/run/docker.sock",
		"--privileged --pid=host --cgroupns=host",
		"--privileged --cgroupns=private",
	} {
		t.Run(flags, func(t *testing.T) {
			tool := e.tool(t, "copenclose:inside", strings.Fields(flags)...)
			table, said := newLines(), newLines()
			follow := exec.Command("docker", "logs", "--follow", tool.id)
			follow.Stdout, follow.Stderr = table, said
			if err := follow.Start(); err != nil {
				t.Fatal(err)
			}
			host := trigger(t, trigger64, nil, "pairs", "1000")
			partial := strings.Contains(flags, "--cgroupns=private")
			switch {
			case partial:
				said.await(t, regexp.MustCompile(regexp.QuoteMeta(warning)))
				table.await(t, regexp.MustCompile(`"hostname":"`+plain.hostname+`".*"container":\{"runtime":"unknown"\}`))
			case strings.Contains(flags, "docker.sock"):
				table.await(t, named(c.id, "ct-outside"))
			default:
				table.await(t, onlyID(c.id))
			}
			e.do(t, "kill", "--signal", "INT", tool.id)
			if status := e.do(t, "wait", tool.id); status != "0" {
				t.Errorf("copenclose in a container ended with status %s", status)
			}
			if err := follow.Wait(); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(said.String(), warning); (n > 0) != partial || n > 1 {
				t.Errorf("%d warnings:\n%s", n, said)
			}
			if partial {
				return
			}
			events := parseJSON(t, table.String())
			noneUnknown(t, events)
			for _, e := range events {
				if e.number("pid") == host.pid {
					t.Fatalf("-I shows the host: %v", e)
				}
			}
		})
	}
}

// Who connects from a container over a unix socket is told to who accepts, and the
// other way around it is the host, which is none.
func TestContainerPeer(t *testing.T) {
	e := docker(t)
	dir := socketDir(t)
	listener, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	args := e.busybox(t, []string{"--mount", "type=bind,target=/peer,source=" + dir}, "/trigger", "unix", "/peer/socket")
	r := start(t, "-o", "json", "--syscall", "accept,connect")
	accepted := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			err = conn.Close()
		}
		accepted <- err
	}()
	id := e.runToEnd(t, args...)
	if err := <-accepted; err != nil {
		t.Fatal(err)
	}
	res := r.stop()
	validate(t, res.stdout)

	clients := by(res.events, id)
	if len(clients) != 1 || clients[0].text("syscall") != "connect" || clients[0].number("peer_pid") != os.Getpid() ||
		clients[0]["peer_container"] != nil {
		t.Fatalf("of the container are %v, want its connect to process %d of the host", clients, os.Getpid())
	}
	for _, e := range res.events {
		if e.number("pid") == os.Getpid() && e.number("peer_pid") == clients[0].number("pid") {
			if peer, _ := e["peer_container"].(map[string]any); event(peer).text("id") != id {
				t.Errorf("not accepted from container %s: %v", id, e)
			}
			return
		}
	}
	t.Error("nobody accepted from the container")
}

// socketDir is a temporary directory in which the path of a socket is short enough
// for its address, as that of t.TempDir is not.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "copenclose-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// privateEngine is a second engine, which a test can stop. Its containers
// outlive that.
type privateEngine struct {
	*engine
	socket     string
	dir        string
	daemon     *exec.Cmd
	exited     chan struct{}
	containers []string
}

// secondEngine starts one that has the image busybox.
func secondEngine(t *testing.T) *privateEngine {
	t.Helper()
	e := docker(t)
	e.image(t, "busybox")
	dir := socketDir(t)
	p := &privateEngine{engine: e, dir: dir, socket: dir + "/docker.sock"}
	p.up(t)
	t.Cleanup(func() { p.remove(t) })
	image := dir + "/image.tar"
	e.do(t, "save", "--output", image, "busybox")
	p.do(t, "load", "--input", image)
	return p
}

// up starts the engine and returns when it answers.
func (p *privateEngine) up(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(p.dir+"/log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.daemon = exec.Command("dockerd", "--host", "unix://"+p.socket, "--data-root", p.dir+"/root", "--exec-root", p.dir+"/exec",
		"--pidfile", p.dir+"/pid", "--bridge", "none", "--iptables=false", "--live-restore")
	p.daemon.Stdout, p.daemon.Stderr = log, log
	// No Ctrl-C reaches it. An engine without a bridge removes the bridge that is
	// there: it gets a network where there is none.
	p.daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: unix.CLONE_NEWNET}
	if err := p.daemon.Start(); err != nil {
		t.Fatal(err)
	}
	daemon, exited := p.daemon, make(chan struct{})
	p.exited = exited
	go func() {
		_ = daemon.Wait()
		close(exited)
	}()
	for {
		_, err := p.try("--host", "unix://"+p.socket, "version")
		if err == nil {
			return
		}
		select {
		case <-exited:
			said, _ := os.ReadFile(p.dir + "/log")
			t.Fatalf("no second engine: %s\n%s", daemon.ProcessState, said)
		case <-time.After(20 * time.Millisecond): // as images/with-docker does
		}
	}
}

// down stops the engine and returns when it has ended.
func (p *privateEngine) down(t *testing.T) {
	t.Helper()
	if err := p.daemon.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.exited
}

// remove removes it with all that it has made, however the test left it.
func (p *privateEngine) remove(t *testing.T) {
	select {
	case <-p.exited:
		p.up(t)
	default:
		_ = p.daemon.Process.Signal(syscall.SIGCONT)
	}
	if len(p.containers) > 0 {
		p.do(t, append([]string{"rm", "--force"}, p.containers...)...)
	}
	p.down(t)
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(p.dir))
	if err != nil {
		t.Error(err)
	}
	for _, m := range slices.Backward(mounts) {
		if err := unix.Unmount(m.Mountpoint, 0); err != nil {
			t.Errorf("unmount %s: %v", m.Mountpoint, err)
		}
	}
}

func (p *privateEngine) do(t *testing.T, args ...string) string {
	t.Helper()
	return p.engine.do(t, append([]string{"--host", "unix://" + p.socket}, args...)...)
}

// run starts a container that makes calls now and then.
func (p *privateEngine) run(t *testing.T, name string) (id string) {
	t.Helper()
	id = p.do(t, append([]string{"run", "--detach", "--name", name}, p.busybox(t, nil, "sh", "-c", steady)...)...)
	p.containers = append(p.containers, id)
	return id
}

// While an engine is stopped, or does not answer, tracing goes on with what is
// known; that is noted once, and names come when it is back.
func TestContainerEngineStops(t *testing.T) {
	shared := docker(t)
	second := secondEngine(t)
	early := second.run(t, "ct-early")
	sockets := second.socket + ",/run/docker.sock"

	table := newLines()
	r := startTo(t, table, "-I", "-o", "json", "--runtime-socket", sockets)
	table.await(t, named(early, "ct-early"))
	second.down(t)
	meanwhile := shared.run(t, shared.busybox(t, []string{"--name", "ct-meanwhile"}, "sh", "-c", steady)...)
	note := r.stderr.await(t, regexp.MustCompile(`(?m)^copenclose: no names from `+regexp.QuoteMeta(second.socket)+`, its containers are shown by id until it answers: dial unix .*\n`))
	t.Log(note[0])
	table.await(t, named(meanwhile.id, "ct-meanwhile"))

	// Without the engine from the start.
	unnamed := newLines()
	without := startTo(t, unnamed, "-I", "-o", "json", "--runtime-socket", sockets)
	unnamed.await(t, onlyID(early))
	without.stderr.await(t, regexp.MustCompile(`no names from `+regexp.QuoteMeta(second.socket)))
	second.up(t)
	unnamed.await(t, named(early, "ct-early"))
	without.stop()

	late := second.run(t, "ct-late")
	table.await(t, named(late, "ct-late"))

	// One that is there and says nothing.
	if err := second.daemon.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	hung := newLines()
	with := startTo(t, hung, "-I", "-o", "json", "--runtime-socket", sockets)
	hung.await(t, onlyID(early))
	t.Log(with.stderr.await(t, regexp.MustCompile(`no names from `+regexp.QuoteMeta(second.socket)+`.* no answer .*\n`))[0])
	if err := second.daemon.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	hung.await(t, named(early, "ct-early"))

	for _, r := range []*run{r, without, with} {
		if r != without {
			r.stop()
		}
		if n := strings.Count(r.stderr.String(), "no names from"); n != 1 {
			t.Errorf("%d notes instead of one:\n%s", n, r.stderr)
		}
	}
	events, meantime := parseJSON(t, table.String()), 0
	first := slices.IndexFunc(events, func(e event) bool { return e.container().text("id") == meanwhile.id })
	last := slices.IndexFunc(events, func(e event) bool { return e.container().text("id") == late })
	for _, e := range by(events[first:last], early) {
		meantime++
		if e.container().text("name") != "ct-early" {
			t.Fatalf("the name is lost: %v", e)
		}
	}
	if meantime == 0 {
		t.Error("no event of the container while its engine was stopped")
	}
	for _, text := range []string{table.String(), unnamed.String(), hung.String()} {
		noneUnknown(t, parseJSON(t, text))
	}
}
