// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// offered returns the words that are offered for the last of a line's, and what
// follows.
func offered(t *testing.T, line string) (words []string, more string) {
	t.Helper()
	r := run(t, nil, append([]string{completeWord}, strings.Split(line, " ")...)...)
	if r.status != 0 || r.stderr != "" {
		t.Errorf("%q: %+v", line, r)
	}
	for l := range strings.Lines(r.stdout) {
		if word, _, isWord := strings.Cut(strings.TrimSuffix(l, "\n"), "\t"); isWord {
			words = append(words, word)
		} else {
			more = word
		}
	}
	return words, more
}

func TestComplete(t *testing.T) {
	for line, want := range map[string]string{
		"--fol":                         "--follow",
		"-I":                            "-I",
		"con":                           "containers",
		"-I con":                        "containers",
		"-o con":                        "",
		"-p 1 con":                      "containers",
		"help con":                      "containers",
		"nonsense -":                    "",
		"-o w":                          "wide",
		"-Io w":                         "wide",
		"--output js":                   "json",
		"--output=js":                   "--output=json",
		"containers -o j":               "json",
		"containers --no":               "--no-header --no-runtime",
		"containers --fol":              "",
		"--timestamp-precision m":       "ms",
		"to":                            "top",
		"top -b -o j":                   "json",
		"top --iter":                    "--iterations",
		"summary --by exe,contai":       "exe,container :list",
		"-s close_r":                    "close_range :list",
		"-s open,close_r":               "open,close_range :list",
		"-s !close_r":                   "!close_range :list",
		"-s openat2,openat":             "openat2,openat :list",
		"--errno ENOEN":                 "ENOENT :list",
		"--errno=EPERM,ENOEN":           "--errno=EPERM,ENOENT :list",
		"--columns pid,contai":          "pid,container :list",
		"--columns +pid,-contai":        "+pid,-container :list",
		"--columns hel":                 "help :list",
		"-u roo":                        "root :list",
		"-g roo":                        "root :list",
		fmt.Sprint("-p ", os.Getpid()):  fmt.Sprint(os.Getpid(), " :list"),
		"--path /etc/p":                 ":files",
		"--ready-file ":                 ":files",
		"--runtime-socket /run/docker.": ":files",
		"-d 1":                          "",
		"--cgroup /no/such/cgro":        ":list",
		"-c no-such-container":          ":list",
	} {
		words, more := offered(t, line)
		words = slices.DeleteFunc(words, func(w string) bool { return strings.HasPrefix(w, "openat2,openat") && w != "openat2,openat" })
		if got := strings.TrimSpace(strings.Join(words, " ") + " " + more); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// Every flag and every subcommand that the help has is offered.
func TestCompleteHasAll(t *testing.T) {
	for _, c := range (&tool{}).commands() {
		line := c.Name + " -"
		if c.Name == "copenclose" {
			line = "-"
		} else if words, _ := offered(t, c.Name); !c.Hidden && !slices.Contains(words, c.Name) {
			t.Errorf("%s is not offered", c.Name)
		}
		words, _ := offered(t, line)
		for _, f := range c.Flags {
			for _, name := range f.Names() {
				if !slices.Contains(words, dashed(name)) {
					t.Errorf("%q: no %s in %q", line, dashed(name), words)
				}
			}
		}
	}
}

// What others choose a name for is offered only if no shell takes it for more.
func TestCompleteOffersPlainWords(t *testing.T) {
	var all []candidate
	for _, word := range []string{"web", "shop-1_a.b:80/c@d", "/a/b", "a b", "$(reboot)", "`x`", "a;b", "a\nb", "a\tb", "'", "~root", "*", "", "é"} {
		all = append(all, candidate{word, ""})
	}
	if got := fmt.Sprint(beginning("", all)); got != "[{web } {shop-1_a.b:80/c@d } {/a/b }]" {
		t.Error(got)
	}
}

func FuzzComplete(f *testing.F) {
	for _, line := range []string{"-o w", "-s open,cl", "--columns=", "containers -", "help ", "-Id1 -", ""} {
		f.Add(line)
	}
	commands := (&tool{}).commands()
	f.Fuzz(func(t *testing.T, line string) {
		words := strings.Split(line, " ")
		found, _ := complete(words[:len(words)-1], words[len(words)-1], commands)
		for _, c := range found {
			if strings.ContainsAny(c.word, " \t\n;$`'\"") && !strings.ContainsAny(line, "\t\n;$`'\"") {
				t.Errorf("%q offers %q", line, c.word)
			}
		}
	})
}
