// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

const (
	// helpWidth leaves room in a terminal of 80 columns.
	helpWidth = 78
	// usageColumn is where the text of a flag begins.
	usageColumn = 28
)

// help returns the help of a command: how it is called, examples, and its flags
// in their own order under the headings of their categories. Of the first of commands,
// it lists the others.
func help(c *cli.Command, commands []*cli.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\nUsage:\n%s", strings.ToUpper(c.Usage[:1])+c.Usage[1:], c.UsageText)
	for _, s := range commands[1:] {
		if c == commands[0] && !s.Hidden {
			fmt.Fprintf(&b, "  %-41s %s\n", commandPath(s, c)+" [OPTIONS]", s.Usage)
		}
	}
	fmt.Fprintf(&b, "\nExamples:\n%s", c.Description)
	heading := "-"
	for _, f := range c.Flags {
		if !f.(cli.VisibleFlag).IsVisible() {
			continue
		}
		if above := f.(cli.CategorizableFlag).GetCategory(); above != heading {
			heading = above
			b.WriteString("\n")
			if heading != "" {
				b.WriteString(heading + ":\n")
			}
		}
		b.WriteString(flagHelp(f.(described)))
	}
	return b.String()
}

// commandPath returns how c is called.
func commandPath(c, trace *cli.Command) string {
	if c == trace {
		return c.Name
	}
	return trace.Name + " " + c.Name
}

// flagHelp returns the lines of a flag.
func flagHelp(f described) string {
	left := "      --" + f.Names()[0]
	if len(f.Names()) > 1 {
		left = fmt.Sprintf("  -%s, --%s", f.Names()[1], f.Names()[0])
	}
	placeholder, usage := usageOf(f)
	if placeholder != "" {
		left += " " + placeholder
	}
	if v := setterOf(f.(cli.Flag)); v != nil && v.String() != "" {
		usage += " (default: " + v.String() + ")"
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
