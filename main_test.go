package main

import (
	"os"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// Every flag is in the README.
func TestReadmeHasEveryFlag(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range flags {
		if visible, ok := f.(cli.VisibleFlag); ok && !visible.IsVisible() {
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
