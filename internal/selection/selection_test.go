// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package selection

import (
	"strings"
	"testing"
)

func TestPasses(t *testing.T) {
	for _, c := range []struct {
		list        List[string]
		passes, not string
	}{
		{List[string]{}, "/ /etc", ""},
		{Of("/etc", "/usr"), "/etc /etc/ssl /usr", "/ /var"},
		{List[string]{Except: []string{"/etc"}}, "/ /var", "/etc /etc/ssl"},
		{List[string]{Only: []string{"/etc"}, Except: []string{"/etc/ssl"}}, "/etc/x", "/ /etc/ssl/x"},
		{List[string]{Only: []string{"/etc/ssl"}, Except: []string{"/etc"}}, "/etc/ssl/x", "/ /etc/x"},
		{List[string]{Only: []string{"/etc"}, Except: []string{"/etc"}}, "", "/etc /"},
	} {
		for want, paths := range map[bool]string{true: c.passes, false: c.not} {
			for _, path := range strings.Fields(paths) {
				if got := c.list.Passes(func(beginning string) int {
					if strings.HasPrefix(path, beginning) {
						return len(beginning)
					}
					return 0
				}); got != want {
					t.Errorf("%s: %s passes: %t", &c.list, path, got)
				}
			}
		}
	}
	l := List[int]{Only: []int{1, 2}, Except: []int{3}}
	if l.String() != "1,2,!3" || l.Len() != 3 {
		t.Errorf("%s has %d", &l, l.Len())
	}
}
