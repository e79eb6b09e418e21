// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package procstat

import (
	"fmt"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		line, name string
		fields     string
	}{
		{"7 (sh) S 1 7", "sh", "[S 1 7]"},
		{"7 (a) R 9 (b) S 1 7\n", "a) R 9 (b", "[S 1 7]"},
		{"7 () Z", "", "[Z]"},
		{"7 (sh)", "sh", "[]"},
		{"7 sh) S (", "", "[]"},
		{"7 (sh S 1", "", "[]"},
		{"", "", "[]"},
	} {
		name, fields := Parse([]byte(c.line))
		if got := fmt.Sprintf("%s", fields); name != c.name || got != c.fields {
			t.Errorf("%q: %q, %s, want %q, %s", c.line, name, got, c.name, c.fields)
		}
	}
}
