// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package escape makes text printable that traced programs, container runtimes or the
// network chose. It can be anything: escape sequences for a terminal, a line that looks
// like one of copenclose, bytes that are not UTF-8.
package escape

import (
	"encoding/binary"
	"unicode"
	"unicode/utf8"
)

// Append appends text for a terminal. What is not printable, and the backslash,
// become escapes as in a Go or C string, bytes that are not UTF-8 become \xNN, and so
// does a space if spaces is false, because words follow in the line. Reading the
// escapes gives back the bytes.
func Append(b, text []byte, spaces bool) []byte {
	plain := &plainWord
	if spaces {
		plain = &plainText
	}
	for {
		n := plain.prefix(text)
		b = append(b, text[:n]...)
		if text = text[n:]; len(text) == 0 {
			return b
		}
		r, size := utf8.DecodeRune(text)
		switch c := text[0]; {
		case c == '\\':
			b = append(b, `\\`...)
		case r == utf8.RuneError && size == 1, c <= ' ', c == 0x7f:
			b = appendByteEscape(b, c)
		case printable(r):
			b = append(b, text[:size]...)
		default:
			b = appendRuneEscape(b, r)
		}
		text = text[size:]
	}
}

// String returns text for a terminal, with its spaces; see Append.
func String(text string) string { return string(Append(nil, []byte(text), true)) }

// plainBytes is printable ASCII but for two characters.
type plainBytes struct {
	has     [256]bool
	without [2]uint64 // each of them eight times
}

func printableBut(one, other byte) (p plainBytes) {
	for c := byte(' '); c < 0x7f; c++ {
		p.has[c] = c != one && c != other
	}
	p.without = [2]uint64{eachByte * uint64(one), eachByte * uint64(other)}
	return p
}

// prefix is how many bytes at the start of text are plain.
func (p *plainBytes) prefix(text []byte) (n int) {
	for n+8 <= len(text) && p.all8(binary.NativeEndian.Uint64(text[n:])) {
		n += 8
	}
	for n < len(text) && p.has[text[n]] {
		n++
	}
	return n
}

const eachByte = 0x0101010101010101

// all8 reports whether eight bytes are plain, all at once. Each term has the highest
// bit of a byte set if that byte is not ASCII, is a control character, is DEL, is
// one of without. A borrow can set more of them, but only above one that is set
// rightly.
func (p *plainBytes) all8(word uint64) bool {
	const highest = 0x80 * eachByte
	control := word - eachByte*' '
	del := word ^ eachByte*0x7f
	one, other := word^p.without[0], word^p.without[1]
	return (word|control|(del-eachByte)&^del|(one-eachByte)&^one|(other-eachByte)&^other)&highest == 0
}

// What is left as it is: where spaces are, where there are none, and in JSON.
var plainText, plainWord, plainJSON = printableBut('\\', '\\'), printableBut('\\', ' '), printableBut('\\', '"')

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

// printable reports whether r may reach a terminal as it is.
func printable(r rune) bool { return unicode.IsPrint(r) }
