// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package cli is the command line: it reads the options, checks that they fit
// together, and runs what they ask for. Each subcommand has a file.
package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/copenclose/copenclose/internal/tracer"
)

// Exit statuses beside 0.
const (
	exitFailed = 1
	exitUsage  = 2
)

// exitError is an error with the status to exit with. It can be a status alone,
// with nothing to print.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usageError returns err as what the user got wrong on the command line.
func usageError(err error) error { return &exitError{exitUsage, err} }

func usagef(format string, args ...any) error { return usageError(fmt.Errorf(format, args...)) }

// statusOf returns the status to exit with after err.
func statusOf(err error) int {
	var exit *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.status
	}
	return exitFailed
}

// Build says which copenclose this is.
type Build struct{ Version, Commit string }

func (b Build) String() string {
	if b.Commit == "" {
		return b.Version
	}
	return b.Version + " (commit " + b.Commit + ")"
}

// Main runs the command line args, of which the first word is the program, and
// returns the status to exit with.
func Main(args []string, build Build) (status int) {
	t := &tool{
		build:  build,
		stdout: os.Stdout,
		stderr: os.Stderr,
		attach: func(cfg tracer.Config) (kernel, error) { return tracer.New(cfg) },
	}
	return t.main(args)
}

// tool is one run of copenclose.
type tool struct {
	build          Build
	stdout, stderr *os.File
	attach         func(tracer.Config) (kernel, error)
	command        []string // the words after --
}

func (t *tool) main(args []string) (status int) {
	err := t.run(args)
	if err != nil && err.Error() != "" {
		fmt.Fprintln(t.stderr, "copenclose:", err)
	}
	return statusOf(err)
}

// run cuts the command line at the first -- before anything reads it: what
// follows is a program, even if a subcommand has the same name.
func (t *tool) run(args []string) error {
	if i := slices.Index(args, "--"); i >= 0 {
		args, t.command = args[:i], args[i+1:]
	}
	return t.app().Run(args)
}

// app returns the command line's grammar. The values that the flags set are its
// own.
func (t *tool) app() *cli.App {
	cli.VersionFlag = &cli.BoolFlag{Name: "version", Aliases: []string{"V"}, Usage: "print the version", DisableDefaultText: true}
	cli.VersionPrinter = func(c *cli.Context) { fmt.Fprintln(c.App.Writer, "copenclose", c.App.Version) }

	trace := t.traceCommand()
	subcommands := []*cli.Command{
		t.containersCommand(),
	}
	for _, c := range subcommands {
		c.HideHelpCommand = true
		c.OnUsageError = refuse
		c.CustomHelpTemplate = help(trace.Name+" "+c.Name, c, nil, cli.HelpFlag)
	}
	return &cli.App{
		Name:                   trace.Name,
		Usage:                  trace.Usage,
		Version:                t.build.String(),
		HideHelpCommand:        true,
		UseShortOptionHandling: true,
		CustomAppHelpTemplate:  help(trace.Name, trace, subcommands, cli.HelpFlag, cli.VersionFlag),
		Flags:                  trace.Flags,
		Before:                 refuseFlagsOfTrace,
		Action:                 trace.Action,
		Commands:               subcommands,
		OnUsageError:           refuse,
		ExitErrHandler:         func(*cli.Context, error) {},
		Writer:                 t.stdout,
		ErrWriter:              t.stderr,
	}
}

func refuse(_ *cli.Context, err error, _ bool) error { return usageError(err) }

// refuseFlagsOfTrace refuses flags before a subcommand, which would not see them.
func refuseFlagsOfTrace(c *cli.Context) error {
	subcommand, flags := c.App.Command(c.Args().First()), given(c)
	if subcommand == nil || len(flags) == 0 {
		return nil
	}
	for _, f := range subcommand.Flags {
		if f.Names()[0] == flags[0] {
			return usagef("--%s goes after %s: see copenclose %[2]s --help", flags[0], subcommand.Name)
		}
	}
	return usagef("%s does not take --%s: see copenclose %[1]s --help", subcommand.Name, flags[0])
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
