// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

const (
	// helpWidth is the width of a terminal that nobody made wider.
	helpWidth = 80
	// usageColumn is where the text of a flag begins.
	usageColumn = 30
)

// help returns the help of a command: how it is called, examples, and its flags
// in their own order under the headings of their categories. urfave/cli would sort
// both. The help is a template without any action.
func help(name string, c *cli.Command, subcommands []*cli.Command, more ...cli.Flag) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s - %s\n\n%s", name, c.Usage, c.UsageText)
	for _, s := range subcommands {
		fmt.Fprintf(&b, "   %-38s %s\n", name+" "+s.Name+" [FLAGS]", s.Usage)
	}
	fmt.Fprintf(&b, "\nEXAMPLES\n%s", c.Description)
	flags := slices.DeleteFunc(slices.Concat(c.Flags, more), func(f cli.Flag) bool { return !f.(cli.VisibleFlag).IsVisible() })
	heading := ""
	for i, f := range flags {
		if category := f.(cli.CategorizableFlag).GetCategory(); i == 0 || category != heading {
			heading = category
			b.WriteString("\n")
			if heading != "" {
				b.WriteString(heading + "\n")
			}
		}
		b.WriteString(flagHelp(f.(cli.DocGenerationFlag)))
	}
	return b.String()
}

// flagHelp returns the lines of a flag. The placeholder of its value stands in
// backquotes in its usage.
func flagHelp(f cli.DocGenerationFlag) string {
	left := "       --" + f.Names()[0]
	if len(f.Names()) > 1 {
		left = fmt.Sprintf("   -%s, --%s", f.Names()[1], f.Names()[0])
	}
	usage := f.GetUsage()
	if quoted := strings.Split(usage, "`"); len(quoted) == 3 {
		left += " " + quoted[1]
		usage = strings.Join(quoted, "")
	}
	if text := f.GetDefaultText(); f.TakesValue() && text != "" {
		usage += " (default: " + text + ")"
	}

	var b strings.Builder
	line := left
	for _, text := range wrapped(usage, helpWidth-usageColumn) {
		if len(line) >= usageColumn {
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
