// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package licenses

import (
	"bufio"
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every module that go.mod names and a package imports is there with its licence,
// and what is not a module, too.
func TestHasAll(t *testing.T) {
	var b strings.Builder
	if err := WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{
		"\ngo ", "\nlibbpf ", "\nlibelf ", "\nzlib ", "\nglibc ", "\nlibgcc ", "\ncopenclose.bpf.o ",
		"Apache License", "GNU LESSER GENERAL PUBLIC LICENSE", "Copyright (c) 2009 The Go Authors",
		"github.com/aquasecurity/libbpfgo ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	f, err := os.Open("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	versions := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if m := regexp.MustCompile(`^\t(\S+) (v\S+)`).FindStringSubmatch(lines.Text()); m != nil {
			versions[m[1]] = m[2]
		}
	}
	listed := regexp.MustCompile(`(?m)^(\S+/\S+) (v\S+)  +\S`).FindAllStringSubmatch(text, -1)
	if len(listed) < 5 {
		t.Errorf("only %d modules", len(listed))
	}
	for _, module := range listed {
		if versions[module[1]] != module[2] {
			t.Errorf("%s %s is not that of go.mod, %q: run make", module[1], module[2], versions[module[1]])
		}
	}
}
