// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import "strings"

// Identity is what the path of a cgroup alone tells about its container.
type Identity struct {
	Runtime string // a name in the table of engines
	ID      string // 64 hex digits; the name, where the runtime gives no other id
	PodUID  string // of a Kubernetes pod
	QoS     string // guaranteed, burstable or besteffort, of a Kubernetes pod
	Path    string // of the container's own cgroup, which holds the one asked for
}

// An engine is what runs containers. Each has a file of its own.
type engine struct {
	name string
	// match tells whether a cgroup is a container's own, and the id of that
	// container, by the names in its path. There is at least one.
	match func(path []string) (id string, ok bool)
	// sockets are where the engine listens, as patterns for filepath.Glob.
	sockets []string
}

// engines is in the order in which they are tried: Docker also takes a bare id,
// which under a pod is containerd's.
var engines = []engine{containerd, docker, podman, crio, nspawn, lxc}

// Identify tells the container that a cgroup belongs to by the cgroup's path
// from the root of the tree. Where containers lie within containers it is the
// innermost. The cgroups of a runtime's own processes, like conmon, belong to
// none.
func Identify(path string) (Identity, bool) {
	for names := strings.Split(strings.Trim(path, "/"), "/"); len(names) > 0; names = names[:len(names)-1] {
		for _, e := range engines {
			if id, ok := e.match(names); ok {
				uid, qos := pod(names)
				return Identity{e.name, id, uid, qos, "/" + strings.Join(names, "/")}, true
			}
		}
	}
	return Identity{}, false
}

// outside is the path of the cgroup that holds the container's own.
func (id *Identity) outside() string { return id.Path[:strings.LastIndexByte(id.Path, '/')] }

// unitID takes the id from a name that runc and crun make of "slice:prefix:id":
// prefix-id.scope by systemd, or, where they were not told of systemd, the
// string itself.
func unitID(name, prefix string) (string, bool) {
	if rest, ok := strings.CutPrefix(name, prefix+"-"); ok {
		id, ok := strings.CutSuffix(rest, ".scope")
		return id, ok && isID(id)
	}
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		return name[i+1:], isID(name[i+1:]) && strings.HasSuffix(name[:i], ":"+prefix)
	}
	return "", false
}

func isID(s string) bool { return len(s) == 64 && isHex(s) }

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// own is the name of a cgroup, and parent that of its parent.
func own(path []string) string { return path[len(path)-1] }

func parent(path []string) string {
	if len(path) < 2 {
		return ""
	}
	return path[len(path)-2]
}
