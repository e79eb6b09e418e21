// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package option

import (
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/copenclose/copenclose/internal/output"
)

// value is what a flag sets.
type value interface {
	Set(string) error
	String() string
}

// values makes one of each kind.
func values() []value {
	return []value{
		new(Duration), new(Count), &Size{Bytes: 8 << 20, Min: 64 << 10, Max: 1 << 30}, NewChoice(output.Table, output.JSON), new(Path),
		new(List), new(Sockets), new(Comms), new(Paths), new(Cgroups), new(Containers), new(Processes), new(Threads),
		new(Users), new(Groups), new(Errnos), new(Syscalls),
	}
}

// Whatever is typed after a flag is taken or refused in one line that a terminal can
// show, and it means the same each time.
func FuzzSet(f *testing.F) {
	for _, s := range []string{
		"", "1", "10s", "1.5", "-1", "8M", "1T", "json", "JSON", "a,b", ",", "a,,b", "!a,b", "web*,?,!x", "nginx*", "/etc,/usr", "\x1b[31m",
		"4294967296", "99999999999999999999", "ENOENT,2", "open,!close", "root", "é\xff", "/run/docker.sock", strings.Repeat("a,", 100),
		strings.Repeat("x", 5000),
	} {
		for kind := range values() {
			f.Add(kind, s)
		}
	}
	f.Fuzz(func(t *testing.T, kind int, s string) {
		if kind < 0 || kind >= len(values()) {
			return
		}
		one, two := values()[kind], values()[kind]
		err, again := one.Set(s), two.Set(s)
		if (err == nil) != (again == nil) {
			t.Fatalf("%T: %q is %v, and then %v", one, s, err, again)
		}
		if err != nil {
			if text := err.Error(); text == "" || strings.ContainsFunc(text, unicode.IsControl) {
				t.Errorf("%T: %q is refused by %q", one, s, text)
			}
			return
		}
		if _, isFunc := one.(*Containers); !isFunc && !reflect.DeepEqual(one, two) {
			t.Errorf("%T: %q is %+v, and then %+v", one, s, one, two)
		}
		_ = one.String()
	})
}
