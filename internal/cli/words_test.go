// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"slices"
	"strings"
	"testing"
)

func TestReadLine(t *testing.T) {
	for words, want := range map[string]string{
		"":                                "copenclose",
		"-ojson -p1 -Id1":                 "copenclose --output=json --pid=1 --ignore-host-ns --duration=1",
		"-o json --pid=1 -Id 1":           "copenclose --output=json --pid=1 --ignore-host-ns --duration=1",
		"-o=json -c -x --container=":      "copenclose --output=json --container=-x --container=",
		"--latency --no-header=0 -q":      "copenclose --latency --no-header=false --quiet",
		"containers":                      "containers",
		"containers -o json --no-runtime": "containers --output=json --no-runtime",
		"-ojson --no-runtime containers":  "containers --output=json --no-runtime",
		"-o json containers --no-runtime": "containers --output=json --no-runtime",
		"-c containers":                   "copenclose --container=containers",
		"-Ic containers -n containers -V": "copenclose --ignore-host-ns --container=containers --comm=containers --version",
		"--runtime-socket containers -q":  "copenclose --runtime-socket=containers --quiet",
		"--container containers":          "copenclose --container=containers",
		"-oc containers":                  "containers --output=c",
		"version -h":                      "version --help",
	} {
		l, err := readLine(strings.Fields(words), nil, (&tool{}).commands())
		if got := strings.Join(append([]string{l.command.Name}, l.flags...), " "); got != want || err != nil {
			t.Errorf("%s: %s, %v, want %s", words, got, err, want)
		}
	}
	for words, want := range map[string][2]string{
		"-ojson": {"output", "-o"}, "-Ip1": {"pid", "-p"}, "--pid 1": {"pid", "--pid"}, "--pid=1": {"pid", "--pid"},
	} {
		if l, err := readLine(strings.Fields(words), nil, (&tool{}).commands()); l.typed[want[0]] != want[1] || err != nil {
			t.Errorf("%s: typed as %v, %v", words, l.typed, err)
		}
	}
}

// Whatever the words are, what comes out is flags of the command, each in one form, and
// a word is read or refused.
func FuzzReadLine(f *testing.F) {
	for _, words := range []string{"-Id1 -ojson", "-c web shop", "containers -o json", "-o json containers", "--", "- --x=", "-é", "-o\xff", "--pid"} {
		f.Add(words)
	}
	commands := (&tool{}).commands()
	f.Fuzz(func(t *testing.T, text string) {
		words := strings.Split(text, " ")
		l, err := readLine(words, nil, commands)
		if err != nil {
			if statusOf(err) != exitUsage || err.Error() == "" {
				t.Errorf("%q: %v", words, err)
			}
			return
		}
		if !slices.Contains(commands, l.command) {
			t.Fatalf("%q: no command", words)
		}
		for _, word := range l.flags {
			name, value, hasValue := strings.Cut(strings.TrimPrefix(word, "--"), "=")
			flag := flagNamed(l.command, name)
			if flag == nil || flag.Names()[0] != name || l.typed[name] == "" || flag.TakesValue() && !hasValue ||
				!flag.TakesValue() && hasValue && value != "true" && value != "false" {
				t.Errorf("%q: %q", words, word)
			}
		}
		if len(l.flags) > len(text)+1 || len(words) > 1 && words[1] != "" && len(l.flags) == 0 && l.command == commands[0] {
			t.Errorf("%q became %q", words, l.flags)
		}
	})
}
