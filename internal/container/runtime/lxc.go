// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package runtime

import "strings"

// lxc runs the containers of Incus, LXD and Proxmox, too.
var lxc = Runtime{
	Name: "lxc",
	match: func(path []string) (string, bool) {
		if name, ok := strings.CutPrefix(leaf(path), "lxc.payload."); ok {
			return name, name != ""
		}
		// LXC 3 and before, and Proxmox.
		return leaf(path), parentOf(path) == "lxc" && parentOf(path[:len(path)-1]) != "lxc" && leaf(path) != ""
	},
}
