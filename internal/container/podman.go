// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import "strings"

// podmanParent is where Podman's cgroupfs driver keeps pods and containers.
const podmanParent = "libpod_parent"

var podman = engine{
	name: "podman",
	match: func(path []string) (string, bool) {
		if id, ok := unitID(own(path), "libpod"); ok {
			return id, true
		}
		// cgroupfs, and --cgroups=split. What is left of libpod-conmon-ID or
		// of a pod's slice is no id.
		id, ok := strings.CutPrefix(own(path), "libpod-")
		id = strings.TrimPrefix(id, "payload-")
		return id, ok && isID(id)
	},
	sockets: []string{"/run/podman/podman.sock", "/run/user/*/podman/podman.sock"},
}
