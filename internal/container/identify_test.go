// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// sample is an entry of testdata/paths.txt.
type sample struct {
	path string
	want Identity // the zero value for none
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
		case "own":
			s.want.Path = rest
		case "pod":
			s.want.PodUID, s.want.QoS, _ = strings.Cut(rest, " ")
		default:
			s.want.Runtime, s.want.ID = word, rest
			s.want.Path = s.path
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
		got, ok := Identify(s.path)
		if got != s.want || ok != (s.want.ID != "") {
			t.Errorf("%s (%s):\n got %+v\nwant %+v", s.path, s.seen, got, s.want)
		}
		tried[s.want.Runtime]++
	}
	for _, e := range engines {
		if tried[e.name] == 0 {
			t.Errorf("no path of %s in testdata/paths.txt", e.name)
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
		id, ok := Identify(path)
		if !ok {
			if id != (Identity{}) {
				t.Fatalf("not identified, but %+v", id)
			}
			return
		}
		if id.ID == "" || id.Runtime == "" {
			t.Fatalf("identified as nothing: %+v", id)
		}
		if trimmed := "/" + strings.Trim(path, "/"); trimmed != id.Path && !strings.HasPrefix(trimmed, id.Path+"/") {
			t.Fatalf("%q does not lie in %q", path, id.Path)
		}
		if again, ok := Identify(id.Path); !ok || again != id {
			t.Fatalf("%q is %+v, but %q, its container, is %+v", path, id, id.Path, again)
		}
		// What is inside belongs to the container.
		if inside, _ := Identify(id.Path + "/init.scope"); inside != id {
			t.Fatalf("init.scope in %q is %+v", id.Path, inside)
		}
		if outer, ok := Identify(id.outside()); ok && len(outer.Path) >= len(id.Path) {
			t.Fatalf("%q is outside of %q", outer.Path, id.Path)
		}
	})
}
