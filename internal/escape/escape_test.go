// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package escape

import (
	"strconv"
	"strings"
	"testing"
)

// Escaped text is printable, has no space where it must not, and unquotes to
// what it was.
func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "httpd", "Web Content", "\x1b[2J", "\xff\xfe", `a\b`, "\u202e", "日本", "\x00\x7f\u0085"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, spaces bool) {
		escaped := string(Append(nil, []byte(s), spaces))
		for _, r := range escaped {
			if !strconv.IsPrint(r) || r == ' ' && !spaces {
				t.Fatalf("%q became %q", s, escaped)
			}
		}
		back, err := strconv.Unquote(`"` + strings.ReplaceAll(escaped, `"`, `\"`) + `"`)
		if err != nil || back != s {
			t.Fatalf("%q became %q, and that %q: %v", s, escaped, back, err)
		}
	})
}

// FuzzPlain compares what is found eight bytes at a time with what each byte is.
func FuzzPlain(f *testing.F) {
	f.Add([]byte("/var/www/html/index.html"))
	f.Add([]byte("1234567\x7f12345678\x8012345678 12345678\\12345678\"1234567\x1f"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, set := range []struct {
			plain   *plainBytes
			without string
		}{{&plainText, `\`}, {&plainWord, `\ `}, {&plainJSON, `\"`}} {
			for from := range text {
				want := 0
				for _, c := range text[from:] {
					if c < ' ' || c > '~' || strings.IndexByte(set.without, c) >= 0 {
						break
					}
					want++
				}
				if got := set.plain.prefix(text[from:]); got != want {
					t.Fatalf("%q without %q: %d bytes are plain, want %d", text[from:], set.without, got, want)
				}
			}
		}
	})
}

// AppendC writes as strace does, and unquotes to what it was.
func FuzzAppendC(f *testing.F) {
	for _, s := range []string{"", "/etc/passwd", "\x01\u00e9 \"q\"\\", "\x001", "\x1f8", "\x7f<>", "a\t\n\v\f\r"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		escaped := string(AppendC(nil, []byte(s), "<>"))
		for _, c := range []byte(escaped) {
			if c < ' ' || c > '~' || c == '<' || c == '>' {
				t.Fatalf("%q became %q", s, escaped)
			}
		}
		var back []byte
		for rest := escaped; rest != ""; {
			c, tail := rest[0], rest[1:]
			if c == '\\' {
				c, tail = unescapeC(tail)
			}
			back, rest = append(back, c), tail
		}
		if string(back) != s {
			t.Fatalf("%q became %q, and that %q", s, escaped, back)
		}
	})
}

// unescapeC returns the character of a C escape, and what follows it.
func unescapeC(s string) (byte, string) {
	if i := strings.IndexByte("tnvfr", s[0]); i >= 0 {
		return "\t\n\v\f\r"[i], s[1:]
	}
	n := len(s) - len(strings.TrimLeft(s, "01234567"))
	if n == 0 {
		return s[0], s[1:]
	}
	n = min(n, 3)
	number, _ := strconv.ParseUint(s[:n], 8, 8)
	return byte(number), s[n:]
}

func TestAppendC(t *testing.T) {
	const want = `/nonexist\1\303\251 \"q\"\\` // of strace 6.1
	if got := string(AppendC(nil, []byte("/nonexist\x01\u00e9 \"q\"\\"), "")); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
