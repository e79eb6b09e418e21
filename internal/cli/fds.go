// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"context"
	"fmt"
	"io"
	"log"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/copenclose/copenclose/internal/container"
	"github.com/copenclose/copenclose/internal/descriptor"
	"github.com/copenclose/copenclose/internal/option"
	"github.com/copenclose/copenclose/internal/output"
)

const (
	fdsUsage = `  copenclose fds [OPTIONS]
`
	fdsExamples = `  copenclose fds                           who is nearest to the limit
  copenclose fds -c shop/api -l            every descriptor of a container
  copenclose fds --deleted                 deleted files that take space
  copenclose fds --by target --state close_wait
                                           connections that were left open
  copenclose fds -l -o json | jq 'select(.kind == "tcp")'
`
)

// What the rows of fds can be.
const (
	byProcess   = "process"
	byContainer = "container"
	byTarget    = "target"
)

// Fds is what the command line asks of fds.
type Fds struct {
	Filter   descriptor.Filter
	Match    option.Containers
	PIDs     option.Processes
	Comms    option.Comms
	Kinds    option.List
	Paths    option.Paths
	States   option.List
	By       *option.Choice
	List     bool
	Format   *option.Choice
	Runtimes Runtimes
	Verbose  bool
}

// fdsCommand returns the subcommand that shows the descriptors that are open.
func (t *tool) fdsCommand() *cli.Command {
	f := Fds{
		By:     option.NewChoice(byProcess, byContainer, byTarget),
		Format: option.NewChoice(output.Table, output.JSON),
	}
	return &cli.Command{
		Name:        "fds",
		Usage:       "show open descriptors and limits",
		UsageText:   fdsUsage,
		Description: fdsExamples,
		Flags:       f.flags(),
		Action: func(c *cli.Context) error {
			if err := f.resolve(c.IsSet("by")); err != nil {
				return err
			}
			return t.showFds(c.Context, &f)
		},
	}
}

func (f *Fds) flags() []cli.Flag {
	what := category("What to show (values of a list: any; different options: all must match)")
	look, how := category("How to show it"), category("How to find it")
	return slices.Concat([]cli.Flag{
		what.toggle(&f.Filter.IgnoreHost, "ignore-host-ns", "I", "leave out the host, show only containers"),
		what.value(&f.Match, "container", "c", "`LIST`: names, id prefixes, hostnames, pods or images, with * and ?; !PATTERN leaves out"),
		what.value(&f.PIDs, "pid", "p", "`LIST`: process ids as the host numbers them"),
		what.value(&f.Comms, "comm", "n", "`LIST`: names of processes, or beginnings like ngin*"),
		what.value(&f.Kinds, "kind", "k", "`LIST`: file, directory, device, pipe, tcp, udp, unix, eventfd, epoll...; socket and anon: all sockets, all anonymous files"),
		what.value(&f.Paths, "path", "", "`LIST`: paths that begin so"),
		what.toggle(&f.Filter.Deleted, "deleted", "", "only deleted files"),
		what.value(&f.States, "state", "", "`LIST`: connections in these states, like listen or close_wait"),
		what.toggle(&f.Filter.Inherited, "inherited", "", "only what an older process has open, too"),
		look.value(f.By, "by", "", "`WHAT`: a row for each process, container or target"),
		look.toggle(&f.List, "list", "l", "a row for each descriptor"),
		look.value(f.Format, "output", "o", "`FORMAT`: table or json (an object a line)"),
	}, f.Runtimes.flags(how), []cli.Flag{
		how.toggle(&f.Verbose, "verbose", "v", "log what libbpf says to stderr"),
	})
}

// resolve completes the filter, or returns what is wrong with the options.
func (f *Fds) resolve(by bool) error {
	if f.List && by {
		return usagef("--list and --by exclude each other")
	}
	for _, word := range f.States {
		state := strings.ToUpper(strings.ReplaceAll(word, "-", "_"))
		if !slices.Contains(descriptor.StateNames(), state) {
			return usagef("--state %s: not one of %s", word, strings.ToLower(strings.Join(descriptor.StateNames(), ", ")))
		}
		f.Filter.States = append(f.Filter.States, state)
	}
	f.Filter.Containers, f.Filter.PIDs, f.Filter.Comms, f.Filter.Kinds, f.Filter.Paths = f.Match.Match, f.PIDs.List, f.Comms.List, f.Kinds, f.Paths.List
	return nil
}

func (t *tool) showFds(ctx context.Context, f *Fds) error {
	verbose := log.New(io.Discard, "", 0)
	if f.Verbose {
		verbose = log.New(t.stderr, "copenclose: ", 0)
	}
	note := func(err error) {
		if err != nil {
			fmt.Fprintln(t.stderr, "copenclose:", err)
		}
	}
	kernel, err := descriptor.Open(verbose)
	if err != nil {
		return err
	}
	defer kernel.Close()
	registry, err := container.New(container.Config{
		Sockets: f.Runtimes.Sockets, NoNames: f.Runtimes.None,
		Note: func(s string) { fmt.Fprintln(t.stderr, "copenclose:", s) },
	})
	if err != nil {
		return err
	}
	defer registry.Close()
	note(descriptor.Warning())
	note(registry.Warning())
	ctx, cancel := context.WithTimeout(ctx, runtimeTimeout)
	defer cancel()
	note(registry.WaitForNames(ctx))

	snapshot, err := kernel.Snapshot()
	if err != nil {
		return err
	}
	snapshot.Attribute(registry)
	return t.writeFds(snapshot, f)
}

func (t *tool) writeFds(s *descriptor.Snapshot, f *Fds) error {
	holdings := s.Select(&f.Filter)
	json := f.Format.Word == string(output.JSON)
	switch {
	case f.List && json:
		return descriptor.WriteDescriptorsJSON(t.stdout, s, holdings)
	case f.List:
		return descriptor.WriteDescriptors(t.stdout, s, holdings)
	case f.By.Word == byContainer && json:
		return descriptor.WriteContainersJSON(t.stdout, s.Sums(holdings))
	case f.By.Word == byContainer:
		return descriptor.WriteContainers(t.stdout, s.Sums(holdings), &f.Filter)
	case f.By.Word == byTarget && json:
		return descriptor.WriteTargetsJSON(t.stdout, s.Targets(holdings))
	case f.By.Word == byTarget:
		return descriptor.WriteTargets(t.stdout, s.Targets(holdings))
	}
	files, err := descriptor.HostFiles()
	if err != nil {
		return err
	}
	if json {
		return descriptor.WriteProcessesJSON(t.stdout, holdings, files, s.Inotify())
	}
	if err := descriptor.WriteProcesses(t.stdout, holdings, &f.Filter); err != nil {
		return err
	}
	return descriptor.WriteLimits(t.stdout, files, s.Inotify())
}
