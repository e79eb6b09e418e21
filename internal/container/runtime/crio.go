// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package runtime

import "strings"

var crio = Runtime{
	Name: "cri-o",
	match: func(path []string) (string, bool) {
		if id, ok := unitID(leaf(path), "crio"); ok {
			return id, true
		}
		// What is left of crio-conmon-ID is no id.
		id, ok := strings.CutPrefix(leaf(path), "crio-")
		return id, ok && IsID(id)
	},
	sockets: []string{"/run/crio/crio.sock"},
}
