// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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

// everyFlag calls visit for the flags of a trace and of the subcommands that the
// help shows.
func everyFlag(visit func(c *cobra.Command, f *pflag.Flag)) {
	root := (&tool{}).grammar()
	for _, c := range append(root.Commands(), root) {
		if c == root || c.IsAvailableCommand() {
			c.Flags().VisitAll(func(f *pflag.Flag) {
				if !f.Hidden {
					visit(c, f)
				}
			})
		}
	}
}

// Every flag is in the README.
func TestReadmeHasEveryFlag(t *testing.T) {
	readme := readme(t)
	everyFlag(func(c *cobra.Command, f *pflag.Flag) {
		if !strings.Contains(readme, "`--"+f.Name) && !strings.Contains(readme, ", --"+f.Name) {
			t.Errorf("README.md does not have --%s of %s", f.Name, c.Name())
		}
		if f.Shorthand != "" && !strings.Contains(readme, "`-"+f.Shorthand) && !strings.Contains(readme, ", -"+f.Shorthand) {
			t.Errorf("README.md does not have -%s of %s", f.Shorthand, c.Name())
		}
	})
}

// The headings of a trace's flags stand in the README's order.
func TestReadmeHasHeadings(t *testing.T) {
	readme, at := readme(t), 0
	everyFlag(func(c *cobra.Command, f *pflag.Flag) {
		if c.HasParent() || headingOf(f) == "" {
			return
		}
		text, _, _ := strings.Cut(headingOf(f), " (")
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
