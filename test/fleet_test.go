// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCollector: what is sent arrives through a real Collector exactly once, also what
// was sent while it was away.
func TestCollector(t *testing.T) {
	behind := newCollector(t)
	listen := freeAddress(t)
	c := startCollector(t, listen, behind.URL)
	r := start(t, "serve", "--otlp", "http://"+listen, "--events", "failed", "--rate", "0", "--no-runtime", "-u", strconv.Itoa(serveUser))
	once := func(process int, paths map[string]bool) {
		t.Helper()
		records := behind.await(t, len(paths), func(one sentRecord) bool {
			return isNowhere(one) && one.attributes["process.pid"] == strconv.Itoa(process)
		})
		for _, one := range records {
			path := one.attributes["file.path"]
			if one.attributes["error.type"] != "ENOENT" || one.attributes["process.user.id"] != strconv.Itoa(serveUser) || one.attributes["host.name"] == "" {
				t.Errorf("got %+v", one)
			}
			if !paths[path] {
				t.Errorf("%s arrived once too often", path)
			}
			delete(paths, path)
		}
	}
	once(look(t, 300))
	c.end(unix.SIGKILL)
	process, paths := look(t, 300)
	r.stderr.await(t, regexp.MustCompile(`send to .*connection refused`))
	// What it was handing on as it was killed, the Collector hands on again: that is of
	// the process before.
	c.start()
	once(process, paths)
	r.signal(unix.SIGTERM)
	<-r.exited
	accountOf(t, r)
}

var accountLine = regexp.MustCompile(`copenclose: (\d+) events made: (\d+) sent, (\d+) rejected, (\d+) dropped, (\d+) lost, (\d+) over the rate`)

// account is what became of events.
type account struct{ made, sent, rejected, dropped, lost, limited int }

// accountOf returns what a tool that has ended said, and checks that it adds up.
func accountOf(t *testing.T, r *run) (a account) {
	t.Helper()
	m := accountLine.FindStringSubmatch(r.stderr.String())
	if m == nil {
		t.Fatalf("%s, no account in\n%s", r.cmd.ProcessState, r.stderr)
	}
	for i, n := range []*int{&a.made, &a.sent, &a.rejected, &a.dropped, &a.lost, &a.limited} {
		*n, _ = strconv.Atoi(m[i+1])
	}
	if a.made != a.sent+a.rejected+a.dropped+a.lost+a.limited {
		t.Errorf("it does not add up: %s", m[0])
	}
	return a
}

// A node is a tool in a network and a UTS namespace of its own, and a pod that it traces.
type node struct {
	t                   *testing.T
	name                string
	here, there         string // addresses of both ends of its cable; ours is here
	pod, namespace, uid string
	container, id       string
	cgroup              string // of the pod's container
	fault               *fault
	run                 *run
}

// newNode makes all of a node but the tool.
func newNode(t *testing.T, number int) *node {
	t.Helper()
	n := &node{
		t: t, name: fmt.Sprintf("node-%d", number), here: fmt.Sprintf("10.219.%d.1", number), there: fmt.Sprintf("10.219.%d.2", number),
		pod: fmt.Sprintf("web-%d", number), namespace: "shop", container: "app",
		uid: fmt.Sprintf("5ae1aaaa-0000-4000-8000-%012d", number), id: fmt.Sprintf("%064x", 0xf1ee70000+number),
	}
	space, cable := "copenclose-"+n.name, fmt.Sprintf("ccl%d", number)
	do := func(words ...string) {
		if said, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, said)
		}
	}
	do("ip", "netns", "add", space)
	t.Cleanup(func() { do("ip", "netns", "del", space) })
	do("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
	do("ip", "addr", "add", n.here+"/24", "dev", cable)
	do("ip", "link", "set", cable, "up")
	for _, words := range []string{"addr add " + n.there + "/24 dev eth0", "link set eth0 up", "link set lo up"} {
		do(append([]string{"ip", "-n", space}, strings.Fields(words)...)...)
	}
	top := filepath.Join(cgroup2Mount(t), "copenclose-"+n.name)
	n.cgroup = filepath.Join(top, "kubepods/besteffort/pod"+n.uid, n.id)
	if err := os.MkdirAll(n.cgroup, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for dir := n.cgroup; strings.HasPrefix(dir, top); dir = filepath.Dir(dir) {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		}
	})
	return n
}

