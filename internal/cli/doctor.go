// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/copenclose/copenclose/internal/doctor"
	"github.com/copenclose/copenclose/internal/option"
	"github.com/copenclose/copenclose/internal/output"
)

const (
	doctorUsage = `  copenclose doctor [OPTIONS]
`
	doctorExamples = `  copenclose doctor            what works, and what does not
  copenclose doctor -o json    the same as an object a line
`
)

// doctorCommand returns the subcommand that says whether tracing works here.
func (t *tool) doctorCommand() *cli.Command {
	format := option.NewChoice(output.Table, output.JSON)
	var sockets option.List
	return &cli.Command{
		Name:        "doctor",
		Usage:       "say whether it can trace here",
		UsageText:   doctorUsage,
		Description: doctorExamples,
		Flags: []cli.Flag{
			category("What to show").value(format, "output", "o", "`FORMAT`: table or json (an object a line)"),
			category("What to look at").value(&sockets, "runtime-socket", "", "these sockets, a `LIST`, with Docker's API or CRI, instead of those that are found"),
		},
		Action: func(c *cli.Context) error {
			return t.examine(c.Context, output.Format(format.Word), sockets)
		},
	}
}

// examine prints what was found. The status is 1 where tracing cannot work.
func (t *tool) examine(ctx context.Context, format output.Format, sockets []string) error {
	findings := doctor.Examine(ctx, sockets)
	write := doctor.WriteTable
	if format == output.JSON {
		write = doctor.WriteJSON
	}
	if err := write(t.stdout, findings); err != nil {
		return err
	}
	if !doctor.Works(findings) {
		return &exitError{status: exitFailed}
	}
	return nil
}
