// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package escape

import "strings"

// AppendC appends text as the inside of a C string, as strace(1) writes it: what is not
// printable ASCII becomes octal, and so do the characters of special.
func AppendC(b, text []byte, special string) []byte {
	for i, c := range text {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= '\t' && c <= '\r':
			b = append(b, '\\', "tnvfr"[c-'\t'])
		case c < ' ' || c > '~' || strings.IndexByte(special, c) >= 0:
			next := i+1 < len(text) && text[i+1] >= '0' && text[i+1] <= '7'
			b = appendOctal(append(b, '\\'), c, next)
		default:
			b = append(b, c)
		}
	}
	return b
}

// appendOctal appends a byte without leading zeros, unless a digit follows.
func appendOctal(b []byte, c byte, all bool) []byte {
	if all || c >= 0o100 {
		b = append(b, '0'+c>>6)
	}
	if all || c >= 0o10 {
		b = append(b, '0'+c>>3&7)
	}
	return append(b, '0'+c&7)
}
