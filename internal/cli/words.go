// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/copenclose/copenclose/internal/option"
)

// line is a command line that was read: everything that urfave/cli cannot take wrong.
type line struct {
	command *cli.Command
	flags   []string          // each --name or --name=value
	typed   map[string]string // by name, how a flag was written
}

// readLine reads the words before the first -- as people type them: letters together
// (-Id1), values at their letters (-ojson), a subcommand's flags before its name, too.
// program is what stands after the --, and the first of commands is what runs without
// a subcommand's name. The error says what to type instead.
func readLine(words, program []string, commands []*cli.Command) (line, error) {
	l := line{command: commands[0], typed: make(map[string]string)}
	first := firstWord(words, commands)
	if i := slices.IndexFunc(commands[1:], func(c *cli.Command) bool { return first < len(words) && c.Name == words[first] }); i >= 0 {
		l.command = commands[1+i]
		words = slices.Concat(words[:first], words[first+1:])
	}
	for i := 0; i < len(words); {
		if !isFlag(words[i]) {
			return l, misplaced(words, i, program, commands, l.command)
		}
		n, err := l.flag(words[i:], commands[0])
		if err != nil {
			return l, err
		}
		i += n
	}
	return l, nil
}

// isFlag reports whether word is a flag. A lone - never is.
func isFlag(word string) bool { return len(word) > 1 && word[0] == '-' }

// firstWord returns the place of the first word that is neither a flag nor the value of
// one, of whichever command.
func firstWord(words []string, commands []*cli.Command) int {
	for i := 0; i < len(words); i++ {
		if !isFlag(words[i]) {
			return i
		}
		for _, c := range commands {
			if needsNext(words[i], c) {
				i++
				break
			}
		}
	}
	return len(words)
}

// needsNext reports whether word ends with a flag of c whose value is the next word.
func needsNext(word string, c *cli.Command) bool {
	if name, long := strings.CutPrefix(word, "--"); long {
		f := flagNamed(c, name)
		return f != nil && f.TakesValue()
	}
	for i := 1; i < len(word); i++ {
		f := flagNamed(c, word[i:i+1])
		if f == nil {
			return false
		}
		if f.TakesValue() {
			return i == len(word)-1
		}
	}
	return false
}

// flag reads the flags of the first of words, and returns how many words they are with
// their value.
func (l *line) flag(words []string, trace *cli.Command) (n int, err error) {
	word := words[0]
	if strings.HasPrefix(word, "--") {
		return l.long(words, trace)
	}
	if len(word) > 2 && flagNamed(l.command, word[1:]) != nil {
		return 0, usagef("unknown option %s; did you mean -%[1]s?", word)
	}
	for i := 1; i < len(word); i++ {
		letter := word[i : i+1]
		f := flagNamed(l.command, letter)
		if f == nil {
			return 0, unknownFlag(quoted("-"+letter), l.command, trace)
		}
		l.typed[f.Names()[0]] = "-" + letter
		if !f.TakesValue() {
			l.flags = append(l.flags, "--"+f.Names()[0])
			continue
		}
		rest := strings.TrimPrefix(word[i+1:], "=")
		if rest != "" {
			words = words[:1]
		}
		return l.value(f, rest, words)
	}
	return 1, nil
}

func (l *line) long(words []string, trace *cli.Command) (n int, err error) {
	name, value, hasValue := strings.Cut(words[0][2:], "=")
	f := flagNamed(l.command, name)
	if f == nil || len(name) < 2 {
		return 0, unknownFlag(quoted("--"+name), l.command, trace)
	}
	l.typed[name] = "--" + name
	switch {
	case f.TakesValue() && hasValue:
		l.flags = append(l.flags, "--"+name+"="+value)
		return 1, nil
	case f.TakesValue():
		return l.value(f, "", words)
	case hasValue:
		on, err := strconv.ParseBool(value)
		if err != nil {
			return 0, usagef("--%s takes no value", name)
		}
		value = "=" + strconv.FormatBool(on)
	}
	l.flags = append(l.flags, "--"+name+value)
	return 1, nil
}

// value takes the value of f: attached, or else the second of words.
func (l *line) value(f described, attached string, words []string) (n int, err error) {
	name := f.Names()[0]
	switch {
	case attached != "":
		n = 1
	case len(words) < 2:
		placeholder, _ := usageOf(f)
		return 0, usagef("%s needs a value: %[1]s %s", l.typed[name], placeholder)
	default:
		attached, n = words[1], 2
	}
	l.flags = append(l.flags, "--"+name+"="+attached)
	return n, nil
}

// unknownFlag says which flag is meant instead of typed, if one is like it.
func unknownFlag(typed string, c, trace *cli.Command) error {
	name := strings.TrimLeft(typed, "-")
	switch {
	case c != trace && flagNamed(trace, name) != nil:
		return usagef("%s does not take %s: see %s --help", c.Name, typed, commandPath(c, trace))
	case flagNamed(c, habits[typed]) != nil:
		return usagef("unknown option %s; did you mean --%s?", typed, habits[typed])
	}
	var names []string
	for _, f := range c.Flags {
		names = append(names, f.Names()[0])
		if choice, ok := setterOf(f).(*option.Choice); ok && slices.Contains(choice.Words(), name) {
			return usagef("unknown option %s; did you mean --%s %s?", typed, f.Names()[0], name)
		}
	}
	if nearest := option.Nearest(name, names); nearest != "" {
		return usagef("unknown option %s; did you mean --%s?", typed, nearest)
	}
	return usagef("unknown option %s; %s --help lists them", typed, commandPath(c, trace))
}

// habits are letters that strace and opensnoop have for what has another one here.
var habits = map[string]string{"-e": "syscall", "-T": "latency", "-t": "time"}

// badValue says which entry of the value of a flag is wrong, and why; it returns err if
// none is.
func (l *line) badValue(err error) error {
	for _, f := range l.command.Flags {
		g, ok := f.(*cli.GenericFlag)
		if !ok || g.Value.(*value).err == nil {
			continue
		}
		bad, why := g.Value.(*value).bad, g.Value.(*value).err
		if e := (*option.EntryError)(nil); errors.As(why, &e) {
			bad, why = e.Entry, e.Err
		}
		return usagef("%s %s: %w", l.typed[g.Name], quoted(bad), why)
	}
	return err
}
