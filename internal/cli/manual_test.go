// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// The manual has every flag of every command where that command is described, and no
// others. A flag that means the same as that of a trace is described there alone.
func TestManualHasEveryFlag(t *testing.T) {
	manual, err := os.ReadFile("../../packaging/copenclose.8")
	if err != nil {
		t.Fatal(err)
	}
	parts := manualParts(t, string(manual))
	item := regexp.MustCompile(`(?m)^\.It (Fl .*)$`)
	flag := regexp.MustCompile(`\bFl (-?[\w-]+)`)
	commands := (&tool{}).commands()
	for _, c := range commands {
		if c.Hidden {
			continue
		}
		there := map[string]bool{}
		for _, line := range item.FindAllStringSubmatch(parts[c.Name], -1) {
			for _, f := range flag.FindAllStringSubmatch(line[1], -1) {
				there["-"+f[1]] = true
			}
		}
		for _, f := range c.Flags {
			for _, name := range f.Names() {
				same := flagNamed(commands[0], name)
				described := c != commands[0] && same != nil && same.GetUsage() == f.(cli.DocGenerationFlag).GetUsage()
				if f.(cli.VisibleFlag).IsVisible() && !there[dashed(name)] && !described {
					t.Errorf("copenclose.8 does not have %s of %s", dashed(name), c.Name)
				}
				delete(there, dashed(name))
			}
		}
		for name := range there {
			t.Errorf("copenclose.8 has %s of %s, which has no such flag", name, c.Name)
		}
	}
}

// manualParts returns the manual's text about the flags of each command: those of a
// trace have a section, and each subcommand a subsection of another.
func manualParts(t *testing.T, manual string) map[string]string {
	t.Helper()
	parts := map[string]string{}
	var section, name string
	for line := range strings.Lines(manual) {
		if title, ok := strings.CutPrefix(line, ".Sh "); ok {
			section, name = strings.TrimSpace(title), ""
		}
		title, subsection := strings.CutPrefix(line, ".Ss copenclose ")
		switch {
		case section == "OPTIONS":
			name = "copenclose"
		case section == "SUBCOMMANDS" && subsection:
			name = strings.TrimSpace(title)
		}
		parts[name] += line
	}
	if parts["copenclose"] == "" {
		t.Fatal("copenclose.8 has no section OPTIONS")
	}
	return parts
}
