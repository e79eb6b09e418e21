// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/copenclose/copenclose/internal/owner"
)

const alice = 1999

// aliceOwns gives a file to alice.
func aliceOwns(t *testing.T, path string) {
	t.Helper()
	if err := os.Chown(path, alice, alice); err != nil {
		t.Fatal(err)
	}
}

// A user's runtime names that user's containers, root's names root's, and neither is
// even asked about the other's.
func TestUsersRuntime(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give files to a user")
	}
	for _, explicit := range []bool{false, true} {
		t.Run(fmt.Sprintf("explicit %t", explicit), func(t *testing.T) {
			rootSocket, aliceSocket := socketPath(t), socketPath(t)
			aliceOwns(t, filepath.Dir(aliceSocket))
			roots := newDockerServer(running(idA, "realweb", "nginx"), running(idB, "by-root", "nginx"))
			alices := newDockerServer(running(idA, "forged", "evil"), running(idB, "by-alice", "evil"), running(idC, "forged", "evil"))
			serve(t, rootSocket, roots)
			serve(t, aliceSocket, alices)
			set := quick
			set.sockets = func(name string, madeBy owner.ID) []string {
				return map[owner.ID][]string{owner.Root: {rootSocket}, alice: {aliceSocket}}[madeBy]
			}
			var cfg Config
			if explicit {
				cfg.Sockets = []string{aliceSocket, rootSocket}
			}
			r, changes := registryWith(t, cfg, set)
			home := "/user.slice/user-1999.slice/user@1999.service"
			for _, dir := range []string{"/docker", home} {
				if err := os.MkdirAll(dirOf(t, r)+dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			aliceOwns(t, dirOf(t, r)+home)
			r.Made(1, "/docker/"+idA)
			r.Made(2, home+"/docker-"+idB+".scope")
			r.Made(3, home+"/docker-"+idA+".scope") // the id of root's
			r.Made(4, "/docker/"+idC)               // root's, of which only alice's runtime says something
			started(t, r)
			want := map[uint64]string{1: "realweb", 2: "by-alice", 3: "forged"}
			got := make(map[uint64]string)
			until(t, changes, "the names", func(c change) bool {
				if c.c != nil && c.c.Name != "" {
					if got[c.cgroup] = c.c.Name; c.c.Name != want[c.cgroup] {
						t.Fatalf("cgroup %d is called %q", c.cgroup, c.c.Name)
					}
				}
				return len(got) == len(want)
			})
			for who, server := range map[string]*dockerServer{"root": roots, "alice": alices} {
				server.mu.Lock()
				for _, ids := range server.asked {
					for _, id := range ids {
						if id == map[string]string{"root": idB, "alice": idC}[who] {
							t.Errorf("%s's runtime was asked for %s", who, id)
						}
					}
				}
				server.mu.Unlock()
			}
		})
	}
}

// A socket that more than one user could have put there is not asked, and that is
// noted.
func TestNobodysSocket(t *testing.T) {
	socket := socketPath(t)
	if err := os.Chmod(filepath.Dir(socket), 0o777); err != nil {
		t.Fatal(err)
	}
	server := newDockerServer(running(idA, "forged", "evil"))
	serve(t, socket, server)
	notes := make(chan string, 10)
	r, _ := registry(t, Config{Sockets: []string{socket}, Note: func(s string) { notes <- s }})
	r.Made(1, "/docker/"+idA)
	started(t, r)
	if note := until(t, notes, "the note", func(string) bool { return true }); !strings.Contains(note, "more than one user") {
		t.Error(note)
	}
	if c := wantLookup(t, r, 1, idA, true); c.Name != "" || len(server.asked) > 0 {
		t.Errorf("it is called %q", c.Name)
	}
}

// What a runtime says in an error stays one line of printable text.
func TestNotesAreEscaped(t *testing.T) {
	socket := socketPath(t)
	serve(t, socket, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "\x1b[2J\a\u009b1m\u202eevil\ncopenclose: 0 events shown\r", http.StatusInternalServerError)
	}))
	notes := make(chan string, 10)
	r, _ := registry(t, Config{Sockets: []string{socket}, Note: func(s string) { notes <- s }})
	r.Made(1, "/docker/"+idA)
	started(t, r)
	note := until(t, notes, "the note", func(string) bool { return true })
	if strings.ContainsAny(note, "\x1b\a\u009b\u202e\n\r") || !strings.Contains(note, `\x1b[2J\x07\u009b1m\u202eevil\ncopenclose:`) {
		t.Errorf("%q", note)
	}
}

// Closing does not wait for what a runtime does.
func TestCloseWhileAsking(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"endless": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "[")
			for r.Context().Err() == nil {
				if _, err := fmt.Fprint(w, strings.Repeat(`{"Id":"x"},`, 1000)); err != nil {
					return
				}
			}
		},
		"hung": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			socket := socketPath(t)
			arrived := make(chan struct{}, 100)
			serve(t, socket, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/_ping" {
					return
				}
				arrived <- struct{}{}
				handler(w, r)
			}))
			set := quick
			set.answer = time.Hour
			r, _ := registryWith(t, Config{Sockets: []string{socket}}, set)
			r.Made(1, "/docker/"+idA)
			r.start()
			<-arrived
			closed := make(chan struct{})
			go func() { r.Close(); close(closed) }()
			select {
			case <-closed:
			case <-time.After(10 * time.Second):
				t.Fatal("it waits")
			}
		})
	}
}

