// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/copenclose/copenclose/internal/container/runtime"
	"github.com/copenclose/copenclose/internal/owner"
)

// quick is for tests, which take no socket of the machine's.
var quick = settings{
	sockets: func(string, owner.ID) []string { return nil },
	answer:  300 * time.Millisecond, firstRetry: time.Millisecond, lastRetry: 10 * time.Millisecond, firstRepeat: time.Millisecond,
}

// dockerServer speaks the API of Docker for the containers in it.
type dockerServer struct {
	mu         sync.Mutex
	containers map[string]map[string]any
	asked      [][]string    // the ids in each question
	hold       chan struct{} // answers wait until it is closed
	arrived    chan struct{} // a question came
}

func newDockerServer(containers ...map[string]any) *dockerServer {
	s := &dockerServer{containers: make(map[string]map[string]any), arrived: make(chan struct{}, 1000)}
	for _, c := range containers {
		s.containers[c["Id"].(string)] = c
	}
	return s
}

func running(id, name, image string) map[string]any {
	return map[string]any{"Id": id, "Names": []string{"/other/link", "/" + name}, "Image": image, "State": "running"}
}

func (s *dockerServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/_ping":
		fmt.Fprint(w, "OK")
	case "/containers/json":
		var filters map[string][]string
		if err := json.Unmarshal([]byte(r.URL.Query().Get("filters")), &filters); err != nil || r.URL.Query().Get("all") != "1" {
			http.Error(w, "bad question", http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		s.asked = append(s.asked, filters["id"])
		hold := s.hold
		s.mu.Unlock()
		s.arrived <- struct{}{}
		if hold != nil {
			select {
			case <-hold:
			case <-r.Context().Done():
				return
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		list := []map[string]any{}
		for _, id := range filters["id"] {
			if c, ok := s.containers[id]; ok {
				list = append(list, c)
			}
		}
		_ = json.NewEncoder(w).Encode(list)
	default:
		http.NotFound(w, r)
	}
}

// serve listens on a socket, which it returns.
func serve(t *testing.T, socket string, handler http.Handler) *httptest.Server {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// socketPath is short enough for a socket, which t.TempDir may not be.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func hasName(name string) func(change) bool {
	return func(c change) bool { return c.c != nil && c.c.Name == name }
}

func TestDockerNames(t *testing.T) {
	socket := socketPath(t)
	kubelet := running(idB, "k8s_app_shop_prod_uid_0", "busybox")
	kubelet["Labels"] = map[string]string{
		"io.kubernetes.pod.name": "shop", "io.kubernetes.pod.namespace": "prod",
		"io.kubernetes.pod.uid": podUID, "io.kubernetes.container.name": "app",
	}
	// Its image has such labels, and it is in no pod.
	pretender := running(idC, "pretender", "busybox")
	pretender["Labels"] = kubelet["Labels"]
	serve(t, socket, newDockerServer(running(idA, "web", "nginx:1"), kubelet, pretender))
	r, changes := registry(t, Config{Sockets: []string{socket}})
	r.Made(1, "/docker/"+idA)
	started(t, r)
	until(t, changes, "the name of one that ran", hasName("web"))
	if c := wantLookup(t, r, 1, idA, true); c.Image != "nginx:1" || c.Label != "web" {
		t.Errorf("%+v", c)
	}

	before := wantLookup(t, r, 1, idA, true)
	own := "/kubepods/burstable/pod" + podUID + "/docker-" + idB + ".scope"
	r.Made(2, own)
	r.Made(3, own+"/inside")
	named := make(map[uint64]bool)
	until(t, changes, "the name of one that started, for its own cgroup and the one inside", func(c change) bool {
		named[c.cgroup] = named[c.cgroup] || hasName("app")(c)
		return named[2] && named[3]
	})
	if c := wantLookup(t, r, 3, idB, true); c.Label != "shop/app" || c.Namespace != "prod" || c.PodUID != podUID {
		t.Errorf("%+v", c)
	}
	if wantLookup(t, r, 1, idA, true) != before {
		t.Error("a container changed, and nothing was found out about it")
	}
	r.Made(4, "/docker/"+idC)
	until(t, changes, "the name of the pretender", hasName("pretender"))
	if c := wantLookup(t, r, 4, idC, true); c.Pod != "" || c.Namespace != "" || c.PodUID != "" {
		t.Errorf("its labels make it the container of a pod: %+v", c)
	}
}

// A container's cgroup is there before the runtime lists it, and before it runs.
func TestAskedAgain(t *testing.T) {
	socket := socketPath(t)
	server := newDockerServer()
	serve(t, socket, server)
	r, changes := registry(t, Config{Sockets: []string{socket}})
	r.Made(1, "/docker/"+idA)
	started(t, r)
	<-server.arrived
	server.mu.Lock()
	created := running(idA, "web", "nginx")
	created["State"] = "created"
	server.containers[idA] = created
	server.mu.Unlock()
	until(t, changes, "the name", hasName("web"))
}

// 100 containers that start while one question is open make one more.
func TestCoalesces(t *testing.T) {
	socket := socketPath(t)
	server := newDockerServer(running(idA, "first", "busybox"))
	for i := range 100 {
		id := fmt.Sprintf("%064x", i)
		server.containers[id] = running(id, fmt.Sprint("c", i), "busybox")
	}
	server.hold = make(chan struct{})
	serve(t, socket, server)
	r, changes := registry(t, Config{Sockets: []string{socket}})
	r.Made(1, "/docker/"+idA)
	started(t, r)
	<-server.arrived
	for i := range 100 {
		r.Made(uint64(1000+i), fmt.Sprintf("/docker/%064x", i))
	}
	source := r.names.sources[sourceKey{socket: socket}]
	eventually(t, "all are wanted", func() bool {
		source.mu.Lock()
		defer source.mu.Unlock()
		return len(source.wanted) == 101
	})
	close(server.hold)
	for range 100 {
		until(t, changes, "a name", func(c change) bool { return c.c != nil && strings.HasPrefix(c.c.Name, "c") })
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	if len(server.asked) != 2 || len(server.asked[1]) != 100 {
		t.Errorf("%d questions", len(server.asked))
	}
}

// A new container is asked for first, however many there are that no runtime knows.
func TestManyUnknown(t *testing.T) {
	s := newSource("/run/x.sock", newNames(&Config{}, nil, usual))
	unknown := make([]*liveContainer, 10_000)
	for i := range unknown {
		unknown[i] = &liveContainer{}
	}
	s.want(unknown)
	for range len(unknown) / runtime.MaxQueries {
		batch, _ := s.due(time.Now())
		for _, a := range batch {
			a.request.tries++
		}
	}
	for _, c := range unknown {
		if tries := s.wanted[c].tries; tries != 1 {
			t.Fatalf("one was asked for %d times when others were once", tries)
		}
	}
	web := &liveContainer{}
	s.want([]*liveContainer{web})
	batch, _ := s.due(time.Now())
	if len(batch) != runtime.MaxQueries || batch[0].container != web {
		t.Errorf("it is not the first of %d", len(batch))
	}
}

// More than can be remembered are shown by id, which is noted once.
func TestTooManyUnknown(t *testing.T) {
	notes := make(chan string, 10)
	n := newNames(&Config{Note: func(text string) { notes <- text }}, nil, usual)
	s := newSource("/run/x.sock", n)
	containers := make([]*liveContainer, maxWanted+1)
	for i := range containers {
		containers[i] = &liveContainer{}
	}
	s.want(containers)
	s.want(containers[:1])
	if note := <-notes; !strings.Contains(note, "65536 containers wait for a name from /run/x.sock") || len(notes) > 0 {
		t.Errorf("%q, and %d more", note, len(notes))
	}
}

// What a runtime may do, and the note that is due then.
func TestTrouble(t *testing.T) {
	for _, test := range []struct {
		name string
		make func(t *testing.T, socket string)
		note string
	}{
		{"absent", func(*testing.T, string) {}, "no such file"},
		{"refusing", func(t *testing.T, socket string) {
			listener, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			listener.(*net.UnixListener).SetUnlinkOnClose(false)
			listener.Close()
		}, "refused"},
		{"failing", func(t *testing.T, socket string) {
			serve(t, socket, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, "out of order", http.StatusInternalServerError)
			}))
		}, "out of order"},
		{"hung", func(t *testing.T, socket string) {
			listener, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { listener.Close() })
		}, "no answer within"},
		{"breaking off", func(t *testing.T, socket string) {
			listener, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { listener.Close() })
			go func() {
				for {
					c, err := listener.Accept()
					if err != nil {
						return
					}
					c.Close()
				}
			}()
		}, "neither the API of Docker nor CRI"},
		{"talking nonsense", func(t *testing.T, socket string) {
			serve(t, socket, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "[{") }))
		}, "decode"},
	} {
		t.Run(test.name, func(t *testing.T) {
			socket := socketPath(t)
			test.make(t, socket)
			notes := make(chan string, 100)
			r, changes := registry(t, Config{Sockets: []string{socket}, Note: func(s string) { notes <- s }})
			r.Made(1, "/docker/"+idA)
			started(t, r)
			note := until(t, notes, "the note", func(string) bool { return true })
			if !strings.Contains(note, test.note) || !strings.Contains(note, socket) || strings.Contains(note, "\n") {
				t.Errorf("note: %s", note)
			}
			wantLookup(t, r, 1, idA, true)

			// It comes back.
			os.Remove(socket)
			serve(t, socket, newDockerServer(running(idA, "web", "nginx")))
			until(t, changes, "the name", hasName("web"))
			if len(notes) > 0 {
				t.Errorf("another note: %s", <-notes)
			}
		})
	}
}

