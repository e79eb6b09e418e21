// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package runtime

import "strings"

// Identity is what the path of a cgroup alone says about a container.
type Identity struct {
	Runtime string // the Name of a Runtime
	ID      string // 64 hex digits; the name, where the runtime gives no other id
	PodUID  string // of a Kubernetes pod
	QoS     string // guaranteed, burstable or besteffort, of a Kubernetes pod
	Path    string // of the container's own cgroup
}

// Identify returns the container that a cgroup belongs to, by the cgroup's path from
// the root of the tree. inner is the same, or, where containers run in containers,
// the innermost. Both have an empty ID if the cgroup belongs to no container. The
// cgroups of a runtime's own processes, like conmon, belong to none.
//
// Only what is outside of a container can be relied on: whoever may make cgroups
// inside can give them any name.
func Identify(path string) (outer, inner Identity) {
	names := strings.Split(strings.Trim(path, "/"), "/")
	for n := range names {
		if id, ok := identify(names[:n+1]); ok {
			outer = id
			break
		}
	}
	if outer.ID == "" {
		return outer, outer
	}
	for ; ; names = names[:len(names)-1] {
		if id, ok := identify(names); ok {
			return outer, id
		}
	}
}

// identify returns the container whose own cgroup has these names in its path.
func identify(path []string) (Identity, bool) {
	for _, r := range Runtimes {
		if id, ok := r.match(path); ok {
			uid, qos := pod(path)
			return Identity{r.Name, id, uid, qos, "/" + strings.Join(path, "/")}, true
		}
	}
	return Identity{}, false
}

// unitID takes the id from a name that runc and crun make of "slice:prefix:id":
// prefix-id.scope by systemd, or, where they do not use systemd, the
// string itself.
func unitID(name, prefix string) (string, bool) {
	if rest, ok := strings.CutPrefix(name, prefix+"-"); ok {
		id, ok := strings.CutSuffix(rest, ".scope")
		return id, ok && IsID(id)
	}
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		return name[i+1:], IsID(name[i+1:]) && strings.HasSuffix(name[:i], ":"+prefix)
	}
	return "", false
}

// IsID reports whether s is an id as most runtimes make them: 64 hex digits.
func IsID(s string) bool { return len(s) == 64 && IsHex(s) }

// IsHex reports whether s has only lower-case hex digits.
func IsHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// leaf is the name of a cgroup, and parentOf that of its parent.
func leaf(path []string) string { return path[len(path)-1] }

func parentOf(path []string) string {
	if len(path) < 2 {
		return ""
	}
	return path[len(path)-2]
}
