// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import "strings"

var crio = engine{
	name: "cri-o",
	match: func(path []string) (string, bool) {
		if id, ok := unitID(own(path), "crio"); ok {
			return id, true
		}
		// What is left of crio-conmon-ID is no id.
		id, ok := strings.CutPrefix(own(path), "crio-")
		return id, ok && isID(id)
	},
	sockets: []string{"/run/crio/crio.sock"},
}
