// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package runtime

import "strings"

// podmanParent is where Podman's cgroupfs driver keeps pods and containers.
const podmanParent = "libpod_parent"

var podman = Runtime{
	Name: "podman",
	match: func(path []string) (string, bool) {
		if id, ok := unitID(leaf(path), "libpod"); ok {
			return id, true
		}
		// cgroupfs, and --cgroups=split. What is left of libpod-conmon-ID or
		// of a pod's slice is no id.
		id, ok := strings.CutPrefix(leaf(path), "libpod-")
		id = strings.TrimPrefix(id, "payload-")
		return id, ok && IsID(id)
	},
	sockets:     []string{"/run/podman/podman.sock"},
	userSockets: []string{"podman/podman.sock"},
	variable:    "CONTAINER_HOST",
}
