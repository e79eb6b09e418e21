// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package cli is the command line: it reads the options, checks that they fit
// together, and runs what they ask for. Each subcommand has a file.
package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

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
	return t.main(args[1:])
}

// tool is one run of copenclose.
type tool struct {
	build          Build
	stdout, stderr *os.File
	attach         func(tracer.Config) (kernel, error)
	words          []string // the words before --
	command        []string // the words after --, nil if there is no --
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
	t.words = args
	completes := len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd)
	if i := slices.Index(args, "--"); i >= 0 && !completes {
		t.words, t.command = args[:i], args[i+1:]
	}
	root := t.grammar()
	root.SetArgs(t.words)
	c, err := root.ExecuteContextC(context.Background())
	return t.explain(c, err)
}

// subcommands are in the order of the help.
func (t *tool) subcommands() []*cobra.Command {
	return []*cobra.Command{
		t.containersCommand(),
		t.versionCommand(),
	}
}

// grammar returns what the command line can be. The values that the flags set
// are its own. A subcommand's flags may stand before its name, too.
func (t *tool) grammar() *cobra.Command {
	root := t.traceCommand()
	for _, c := range append(t.subcommands(), root) {
		// The first word that is neither a flag nor a value ends the flags.
		c.Flags().SetInterspersed(c != root)
		c.Flags().SortFlags = false
		c.Flags().BoolP("help", "h", false, "print this help")
		if c != root {
			root.AddCommand(c)
		}
	}
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { _, _ = fmt.Fprint(t.stdout, help(c)) })
	root.SetOut(t.stdout)
	root.SetErr(t.stderr)
	return root
}

// noArguments refuses words after a subcommand, and a command to trace.
func (t *tool) noArguments(c *cobra.Command, args []string) error {
	switch {
	case len(args) > 0:
		return usagef("unexpected word %s: see %s --help", quoted(args[0]), c.CommandPath())
	case t.command != nil:
		return usagef("%s runs no command: see %s --help", c.Name(), c.CommandPath())
	}
	return nil
}

func (t *tool) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "version",
		Short:  "print the version",
		Hidden: true,
		Args:   t.noArguments,
		RunE:   func(*cobra.Command, []string) error { return t.printVersion() },
	}
}

func (t *tool) printVersion() error {
	_, err := fmt.Fprintln(t.stdout, "copenclose", t.build)
	return err
}