func TestRestarting(t *testing.T) {
	socket := socketPath(t)
	server := serve(t, socket, newDockerServer(running(idA, "web", "nginx")))
	notes := make(chan string, 100)
	r, changes := registry(t, Config{Sockets: []string{socket}, Note: func(s string) { notes <- s }})
	r.Made(1, "/docker/"+idA)
	started(t, r)
	until(t, changes, "a name", hasName("web"))
	server.Close()
	r.Made(2, "/docker/"+idB)
	until(t, notes, "the note", func(string) bool { return true })
	serve(t, socket, newDockerServer(running(idB, "new", "nginx")))
	until(t, changes, "a name after it came back", hasName("new"))
	wantLookup(t, r, 1, idA, true)
}

func TestSettle(t *testing.T) {
	socket := socketPath(t)
	serve(t, socket, newDockerServer(running(idA, "web", "nginx")))
	r, _ := registry(t, Config{Sockets: []string{socket}})
	for i, id := range []string{idA, idB} {
		if err := os.MkdirAll(filepath.Join(dirOf(t, r), "docker", id), 0o755); err != nil {
			t.Fatal(err)
		}
		r.Made(uint64(1+i), "/docker/"+id)
	}
	started(t, r)
	if err := r.WaitForNames(t.Context()); err != nil {
		t.Fatal(err)
	}
	var labels []string
	for _, c := range r.List() {
		labels = append(labels, c.Label)
	}
	if want := []string{idB[:12], "web"}; !slices.Equal(labels, want) {
		t.Errorf("got %q, want %q", labels, want)
	}
}

