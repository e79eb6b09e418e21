// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package runtime

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// sample is an entry of testdata/paths.txt.
type sample struct {
	path string
	want Identity // the innermost container; the zero value for none
	in   string   // the id of the outermost
	seen string
}

func samples(t testing.TB) []sample {
	t.Helper()
	file, err := os.Open("testdata/paths.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var all []sample
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if !strings.HasPrefix(line, "\t") {
			all = append(all, sample{path: line})
			continue
		}
		s := &all[len(all)-1]
		switch word, rest, _ := strings.Cut(strings.TrimSpace(line), " "); word {
		case "none":
		case "seen:":
			s.seen = rest
		case "in":
			s.in = rest
		case "own":
			s.want.Path = rest
		case "pod":
			s.want.PodUID, s.want.QoS, _ = strings.Cut(rest, " ")
		default:
			s.want.Runtime, s.want.ID = word, rest
			s.want.Path, s.in = s.path, rest
		}
	}
	return all
}

func TestIdentify(t *testing.T) {
	tried := make(map[string]int)
	for _, s := range samples(t) {
		if s.seen == "" {
			t.Errorf("%s: where was it seen?", s.path)
		}
		outer, got := Identify(s.path)
		if got != s.want || outer.ID != s.in {
			t.Errorf("%s (%s):\n got %+v in %s\nwant %+v in %s", s.path, s.seen, got, outer.ID, s.want, s.in)
		}
		tried[s.want.Runtime]++
	}
	for _, r := range Runtimes {
		if tried[r.Name] == 0 {
			t.Errorf("no path of %s in testdata/paths.txt", r.Name)
		}
	}
}

// Who may make cgroups may give them any name.
func FuzzIdentify(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(s.path)
	}
	f.Add(`/machine-\x.scope/payload`)
	f.Add(`/:docker:/crio-.scope//pod/..`)
	f.Fuzz(func(t *testing.T, path string) {
		outer, inner := Identify(path)
		if inner.ID == "" {
			if inner != (Identity{}) || outer != (Identity{}) {
				t.Fatalf("not identified, but %+v in %+v", inner, outer)
			}
			return
		}
		if inner.Runtime == "" || outer.ID == "" {
			t.Fatalf("identified as nothing: %+v in %+v", inner, outer)
		}
		trimmed := "/" + strings.Trim(path, "/")
		for _, id := range []Identity{outer, inner} {
			if trimmed != id.Path && !strings.HasPrefix(trimmed, id.Path+"/") {
				t.Fatalf("%q does not lie in %q", path, id.Path)
			}
			if o, i := Identify(id.Path); o != outer || i != id {
				t.Fatalf("%q is %+v, but %q, its container, is %+v", path, id, id.Path, i)
			}
		}
		// Nothing that is made inside takes it out of the container.
		for _, name := range []string{"/init.scope", "/lxc.payload.victim", "/docker/" + strings.Repeat("a", 64), "/lxc/x/payload"} {
			if o, _ := Identify(outer.Path + name); o != outer {
				t.Fatalf("%s in %q is of %+v", name, outer.Path, o)
			}
		}
	})
}