// eventServer is a dockerServer with events.
type eventServer struct {
	*dockerServer
	events   chan string // ids that are renamed
	followed chan string // the value of since
}

func (s *eventServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/events" {
		s.dockerServer.ServeHTTP(w, r)
		return
	}
	w.(http.Flusher).Flush()
	s.followed <- r.URL.Query().Get("since")
	for {
		select {
		case id, ok := <-s.events:
			if !ok {
				return
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"Type": "container", "Action": "rename", "Actor": map[string]any{
				"ID": id, "Attributes": map[string]string{"name": "not-looked-at", "oldName": "/web"},
			}})
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// The new name of a container shows, and is what it is chosen by.
func TestRename(t *testing.T) {
	s := &eventServer{newDockerServer(running(idA, "web", "nginx"), running(idB, "db", "nginx")), make(chan string), make(chan string, 10)}
	socket := socketPath(t)
	serve(t, socket, s)
	r, changes := registry(t, Config{Sockets: []string{socket}, Follow: true, Choose: func(c *Container) bool { return c.Name == "api" }})
	r.Made(1, "/docker/"+idA)
	r.Made(2, "/docker/"+idB)
	started(t, r)
	until(t, changes, "the name", hasName("web"))
	first := <-s.followed
	rename := func(id, name string) {
		s.mu.Lock()
		s.containers[id] = running(id, name, "nginx")
		s.mu.Unlock()
		s.events <- id
	}
	rename(idA, "api")
	until(t, changes, "the new name", func(c change) bool { return hasName("api")(c) && c.c.Chosen })
	rename(idA, "old")
	until(t, changes, "the newest name", func(c change) bool { return hasName("old")(c) && !c.c.Chosen })
	s.events <- idC // of no container that there is

	// The runtime starts again, and what was renamed meanwhile is not lost.
	close(s.events)
	if since := <-s.followed; since != first {
		t.Errorf("events are asked for since %s, and then since %s", first, since)
	}
}

// A runtime without events is asked for names as ever, and a list needs none.
func TestNoEvents(t *testing.T) {
	socket := socketPath(t)
	server := newDockerServer(running(idA, "web", "nginx"), running(idB, "db", "nginx"))
	serve(t, socket, server)
	r, changes := registry(t, Config{Sockets: []string{socket}, Follow: true})
	r.Made(1, "/docker/"+idA)
	started(t, r)
	until(t, changes, "the name", hasName("web"))
	r.Made(2, "/docker/"+idB)
	until(t, changes, "the next name", hasName("db"))

	s := &eventServer{newDockerServer(running(idA, "web", "nginx")), make(chan string), make(chan string, 10)}
	socket = socketPath(t)
	serve(t, socket, s)
	list, changes := registry(t, Config{Sockets: []string{socket}})
	list.Made(1, "/docker/"+idA)
	started(t, list)
	until(t, changes, "the name", hasName("web"))
	if len(s.followed) > 0 {
		t.Error("events are followed that nobody needs")
	}
}

// Where no runtime can be reached, the names of the files of pods' logs are what
// containers are called.
func TestPodLogsInPlaceOfSocket(t *testing.T) {
	dir := t.TempDir()
	set := quick
	set.sockets = func(string, owner.ID) []string { return []string{dir + "/containerd.sock"} }
	set.logs.Containers, set.logs.Pods = dir+"/containers", dir+"/pods"
	pod := set.logs.Pods + "/prod_shop-7d4_" + podUID
	for _, dir := range []string{set.logs.Containers, pod + "/app"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	notes := make(chan string, 10)
	r, changes := registryWith(t, Config{Follow: true, Note: func(s string) { notes <- s }}, set)
	own := "/kubepods/burstable/pod" + podUID + "/"
	r.Made(1, own+idA)
	r.Made(2, own+idB)
	started(t, r)
	until(t, changes, "the pod of the sandbox", func(c change) bool { return c.cgroup == 2 && c.c.Label == "shop-7d4" })
	// The log comes later than the cgroup.
	if err := os.Symlink(pod+"/app/0.log", set.logs.Containers+"/shop-7d4_prod_app-"+idA+".log"); err != nil {
		t.Fatal(err)
	}
	until(t, changes, "the name", func(c change) bool { return c.cgroup == 1 && c.c.Label == "shop-7d4/app" && c.c.Namespace == "prod" })
	if note := <-notes; !strings.Contains(note, set.logs.Containers) || len(notes) > 0 {
		t.Errorf("%s, and %d more", note, len(notes))
	}
}

// An answer that is too long names some containers, and the next one the others.
func TestLongAnswer(t *testing.T) {
	long := running(idA, "long", "nginx")
	long["Ports"] = json.RawMessage("[" + strings.Repeat(`"`+strings.Repeat("1", 256<<10)+`",`, 68) + "0]")
	socket := socketPath(t)
	serve(t, socket, newDockerServer(running(idB, "short", "nginx"), long))
	set := quick
	set.answer = time.Minute // 17 MiB, also with the race detector
	r, changes := registryWith(t, Config{Sockets: []string{socket}}, set)
	r.Made(1, "/docker/"+idA)
	r.Made(2, "/docker/"+idB)
	started(t, r)
	until(t, changes, "the name", hasName("short"))
}