// start starts the tool, where /var/log/pods is as the kubelet of the node makes it.
func (n *node) start(args ...string) {
	n.t.Helper()
	logs := n.t.TempDir()
	folder := logs + "/pods/" + n.namespace + "_" + n.pod + "_" + n.uid
	for _, dir := range []string{folder + "/" + n.container, logs + "/containers"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			n.t.Fatal(err)
		}
	}
	link := logs + "/containers/" + n.pod + "_" + n.namespace + "_" + n.container + "-" + n.id + ".log"
	if err := os.Symlink("/var/log/pods/"+filepath.Base(folder)+"/"+n.container+"/0.log", link); err != nil {
		n.t.Fatal(err)
	}
	script := `hostname ` + n.name + ` && mount -t tmpfs none /var/log && mkdir /var/log/pods /var/log/containers &&
		mount --bind ` + logs + `/pods /var/log/pods && mount --bind ` + logs + `/containers /var/log/containers && exec "$0" "$@"`
	program := []string{"nsenter", "--net=/run/netns/copenclose-" + n.name, "unshare", "--uts", "--mount", "sh", "-c", script, copenclose, "serve"}
	cgroup := filepath.Dir(filepath.Dir(filepath.Dir(filepath.Dir(n.cgroup))))
	n.run = startProgram(n.t, nil, program, append([]string{"--listen", n.there + ":9435", "--node", n.name, "--cgroup", cgroup}, args...)...)
}

// look has the pod look for files that are not there, below a folder.
func (n *node) look(folder string, files int) {
	n.t.Helper()
	var args []string
	for i := range files {
		args = append(args, fmt.Sprintf("%s/%s/%d", folder, n.name, i))
	}
	n.do("cat", args...)
}

// do runs a program in the pod.
func (n *node) do(program string, args ...string) {
	n.t.Helper()
	cgroup, err := os.Open(n.cgroup)
	if err != nil {
		n.t.Fatal(err)
	}
	defer cgroup.Close()
	cmd := exec.Command(program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(cgroup.Fd())}
	_ = cmd.Run() // cat fails
	if cmd.ProcessState == nil {
		n.t.Fatalf("%s was not run", program)
	}
}

// A fault is what a proxy before the Collector does to requests; nothing once it has none.
type fault struct {
	mu     sync.Mutex
	kinds  []string // "429", "500", "half-closed": what happens to the next requests
	met    map[string]int
	always string // to all others; empty for nothing
}

func (f *fault) next() (kind string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	kind = f.always
	if len(f.kinds) > 0 {
		kind, f.kinds = f.kinds[0], f.kinds[1:]
	}
	f.met[kind]++
	return kind
}

func (f *fault) set(always string, kinds ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.always, f.kinds = always, kinds
}

func (f *fault) times(kind string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.met[kind]
}

// proxy listens for a node, and returns where.
func (n *node) proxy(to string) string {
	n.t.Helper()
	n.fault = &fault{met: make(map[string]int)}
	target, err := url.Parse("http://" + to)
	if err != nil {
		n.t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.ErrorLog = nil
	l, err := net.Listen("tcp", n.here+":0")
	if err != nil {
		n.t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch kind := n.fault.next(); kind {
		case "":
			forward.ServeHTTP(w, r)
		case "half-closed": // it has the request, and nobody hears of it
			forward.ServeHTTP(discard{http.Header{}}, r)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = conn.(*net.TCPConn).CloseWrite()
				time.AfterFunc(time.Second, func() { conn.Close() })
			}
		default:
			status, _ := strconv.Atoi(kind)
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(status)
		}
	})}
	go func() { _ = server.Serve(l) }()
	n.t.Cleanup(func() { server.Close() })
	return l.Addr().String()
}

// discard is an answer that nobody gets.
type discard struct{ header http.Header }

