// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package runtime

import (
	"strconv"
	"strings"
)

// nspawn's containers have a cgroup named payload. Beside it runs systemd-nspawn
// itself, and a scope without it holds a virtual machine, of libvirt for one.
var nspawn = Runtime{
	Name: "systemd-nspawn",
	match: func(path []string) (string, bool) {
		if leaf(path) != "payload" {
			return "", false
		}
		if name, ok := nspawnName(parentOf(path), "machine-", ".scope"); ok {
			return name, true
		}
		return nspawnName(parentOf(path), "systemd-nspawn@", ".service")
	},
}

// nspawnName takes what is between prefix and suffix from the name of a
// systemd unit and undoes systemd's escapes in it.
func nspawnName(unit, prefix, suffix string) (string, bool) {
	if len(unit) <= len(prefix)+len(suffix) || !strings.HasPrefix(unit, prefix) || !strings.HasSuffix(unit, suffix) {
		return "", false
	}
	escaped := unit[len(prefix) : len(unit)-len(suffix)]
	name := make([]byte, 0, len(escaped))
	for i := 0; i < len(escaped); i++ {
		if escaped[i] == '\\' {
			if len(escaped)-i < 4 || escaped[i+1] != 'x' {
				return "", false
			}
			c, err := strconv.ParseUint(escaped[i+2:i+4], 16, 8)
			if err != nil {
				return "", false
			}
			name = append(name, byte(c))
			i += 3
			continue
		}
		name = append(name, escaped[i])
	}
	return string(name), true
}
