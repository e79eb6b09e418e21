// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	// helpWidth leaves room in a terminal of 80 columns.
	helpWidth = 78
	// usageColumn is where the text of a flag begins.
	usageColumn = 28
)

// help returns the help of a command: how it is called, examples, and its flags
// in their own order under their headings.
func help(c *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nUsage:\n%s", c.Long, c.Annotations[usageKey])
	for _, s := range c.Commands() {
		if s.IsAvailableCommand() && s.Name() != "help" {
			fmt.Fprintf(&b, "  %-41s %s\n", s.CommandPath()+" [OPTIONS]", s.Short)
		}
	}
	fmt.Fprintf(&b, "\nExamples:\n%s", c.Example)
	above := "-"
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		if h := headingOf(f); h != above {
			above = h
			b.WriteString("\n")
			if h != "" {
				b.WriteString(h + ":\n")
			}
		}
		b.WriteString(flagHelp(f))
	})
	return b.String()
}

// usageKey is the annotation of a command that has the lines under Usage.
const usageKey = "usage"

// flagHelp returns the lines of a flag.
func flagHelp(f *pflag.Flag) string {
	left := "      --" + f.Name
	if f.Shorthand != "" {
		left = fmt.Sprintf("  -%s, --%s", f.Shorthand, f.Name)
	}
	usage := f.Usage
	if v, ok := f.Value.(value); ok {
		left += " " + v.placeholder
		if f.DefValue != "" {
			usage += " (default: " + f.DefValue + ")"
		}
	}

	var b strings.Builder
	line := left
	for _, text := range wrapped(usage, helpWidth-usageColumn) {
		if len(line) >= usageColumn-1 {
			b.WriteString(line + "\n")
			line = ""
		}
		fmt.Fprintf(&b, "%-*s%s\n", usageColumn, line, text)
		line = ""
	}
	return b.String()
}

// wrapped returns text in lines of at most width.
func wrapped(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimLeft(line+" "+word, " ")
	}
	return append(lines, line)
}
