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
	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/internal/inherited"
	"github.com/copenclose/copenclose/internal/privilege"
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
		drop:   privilege.Drop,
	}
	if !inherited.Stdout() {
		fmt.Fprintln(t.stderr, "copenclose: write to stdout:", unix.EBADF)
		return exitFailed
	}
	return t.main(args[1:])
}

// tool is one run of copenclose.
type tool struct {
	build          Build
	stdout, stderr *os.File
	attach         func(tracer.Config) (kernel, error)
	drop           func(privilege.Keep, func(string)) // nil to keep every privilege
	words          []string                           // the command line
	command        []string                           // the words after --, nil if there is no --
	monitored      *os.File                           // to the monitor, in the process that it started
}

func (t *tool) main(args []string) (status int) {
	err := t.run(args)
	if err != nil && err.Error() != "" {
		fmt.Fprintln(t.stderr, "copenclose:", err)
	}
	return statusOf(err)
}

// run cuts the command line at the first -- before anything reads it: what follows is a
// program, even if a subcommand has the same name.
func (t *tool) run(args []string) error {
	if len(args) > 0 && args[0] == completeWord {
		return t.completeLine(args[1:])
	}
	if len(args) > 0 && args[0] == screenWord {
		t.monitored, args = beMonitored(), args[1:]
	}
	t.words = args
	words := args
	if i := slices.Index(args, "--"); i >= 0 {
		words, t.command = args[:i], args[i+1:]
	}
	commands := t.commands()
	if len(words) > 0 && words[0] == "help" {
		words = append(slices.Clone(words[1:]), "--help")
	}
	l, err := readLine(words, t.command, commands)
	_, asked := l.typed["help"]
	switch {
	case asked:
		_, err := fmt.Fprint(t.stdout, help(l.command, commands))
		return err
	case err != nil:
		return err
	case t.command == nil:
	case !l.command.Args:
		return usagef("%s runs no command: see %s --help", l.command.Name, commandPath(l.command, commands[0]))
	case len(t.command) == 0:
		return usagef("no command after --")
	}
	// urfave/cli sets what the flags are for, and calls the action.
	one := &cli.App{
		Name:           l.command.Name,
		Flags:          l.command.Flags,
		Action:         l.command.Action,
		HideHelp:       true,
		HideVersion:    true,
		OnUsageError:   func(_ *cli.Context, err error, _ bool) error { return usageError(l.badValue(err)) },
		ExitErrHandler: func(*cli.Context, error) {},
		Writer:         t.stdout,
		ErrWriter:      t.stderr,
	}
	return one.Run(append([]string{one.Name}, l.flags...))
}

// commands returns what can be run, in the order of the help: first what runs without a
// subcommand's name, then a line for each subcommand. One that runs a command after --
// has Args set.
func (t *tool) commands() []*cli.Command {
	commands := []*cli.Command{
		t.traceCommand(),
		t.topCommand(),
		t.summaryCommand(),
		t.serveCommand(),
		t.containersCommand(),
		t.doctorCommand(),
		t.fdsCommand(),
		t.leaksCommand(),
		t.versionCommand(),
	}
	for _, c := range commands {
		c.Flags = append(c.Flags, category("").toggle(new(bool), "help", "h", "print this help"))
	}
	return commands
}

func (t *tool) versionCommand() *cli.Command {
	return &cli.Command{
		Name:      "version",
		Usage:     "print the version",
		UsageText: "  copenclose version\n",
		Hidden:    true,
		Action:    func(*cli.Context) error { return t.printVersion() },
	}
}

func (t *tool) printVersion() error {
	_, err := fmt.Fprintln(t.stdout, "copenclose", t.build)
	return err
}
