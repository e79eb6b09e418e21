// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package option

import "testing"

func TestRate(t *testing.T) {
	for s, want := range map[string]Rate{"1": {1, 1}, "1000": {1000, 1000}, "1000/5000": {1000, 5000}, "5/1": {5, 1}} {
		var r Rate
		if err := r.Set(s); err != nil || r != want || r.String() != s {
			t.Errorf("%q is %v (%q), %v; want %v", s, r, r.String(), err, want)
		}
	}
	for _, s := range []string{"", "0", "-1", "1.5", "5/0", "5/", "/5", "5000000000", "1k"} {
		var r Rate
		if err := r.Set(s); err == nil || r != (Rate{}) {
			t.Errorf("%q is %v, want an error", s, r)
		}
	}
}
