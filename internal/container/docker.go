// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

var docker = engine{
	name: "docker",
	match: func(path []string) (string, bool) {
		if id, ok := unitID(own(path), "docker"); ok {
			return id, true
		}
		// With the cgroupfs driver the name is the bare id, below whatever
		// --cgroup-parent says. Podman names its pods like that.
		return own(path), isID(own(path)) && parent(path) != podmanParent
	},
	// /var/run is /run but in an image without it, which people give the socket
	// by that name.
	sockets: []string{"/run/docker.sock", "/var/run/docker.sock", "/run/user/*/docker.sock"},
}
