// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package runtime knows the container runtimes: the cgroups that they make, where
// they listen, and how they are asked for the names of containers.
//
// To add a runtime, write a file with its Runtime, put it into Runtimes, and paths
// that it makes into testdata/paths.txt.
//
// Nothing that comes from a runtime is trusted. A runtime is believed only about
// containers that its owner could have made (Socket.Owner), and what it sends is
// bounded.
package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/copenclose/copenclose/internal/owner"
)

// A Runtime runs containers. Each has a file of its own.
type Runtime struct {
	Name string
	// match reports whether a cgroup is a container's own, and the id of that
	// container, by the names in its path. There is at least one name.
	match func(path []string) (id string, ok bool)
	// sockets are where the runtime listens that root runs.
	sockets []string
	// userSockets are where that of a user listens, below /run/user/UID.
	userSockets []string
	// variable of the environment names the socket for the runtime's own client.
	variable string
}

// Runtimes are in the order in which they are tried: Docker also takes a bare id,
// which under a pod is containerd's.
var Runtimes = [...]Runtime{containerd, docker, podman, crio, nspawn, lxc}

// FromEnvironment returns the path of the socket that the environment names for the
// runtime of this name (DOCKER_HOST, CONTAINER_HOST), empty if it names none. The error
// says what it has instead of a unix socket.
func FromEnvironment(name string) (path string, err error) {
	for _, r := range Runtimes {
		if r.Name != name || r.variable == "" {
			continue
		}
		value := os.Getenv(r.variable)
		path, unix := strings.CutPrefix(value, "unix://")
		switch {
		case value == "":
		case unix && filepath.IsAbs(path):
			return path, nil
		default:
			return "", fmt.Errorf("%s is %s: only a unix socket can be asked for names, like unix:///run/docker.sock", r.variable, value)
		}
	}
	return "", nil
}

// Sockets returns the paths of the sockets where the runtime of this name, run by
// this user, may listen: the one that the environment names, and the usual ones.
func Sockets(name string, by owner.ID) (paths []string) {
	if path, _ := FromEnvironment(name); path != "" && by != owner.Nobody {
		paths = append(paths, path)
	}
	for _, r := range Runtimes {
		switch {
		case r.Name != name:
		case by == owner.Root:
			paths = append(paths, r.sockets...)
		case by != owner.Nobody:
			for _, s := range r.userSockets {
				paths = append(paths, filepath.Join(fmt.Sprintf("/run/user/%d", uint32(by)), s))
			}
		}
	}
	return paths
}

// Query is a container that a runtime is asked for.
type Query struct {
	ID     string
	PodUID string // as the path of its cgroup has it, empty for no pod
}

// Details is what a runtime says of a container. No text is longer than maxText, and
// each can have any bytes.
type Details struct {
	ID        string
	Name      string
	Image     string
	Pod       string
	Namespace string
	PodUID    string
	Running   bool // or it did; false for one that is just being made
}

const maxText = 1024

func clip(text []byte) string { return string(text[:min(len(text), maxText)]) }

// podDetails takes what the kubelet labels containers with.
type podDetails struct{ pod, namespace, uid, container string }

func (p *podDetails) label(key string, value []byte) {
	switch key {
	case "io.kubernetes.pod.name":
		p.pod = clip(value)
	case "io.kubernetes.pod.namespace":
		p.namespace = clip(value)
	case "io.kubernetes.pod.uid":
		p.uid = clip(value)
	case "io.kubernetes.container.name":
		p.container = clip(value)
	}
}

func (p *podDetails) addTo(d *Details) {
	if p.pod == "" {
		return
	}
	d.Pod, d.Namespace, d.PodUID = p.pod, p.namespace, p.uid
	if p.container != "" {
		d.Name = p.container
	}
}

func queried(queries []Query, id string) (Query, bool) {
	i := slices.IndexFunc(queries, func(q Query) bool { return q.ID == id })
	if i < 0 {
		return Query{}, false
	}
	return queries[i], true
}
