// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package runtime

var docker = Runtime{
	Name: "docker",
	match: func(path []string) (string, bool) {
		if id, ok := unitID(leaf(path), "docker"); ok {
			return id, true
		}
		// With the cgroupfs driver the name is the bare id, below whatever
		// --cgroup-parent says. Podman names its pods like that.
		return leaf(path), IsID(leaf(path)) && parentOf(path) != podmanParent
	},
	// /var/run is /run but in an image without it, which people give the socket
	// by that name.
	sockets:     []string{"/run/docker.sock", "/var/run/docker.sock"},
	userSockets: []string{"docker.sock"},
	variable:    "DOCKER_HOST",
}
