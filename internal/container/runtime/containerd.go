// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package runtime

// containerd runs containers for Kubernetes, through its CRI plugin, and for
// nerdctl.
var containerd = Runtime{
	Name: "containerd",
	match: func(path []string) (string, bool) {
		for _, prefix := range []string{"cri-containerd", "nerdctl"} {
			if id, ok := unitID(leaf(path), prefix); ok {
				return id, true
			}
		}
		// cgroupfs: below the pod, or below the containerd namespace that
		// Kubernetes or nerdctl uses.
		p := parentOf(path)
		_, inPod := podUID(p)
		return leaf(path), IsID(leaf(path)) && (inPod || p == "k8s.io" || p == "default")
	},
	sockets: []string{"/run/containerd/containerd.sock", "/run/k3s/containerd/containerd.sock"},
}
