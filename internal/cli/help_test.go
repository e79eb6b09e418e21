// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestHelp(t *testing.T) {
	for name, args := range map[string][]string{
		"help":            {"--help"},
		"containers-help": {"containers", "--help"},
	} {
		r := run(t, nil, args...)
		if r.status != 0 || r.stderr != "" {
			t.Errorf("%v: %d, %q", args, r.status, r.stderr)
		}
		golden := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(golden, []byte(r.stdout), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if r.stdout != string(want) {
			t.Errorf("%v: got\n%s\nwant\n%s", args, r.stdout, want)
		}
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

// Every flag is in the README.
func TestReadmeHasEveryFlag(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range newOptions().Flags() {
		if !f.(cli.VisibleFlag).IsVisible() {
			continue
		}
		for _, name := range f.Names() {
			dashes := "--"
			if len(name) == 1 {
				dashes = "-"
			}
			if !strings.Contains(string(readme), "`"+dashes+name) && !strings.Contains(string(readme), ", "+dashes+name) {
				t.Errorf("README.md does not have %s%s", dashes, name)
			}
		}
	}
}

// The headings stand in the README's order.
func TestReadmeHasCategories(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, f := range newOptions().Flags() {
		if !f.(cli.VisibleFlag).IsVisible() {
			continue
		}
		heading := "\n| " + f.(cli.CategorizableFlag).GetCategory() + " | |\n"
		found := strings.Index(string(readme), heading)
		if found < at {
			t.Fatalf("README.md has %q at %d, after one at %d", heading, found, at)
		}
		at = found
	}
}
