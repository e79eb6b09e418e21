// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// category is a heading in the help, over the flags that it makes.
type category string

func (c category) toggle(to *bool, name, alias, usage string) cli.Flag {
	return &cli.BoolFlag{
		Name: name, Aliases: strings.Fields(alias), Usage: usage, Category: string(c),
		Destination: to, DisableDefaultText: true,
	}
}

func (c category) value(to cli.Generic, name, alias, usage string) cli.Flag {
	return &cli.GenericFlag{Name: name, Aliases: strings.Fields(alias), Usage: usage, Category: string(c), Value: to}
}