func TestNoSocket(t *testing.T) {
	set := quick
	set.sockets = func(name string, madeBy owner.ID) []string {
		if name != "cri-o" || madeBy != owner.Root {
			t.Errorf("%s of %s is looked for", name, madeBy)
		}
		return []string{filepath.Join(t.TempDir(), "crio.sock")}
	}
	notes := make(chan string, 100)
	r, changes := registryWith(t, Config{Note: func(s string) { notes <- s }}, set)
	r.Made(1, "/x/crio-"+idA+".scope")
	r.Made(2, "/x/crio-"+idB+".scope")
	started(t, r)
	note := until(t, notes, "the note", func(string) bool { return true })
	if !strings.Contains(note, "cri-o") || !strings.Contains(note, "crio.sock") {
		t.Errorf("note: %s", note)
	}
	r.Made(3, "/x/crio-"+idC+".scope")
	until(t, changes, "the third", func(c change) bool { return c.cgroup == 3 })
	if len(notes) > 0 {
		t.Errorf("another note: %s", <-notes)
	}
}

// The environment names the socket as for Docker's own client. What is no unix socket
// gets one line, and the usual sockets are asked.
func TestEnvironment(t *testing.T) {
	socket := socketPath(t)
	serve(t, socket, newDockerServer(running(idA, "web", "nginx:1")))
	set := quick
	set.sockets = runtime.Sockets
	t.Setenv("DOCKER_HOST", "unix://"+socket)
	r, changes := registryWith(t, Config{}, set)
	r.Made(1, "/docker/"+idA)
	started(t, r)
	until(t, changes, "the name from DOCKER_HOST", hasName("web"))

	set.sockets = func(string, owner.ID) []string { return []string{socket} }
	t.Setenv("DOCKER_HOST", "tcp://192.0.2.1:2375\n")
	notes := make(chan string, 10)
	r, changes = registryWith(t, Config{Note: func(s string) { notes <- s }}, set)
	r.Made(1, "/docker/"+idA)
	started(t, r)
	until(t, changes, "the name from the usual socket", hasName("web"))
	const want = `DOCKER_HOST is tcp://192.0.2.1:2375\n: only a unix socket can be asked for names, like unix:///run/docker.sock`
	if got := <-notes; got != want || len(notes) > 0 {
		t.Errorf("%q, and %d more", got, len(notes))
	}
}
