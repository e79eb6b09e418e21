// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/urfave/cli/v2"

	"github.com/copenclose/copenclose/internal/option"
)

// misplaced says where the words from i on belong, which are neither flags nor after --.
func misplaced(words []string, i int, program []string, commands []*cli.Command, c *cli.Command) error {
	trace, before, rest := commands[0], words[:i], words[i:]
	if c != trace {
		return usagef("unexpected word %s: see %s --help", quoted(rest[0]), commandPath(c, trace))
	}
	if _, err := exec.LookPath(rest[0]); err != nil {
		if list := joined(trace, before, rest); list != "" {
			return usagef("lists are joined by commas: %s", list)
		}
		var names []string
		for _, s := range commands[1:] {
			names = append(names, s.Name)
		}
		if nearest := option.Nearest(rest[0], names); nearest != "" {
			return usagef("unknown subcommand %s; did you mean %s %s?", quoted(rest[0]), trace.Name, nearest)
		}
		if len(program) > 0 {
			line := pasted(slices.Concat([]string{trace.Name}, before, rest[1:], []string{"--"}, program))
			return usagef("unexpected word %s before --; without it: %s", quoted(rest[0]), line)
		}
	}
	traced := rest
	if len(program) > 0 {
		traced = slices.Concat(rest, []string{"--"}, program)
	}
	return usagef("to trace a command: %s", pasted(slices.Concat([]string{trace.Name}, before, []string{"--"}, traced)))
}

// joined returns the list that rest continues, if it follows the value of a flag that
// takes one: -c web shop.
func joined(c *cli.Command, before, rest []string) string {
	if len(before) < 2 || slices.ContainsFunc(rest, isFlag) {
		return ""
	}
	dashed, first := before[len(before)-2], before[len(before)-1]
	if !needsNext(dashed, c) {
		return ""
	}
	name := strings.TrimPrefix(dashed, "--")
	if name == dashed {
		name = dashed[len(dashed)-1:]
	}
	if placeholder, _ := usageOf(flagNamed(c, name)); placeholder != "LIST" {
		return ""
	}
	return dashed + " " + quoted(strings.Join(append([]string{first}, rest...), ","))
}

// pasted returns words as a command line that can be pasted.
func pasted(words []string) string {
	var b strings.Builder
	for i, word := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(quoted(word))
	}
	return b.String()
}

// quoted returns word as it is if a shell and a terminal take it so, and in
// quotes if not.
func quoted(word string) string {
	special := func(r rune) bool { return strings.ContainsRune("|&;<>()$`\\\"' *?[]#~!{}", r) }
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }
	switch {
	case strings.ContainsFunc(word, unprintable):
		return strconv.Quote(word)
	case word == "" || strings.ContainsFunc(word, special):
		return fmt.Sprintf("'%s'", strings.ReplaceAll(word, "'", `'\''`))
	}
	return word
}
