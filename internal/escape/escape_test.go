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
