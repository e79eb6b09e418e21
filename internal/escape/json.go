// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package escape

import (
	"unicode/utf16"
	"unicode/utf8"
)

// AppendJSON appends text as the inside of a JSON string (RFC 8259). What is not
// printable is escaped, too. Bytes that are not UTF-8 become U+FFFD; valid is false
// then.
func AppendJSON(b, text []byte) (_ []byte, valid bool) {
	valid = true
	for {
		n := plainJSON.prefix(text)
		b = append(b, text[:n]...)
		if text = text[n:]; len(text) == 0 {
			return b, valid
		}
		r, size := utf8.DecodeRune(text)
		switch c := text[0]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case r == utf8.RuneError && size == 1:
			b = append(b, "\uFFFD"...)
			valid = false
		case printable(r):
			b = append(b, text[:size]...)
		default:
			b = appendUnicodeEscape(b, r)
		}
		text = text[size:]
	}
}

// appendUnicodeEscape appends r as \uXXXX, above U+FFFF as a surrogate pair.
func appendUnicodeEscape(b []byte, r rune) []byte {
	if r > 0xffff {
		high, low := utf16.EncodeRune(r)
		return appendRuneEscape(appendRuneEscape(b, high), low)
	}
	return appendRuneEscape(b, r)
}
