// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package names

import (
	"strconv"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/escape"
)

// AppendAddress appends one end of a socket: an address and a port, or the escaped
// name of a unix socket without spaces.
func AppendAddress(b []byte, a bpf.Address) []byte {
	switch {
	case a.IsVsock:
		b = append(strconv.AppendUint(b, uint64(a.CID), 10), ':')
	case a.IP.Unmap().Is4():
		b = append(AppendIP(b, a), ':')
	case a.IP.IsValid():
		b = append(AppendIP(append(b, '['), a), "]:"...)
	default:
		return appendUnix(b, a.Unix)
	}
	return strconv.AppendUint(b, uint64(a.Port), 10)
}

// AppendIP appends an IP address, with the number of its zone if it has one. What is an
// IPv4 address in an IPv6 socket is an IPv4 address, as it is at the other end.
func AppendIP(b []byte, a bpf.Address) []byte {
	b = a.IP.Unmap().AppendTo(b)
	if a.Zone != 0 {
		b = strconv.AppendUint(append(b, '%'), uint64(a.Zone), 10)
	}
	return b
}

// appendUnix appends a path, or an @ and an abstract name, for a table.
func appendUnix(b, name []byte) []byte {
	if len(name) > 0 && name[0] == 0 {
		b = append(b, '@')
		name = name[1:]
	}
	return escape.Append(b, name, false)
}
