// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/copenclose/copenclose/internal/option"
)

// explain returns err, or if it is about a flag of c, one that says what to type
// instead.
func (t *tool) explain(c *cobra.Command, err error) error {
	var (
		unknown *pflag.NotExistError
		noValue *pflag.ValueRequiredError
		bad     *pflag.InvalidValueError
		syntax  *pflag.InvalidSyntaxError
	)
	switch {
	case errors.As(err, &unknown):
		return t.unknownFlag(c, unknown)
	case errors.As(err, &noValue):
		f := noValue.GetFlag()
		return usagef("%s needs a value: %[1]s %s", t.typed(f), f.Value.Type())
	case errors.As(err, &bad):
		return t.badValue(c, bad)
	case errors.As(err, &syntax):
		return usagef("%s is not an option: %s --help lists them", quoted(syntax.GetSpecifiedFlag()), c.CommandPath())
	}
	return err
}

// unknownFlag says which flag is meant, if one is like it.
func (t *tool) unknownFlag(c *cobra.Command, err *pflag.NotExistError) error {
	name := "--" + err.GetSpecifiedName()
	if letters := err.GetSpecifiedShortnames(); letters != "" {
		name = "-" + letters
		if f := c.Flags().Lookup(strings.SplitN(letters, "=", 2)[0]); f != nil {
			return usagef("unknown option %s; did you mean --%s?", quoted(name), f.Name)
		}
		name = "-" + err.GetSpecifiedName()
	} else if nearest := option.Nearest(err.GetSpecifiedName(), flagNames(c)); nearest != "" {
		return usagef("unknown option %s; did you mean --%s?", quoted(name), nearest)
	}
	if c.HasParent() && hasFlag(c.Root(), name) {
		return usagef("%s does not take %s: see %s --help", c.Name(), name, c.CommandPath())
	}
	return usagef("unknown option %s; %s --help lists them", quoted(name), c.CommandPath())
}

func flagNames(c *cobra.Command) (names []string) {
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}

func hasFlag(c *cobra.Command, dashed string) bool {
	if name, long := strings.CutPrefix(dashed, "--"); long {
		return c.Flags().Lookup(name) != nil
	}
	return len(dashed) == 2 && c.Flags().ShorthandLookup(dashed[1:]) != nil
}

// badValue says which entry of a value is wrong, and why.
func (t *tool) badValue(c *cobra.Command, err *pflag.InvalidValueError) error {
	f := err.GetFlag()
	if long := f.Shorthand + err.GetValue(); c.Flags().Lookup(long) != nil && slices.Contains(t.words, "-"+long) {
		return usagef("unknown option -%s; did you mean --%[1]s?", long)
	}
	value, why := err.GetValue(), errors.Unwrap(err)
	if e := (*option.EntryError)(nil); errors.As(err, &e) {
		value, why = e.Entry, e.Err
	}
	return usagef("%s %s: %w", t.typed(f), quoted(value), why)
}

// typed returns a flag as it stands on the command line, by its letter or by its
// name.
func (t *tool) typed(f *pflag.Flag) string {
	long := "--" + f.Name
	for _, word := range t.words {
		if word == long || strings.HasPrefix(word, long+"=") {
			return long
		}
	}
	if f.Shorthand != "" {
		return "-" + f.Shorthand
	}
	return long
}

// onlyCommand refuses words that are neither options nor after --, and says where
// they belong.
func (t *tool) onlyCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		if t.command != nil && len(t.command) == 0 {
			return usagef("no command after --")
		}
		return nil
	}
	before := t.words[:len(t.words)-len(args)]
	if _, err := exec.LookPath(args[0]); err != nil {
		if joined := t.joined(c, before, args); joined != "" {
			return usagef("lists are joined by commas: %s", joined)
		}
		var names []string
		for _, s := range c.Commands() {
			names = append(names, s.Name())
		}
		if nearest := option.Nearest(args[0], names); nearest != "" {
			return usagef("unknown subcommand %s; did you mean %s %s?", quoted(args[0]), c.Name(), nearest)
		}
	}
	words := slices.Concat([]string{c.CommandPath()}, before, []string{"--"}, args)
	if t.command != nil {
		words = slices.Concat(words[:1], before, []string{"--"}, t.command)
		return usagef("unexpected word %s before --: %s", quoted(args[0]), line(words))
	}
	return usagef("to trace a command: %s", line(words))
}

// joined returns the list that args continue, if they follow the value of a flag
// that takes one: -c web shop.
func (t *tool) joined(c *cobra.Command, before, args []string) string {
	if len(before) < 2 || slices.ContainsFunc(args, func(word string) bool { return strings.HasPrefix(word, "-") }) {
		return ""
	}
	dashed, value := before[len(before)-2], before[len(before)-1]
	if !strings.HasPrefix(dashed, "-") || strings.HasPrefix(value, "-") || !hasFlag(c, dashed) {
		return ""
	}
	name, long := strings.CutPrefix(dashed, "--")
	f := c.Flags().Lookup(name)
	if !long {
		f = c.Flags().ShorthandLookup(dashed[1:])
	}
	if f.Value.Type() != "LIST" {
		return ""
	}
	return dashed + " " + quoted(strings.Join(append([]string{value}, args...), ","))
}

// line returns words as a command line that can be pasted.
func line(words []string) string {
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
