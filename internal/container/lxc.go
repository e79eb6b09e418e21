// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import "strings"

// lxc runs the containers of Incus, LXD and Proxmox, too.
var lxc = engine{
	name: "lxc",
	match: func(path []string) (string, bool) {
		if name, ok := strings.CutPrefix(own(path), "lxc.payload."); ok {
			return name, name != ""
		}
		// LXC 3 and before, and Proxmox.
		return own(path), parent(path) == "lxc" && parent(path[:len(path)-1]) != "lxc" && own(path) != ""
	},
}
