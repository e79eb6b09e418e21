// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

// containerd runs containers for Kubernetes, through its CRI plugin, and for
// nerdctl.
var containerd = engine{
	name: "containerd",
	match: func(path []string) (string, bool) {
		for _, prefix := range []string{"cri-containerd", "nerdctl"} {
			if id, ok := unitID(own(path), prefix); ok {
				return id, true
			}
		}
		// cgroupfs: below the pod, or below the containerd namespace that
		// Kubernetes or nerdctl uses.
		p := parent(path)
		_, inPod := podUID(p)
		return own(path), isID(own(path)) && (inPod || p == "k8s.io" || p == "default")
	},
	sockets: []string{"/run/containerd/containerd.sock", "/run/k3s/containerd/containerd.sock"},
}
