package output

import (
	"unicode"
	"unicode/utf8"
)

// appendEscaped appends what a traced program chose (its name, a path, a
// hostname) so that it cannot do anything to a terminal or pass for another
// column: what is not printable, and the backslash, become escapes as in a Go or
// C string, bytes that are no UTF-8 \xNN, and so does a space where spaces is
// false. Reading the escapes gives back the bytes.
func appendEscaped(b, text []byte, spaces bool) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		if c > ' ' && c < 0x7f && c != '\\' || c == ' ' && spaces {
			b = append(b, c)
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		switch {
		case c == '\\':
			b = append(b, `\\`...)
		case r == utf8.RuneError && size == 1, c <= ' ', c == 0x7f:
			b = appendByteEscape(b, c)
		case printable(r):
			b = append(b, text[i:i+size]...)
		default:
			b = appendRuneEscape(b, r)
		}
		i += size
	}
	return b
}

func appendByteEscape(b []byte, c byte) []byte {
	switch c {
	case '\n':
		return append(b, `\n`...)
	case '\t':
		return append(b, `\t`...)
	case '\r':
		return append(b, `\r`...)
	}
	return append(b, '\\', 'x', hex[c>>4], hex[c&15])
}

// appendRuneEscape appends \u or \U and the number of r, which is not printable.
func appendRuneEscape(b []byte, r rune) []byte {
	digits, escape := 4, byte('u')
	if r > 0xffff {
		digits, escape = 8, 'U'
	}
	b = append(b, '\\', escape)
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		b = append(b, hex[r>>shift&15])
	}
	return b
}

const hex = "0123456789abcdef"

// printable tells whether r may reach a terminal as it is.
func printable(r rune) bool { return unicode.IsPrint(r) }
