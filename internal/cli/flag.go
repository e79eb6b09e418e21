// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// category is a heading in the help, over the flags that it makes.
type category string

// toggle makes a flag without a value.
func (c category) toggle(to *bool, name, alias, usage string) cli.Flag {
	return &cli.BoolFlag{
		Name: name, Aliases: strings.Fields(alias), Usage: usage, Category: string(c),
		Destination: to, DisableDefaultText: true,
	}
}

// value makes a flag with a value. The word for the value stands in backquotes at the
// beginning of the usage.
func (c category) value(to setter, name, alias, usage string) cli.Flag {
	return &cli.GenericFlag{Name: name, Aliases: strings.Fields(alias), Usage: usage, Category: string(c), Value: &value{setter: to}}
}

// setter is a value of package option.
type setter interface {
	Set(string) error
	String() string
}

// value is a setter that remembers what was wrong with it: urfave/cli makes text of the
// error.
type value struct {
	setter
	isSet bool
	bad   string
	err   error
}

// Set sets the value. urfave/cli sets a flag by its other name to the text that it has
// by the one: a list is not doubled then.
func (v *value) Set(s string) error {
	if v.isSet && s == v.String() {
		return nil
	}
	v.isSet = true
	if err := v.setter.Set(s); err != nil {
		v.bad, v.err = s, err
		return err
	}
	return nil
}

// setterOf returns the value of f, nil if it has none.
func setterOf(f cli.Flag) setter {
	if g, ok := f.(*cli.GenericFlag); ok {
		return g.Value.(*value).setter
	}
	return nil
}

// without returns flags but for the one with that name.
func without(flags []cli.Flag, name string) []cli.Flag {
	return slices.DeleteFunc(flags, func(f cli.Flag) bool { return f.Names()[0] == name })
}

// described is a cli.Flag that says what it is for.
type described = cli.DocGenerationFlag

// flagNamed returns the flag of c with that name or letter, nil if there is none.
func flagNamed(c *cli.Command, name string) described {
	for _, f := range c.Flags {
		for _, n := range f.Names() {
			if n == name {
				return f.(described)
			}
		}
	}
	return nil
}

// usageOf returns the word for the value of f, empty if it has none, and the text.
func usageOf(f described) (placeholder, text string) {
	quoted := strings.SplitN(f.GetUsage(), "`", 3)
	if len(quoted) < 3 {
		return "", f.GetUsage()
	}
	if after, ok := strings.CutPrefix(quoted[2], ": "); ok && quoted[0] == "" {
		return quoted[1], after
	}
	return quoted[1], strings.Join(quoted, "")
}

// given returns the long names of the flags that the command line has.
func given(c *cli.Context) (names []string) {
	for _, f := range c.Command.Flags {
		if name := f.Names()[0]; c.IsSet(name) {
			names = append(names, name)
		}
	}
	return names
}
