// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/copenclose/copenclose/internal/container"
	"github.com/copenclose/copenclose/internal/option"
	"github.com/copenclose/copenclose/internal/output"
)

const (
	containersUsage = `  copenclose containers [OPTIONS]
`
	containersExamples = `  copenclose containers                         a table
  copenclose containers -o json | jq -r .image  the images that run
  copenclose containers -q                      only ids
  copenclose containers --no-runtime            what the cgroups say, at once
`
)

// containersCommand returns the subcommand that lists the containers that run.
func (t *tool) containersCommand() *cli.Command {
	format := option.NewChoice(output.ListFormats()...)
	var list output.List
	var runtimes Runtimes
	what := category("What to show")
	return &cli.Command{
		Name:        "containers",
		Usage:       "list the containers that run",
		UsageText:   containersUsage,
		Description: containersExamples,
		Flags: slices.Concat([]cli.Flag{
			what.value(format, "output", "o", "`FORMAT`: table, json (an object a line) or tsv"),
			what.toggle(&list.OnlyIDs, "quiet", "q", "only ids"),
			what.toggle(&list.NoHeader, "no-header", "", "leave out the header"),
		}, runtimes.flags("How to find names")),
		Action: func(c *cli.Context) error {
			list.Format = output.Format(format.Word)
			return t.listContainers(c.Context, list, runtimes)
		},
	}
}

// runtimeTimeout is how long a runtime may take to tell the names of its
// containers.
const runtimeTimeout = 5 * time.Second

func (t *tool) listContainers(ctx context.Context, list output.List, runtimes Runtimes) error {
	note := func(note string) { fmt.Fprintln(t.stderr, "copenclose:", note) }
	registry, err := container.New(container.Config{Sockets: runtimes.Sockets, NoNames: runtimes.None, Note: note})
	if err != nil {
		return err
	}
	defer registry.Close()
	if warning := registry.Warning(); warning != nil {
		note(warning.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, runtimeTimeout)
	defer cancel()
	if err := registry.WaitForNames(ctx); err != nil {
		note(err.Error())
	}
	containers := registry.List()
	if len(containers) == 0 {
		note("no containers")
	}
	return list.Write(t.stdout, containers)
}
