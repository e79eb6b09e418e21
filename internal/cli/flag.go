// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// headingKey is the annotation of a flag that has the heading over it.
const headingKey = "heading"

// heading adds flags to a command. They stand under its text in the help, in the
// order in which they are added.
type heading struct {
	text string
	to   *pflag.FlagSet
}

func under(c *cobra.Command, text string) heading { return heading{text, c.Flags()} }

// toggle adds a flag without a value. A flag has a letter, too, or an empty
// short.
func (h heading) toggle(to *bool, name, short, usage string) {
	h.to.BoolVarP(to, name, short, false, usage)
	h.mark(name)
}

// value adds a flag with a value, for which placeholder stands in the help.
func (h heading) value(to setter, name, short, placeholder, usage string) {
	h.to.VarP(value{to, placeholder}, name, short, usage)
	h.mark(name)
}

func (h heading) mark(name string) {
	h.to.Lookup(name).Annotations = map[string][]string{headingKey: {h.text}}
}

// headingOf returns the heading over f, empty for none.
func headingOf(f *pflag.Flag) string {
	if h := f.Annotations[headingKey]; len(h) > 0 {
		return h[0]
	}
	return ""
}

// setter is a value of package option.
type setter interface {
	Set(string) error
	String() string
}

// value is a setter as pflag has it.
type value struct {
	setter
	placeholder string
}

// Type returns what stands for the value in the help.
func (v value) Type() string { return v.placeholder }

// given returns the long names of the flags that the command line has.
func given(c *cobra.Command) (names []string) {
	c.Flags().Visit(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}
