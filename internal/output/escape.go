package output

import (
	"strconv"
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
		case unicode.IsPrint(r):
			b = append(b, text[i:i+size]...)
		default:
			b = append(b, quoteRune(r)...)
		}
		i += size
	}
	return b
}

func appendByteEscape(b []byte, c byte) []byte {
	const hex = "0123456789abcdef"
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

// quoteRune is \u or \U and the number of r, which is not printable.
func quoteRune(r rune) string {
	quoted := strconv.QuoteRune(r)
	return quoted[1 : len(quoted)-1]
}
