// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/copenclose/copenclose/internal/golden"
)

func TestHelp(t *testing.T) {
	for name, args := range map[string][]string{
		"help":            {"--help"},
		"containers-help": {"containers", "--help"},
		"doctor-help":     {"doctor", "--help"},
		"fds-help":        {"fds", "--help"},
		"serve-help":      {"serve", "--help"},
		"summary-help":    {"summary", "--help"},
		"top-help":        {"top", "--help"},
		"leaks-help":      {"leaks", "--help"},
	} {
		r := run(t, nil, args...)
		if r.status != 0 || r.stderr != "" {
			t.Errorf("%v: %d, %q", args, r.status, r.stderr)
		}
		golden.Check(t, name, []byte(r.stdout))
		for line := range strings.Lines(r.stdout) {
			if len(strings.TrimSuffix(line, "\n")) > helpWidth {
				t.Errorf("%v: wider than %d: %q", args, helpWidth, line)
			}
		}
	}
}

// -h before a subcommand is about the subcommand.
func TestHelpOfSubcommand(t *testing.T) {
	before, after := run(t, nil, "-h", "containers"), run(t, nil, "containers", "-h")
	if before != after {
		t.Errorf("%+v\nis not\n%+v", before, after)
	}
}

// everyFlag calls visit for the flags of a trace and of the subcommands that the
// help shows.
func everyFlag(visit func(c *cli.Command, f cli.Flag)) {
	for _, c := range (&tool{}).commands() {
		for _, f := range c.Flags {
			if !c.Hidden && f.(cli.VisibleFlag).IsVisible() {
				visit(c, f)
			}
		}
	}
}

// Every flag is in the README.
func TestReadmeHasEveryFlag(t *testing.T) {
	readme := readme(t)
	everyFlag(func(c *cli.Command, f cli.Flag) {
		for _, name := range f.Names() {
			dashes := "--"
			if len(name) == 1 {
				dashes = "-"
			}
			if !strings.Contains(readme, "`"+dashes+name) && !strings.Contains(readme, ", "+dashes+name) {
				t.Errorf("README.md does not have %s%s of %s", dashes, name, c.Name)
			}
		}
	})
}

// The headings of a trace's flags stand in the README's order.
func TestReadmeHasCategories(t *testing.T) {
	readme, at := readme(t), 0
	everyFlag(func(c *cli.Command, f cli.Flag) {
		text, _, _ := strings.Cut(f.(cli.CategorizableFlag).GetCategory(), " (")
		if c.Name != "copenclose" || text == "" {
			return
		}
		found := strings.Index(readme, "\n| "+text+" | |\n")
		if found < at {
			t.Fatalf("README.md has %q at %d, after one at %d", text, found, at)
		}
		at = found
	})
}

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