func (d discard) Header() http.Header            { return d.header }
func (d discard) Write(text []byte) (int, error) { return len(text), nil }
func (d discard) WriteHeader(int)                {}

// TestFleet: five nodes, a Collector, a store of logs and one of metrics. Every event of a
// calm time is found by a query, with pod and path, exactly once. Then all that can go
// wrong does, and what the tools say of their events is what happened to them.
func TestFleet(t *testing.T) {
	store := startStore(t)
	_, port, _ := net.SplitHostPort(freeAddress(t))
	gateway := startCollector(t, "0.0.0.0:"+port, store.url+"/insert/opentelemetry")
	var nodes []*node
	var targets []string
	for i := range 5 {
		n := newNode(t, i+1)
		to := n.here + ":" + port
		if i < 3 {
			to = n.proxy("127.0.0.1:" + port)
		}
		// A dup3 that closes something is an event, and nothing that is counted.
		n.start("--otlp", "http://"+to, "--events", "all", "--rate", "0", "--latency", "--interval", "1s", "-s", "!dup2,!dup3")
		nodes, targets = append(nodes, n), append(targets, n.there+":9435")
	}
	summing := newNode(t, 6)
	summing.start("--otlp", "http://"+summing.here+":"+port, "--interval", "1s")
	metrics := startPrometheus(t, append(targets, summing.there+":9435")...)

	t.Log("calm")
	const files = 1000
	together(nodes, func(n *node) { n.look("/calm", files) })
	summing.look("/calm", 10)
	checkCalm(t, store, nodes, files)

	t.Log("answers 429 and 500, half-closed connections, a Collector that is killed")
	nodes[0].fault.set("", "429", "429", "503")
	nodes[1].fault.set("", "500", "400")
	nodes[2].fault.set("", "half-closed", "half-closed")
	together(nodes, func(n *node) { n.look("/faults", 2000) })
	eventually(t, "all faults are met", func() error {
		for i, kinds := range [][]string{{"429", "503"}, {"500"}, {"half-closed"}} {
			for _, kind := range kinds {
				if nodes[i].fault.times(kind) == 0 {
					return fmt.Errorf("%s met no %s", nodes[i].name, kind)
				}
			}
		}
		return nil
	})
	gateway.end(unix.SIGKILL)
	together(nodes, func(n *node) { n.look("/killed", 2000) })
	nodes[4].run.stderr.await(t, regexp.MustCompile(`send to .*connection refused`))
	gateway.start()

	t.Log("a store that is away")
	store.end(unix.SIGTERM)
	together(nodes, func(n *node) { n.look("/away", 2000) })
	store.start()

	t.Log("a queue that is full")
	nodes[0].fault.set("503")
	for nodes[0].scraped("copenclose_export_records_total")[`fate="dropped"`] == 0 {
		nodes[0].do(trigger64, "pairs", "20000")
	}
	nodes[0].fault.set("")

	t.Log("the dashboard and the saved queries")
	checkDashboard(t, metrics, store)
	checkQueries(t, store)

	accounts := make([]account, len(nodes))
	for i, n := range nodes {
		counted := 0
		calls := n.scraped("copenclose_calls_total")
		for _, of := range calls {
			counted += int(of)
		}
		n.run.signal(unix.SIGTERM)
		<-n.run.exited
		accounts[i] = accountOf(t, n.run)
		t.Logf("%s: %+v", n.name, accounts[i])
		if accounts[i].made != counted {
			rows, _ := store.query(fmt.Sprintf(`host.name:=%q | stats by (thread.name, copenclose.syscall, error.type) count() n`, n.name))
			t.Errorf("%s: %d events made, but %d calls counted: %v\n%v", n.name, accounts[i].made, counted, calls, rows)
		}
	}
	if accounts[0].dropped == 0 || accounts[1].rejected == 0 {
		t.Error("nothing was dropped, or nothing rejected")
	}
	for i, n := range nodes {
		query := fmt.Sprintf(`host.name:=%q | stats count() n, count_uniq(_time, "thread.id", "copenclose.syscall") events`, n.name)
		eventually(t, "what "+n.name+" sent is in the store", func() error {
			rows, err := store.query(query)
			if err != nil {
				return err
			}
			if events := rows[0]["events"]; events != strconv.Itoa(accounts[i].sent) {
				return fmt.Errorf("%s events of %d, in %s records", events, accounts[i].sent, rows[0]["n"])
			}
			t.Logf("%s: %s events in %s records", n.name, rows[0]["events"], rows[0]["n"])
			return nil
		})
	}
}

