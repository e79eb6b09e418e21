// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package runtime

import "strings"

// pod finds the innermost Kubernetes pod among the parents of a container's
// cgroup, which is the last in path. The kubelet names a pod's cgroup pod<uid>,
// below one for the QoS class; with systemd the names of all parents are in
// that of the slice, and dashes within a name become underscores.
func pod(path []string) (uid, qos string) {
	for ; len(path) > 0; path = path[:len(path)-1] {
		name := leaf(path)
		if slice, _, ok := strings.Cut(name, ":"); ok {
			name = slice
		}
		if slice, ok := strings.CutSuffix(name, ".slice"); ok {
			parents, last := cutLast(slice, "-")
			if uid, ok := podUID(last); ok {
				_, class := cutLast(parents, "-")
				return uid, qosClass(class)
			}
			continue
		}
		if uid, ok := podUID(name); ok {
			return uid, qosClass(parentOf(path))
		}
	}
	return "", ""
}

// qosClass is by the name of a pod's parent. Guaranteed pods lie directly below
// the cgroup of all pods.
func qosClass(parent string) string {
	switch parent {
	case "burstable", "besteffort":
		return parent
	case "kubepods":
		return "guaranteed"
	}
	return ""
}

// podUID takes the uid from pod<uid>: a UUID, or for a static pod the 32 hex
// digits of the hash of its manifest.
func podUID(name string) (string, bool) {
	uid, ok := strings.CutPrefix(name, "pod")
	if !ok || len(uid) != 32 && len(uid) != 36 {
		return "", false
	}
	uid = strings.ReplaceAll(uid, "_", "-")
	digits := strings.ReplaceAll(uid, "-", "")
	return uid, len(digits) == 32 && IsHex(digits)
}

func cutLast(s, sep string) (before, after string) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return "", s
	}
	return s[:i], s[i+len(sep):]
}