// scraped returns the values of a metric by its labels.
func (n *node) scraped(metric string) map[string]float64 {
	n.t.Helper()
	return scrape(n.t, "http://"+n.there+":9435/metrics", metric)
}

// together does something on all nodes at once.
func together(nodes []*node, do func(*node)) {
	var all sync.WaitGroup
	for _, n := range nodes {
		all.Go(func() { do(n) })
	}
	all.Wait()
}

// checkCalm finds every event of the calm time.
func checkCalm(t *testing.T, store *logStore, nodes []*node, files int) {
	t.Helper()
	var rows []map[string]string
	eventually(t, "the store has what happened", func() (err error) {
		rows, err = store.query(`event_name:=copenclose.open file.path:="/calm/"*`)
		if err == nil && len(rows) < len(nodes)*files {
			err = fmt.Errorf("%d of %d", len(rows), len(nodes)*files)
		}
		return err
	})
	of := make(map[string]*node)
	for _, n := range nodes {
		of[n.name] = n
	}
	seen := make(map[string]bool)
	for _, row := range rows {
		n, path := of[row["host.name"]], row["file.path"]
		switch {
		case n == nil || seen[path] || !strings.HasPrefix(path, "/calm/"+n.name+"/"):
			t.Errorf("%s is of the wrong node, or there twice: %v", path, row)
		case row["k8s.pod.name"] != n.pod || row["k8s.namespace.name"] != n.namespace || row["k8s.pod.uid"] != n.uid ||
			row["k8s.container.name"] != n.container || row["container.id"] != n.id || row["error.type"] != "ENOENT":
			t.Errorf("%s: %v", path, row)
		}
		seen[path] = true
	}
	if len(seen) != len(nodes)*files {
		t.Errorf("%d paths of %d", len(seen), len(nodes)*files)
	}
}

// checkDashboard runs each query of the dashboard, of which each must find something.
func checkDashboard(t *testing.T, metrics *metricStore, store *logStore) {
	t.Helper()
	text, err := os.ReadFile("../packaging/fleet/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct {
				Datasource struct{ Type string }
				Expr       string
			}
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$__rate_interval", "1m", "$__range", "10m", "$instance", ".*", "$namespace", ".*")
	asked := 0
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			asked++
			expression := fill.Replace(target.Expr)
			eventually(t, panel.Title+": "+expression, func() error {
				if target.Datasource.Type == "victoriametrics-logs-datasource" {
					return found(store.query(expression))
				}
				series, err := metrics.query(expression)
				if err == nil && series == 0 {
					err = fmt.Errorf("no series")
				}
				return err
			})
		}
	}
	if asked < 10 {
		t.Errorf("%d queries in the dashboard", asked)
	}
}

func found(rows []map[string]string, err error) error {
	if err == nil && len(rows) == 0 {
		err = fmt.Errorf("nothing found")
	}
	return err
}

// checkQueries runs the saved queries, of which each must find something.
func checkQueries(t *testing.T, store *logStore) {
	t.Helper()
	text, err := os.ReadFile("../packaging/fleet/queries.logsql")
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for block := range strings.SplitSeq(string(text), "\n\n") {
		var query string
		for line := range strings.Lines(block) {
			if !strings.HasPrefix(line, "#") {
				query += line
			}
		}
		if strings.TrimSpace(query) == "" {
			continue
		}
		asked++
		eventually(t, block, func() error { return found(store.query(query)) })
		rows, _ := store.query(query)
		t.Logf("%s\n%v", strings.TrimSpace(query), rows[0])
	}
	if asked < 5 {
		t.Errorf("%d saved queries", asked)
	}
}
