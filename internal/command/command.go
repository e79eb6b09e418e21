// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package command runs the command that copenclose is given to trace.
package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Exit statuses for a command that does not run, as those of env(1).
const (
	CannotRun = 126
	NotFound  = 127
)

// StatusOf returns the status for an error of Find or Start.
func StatusOf(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return NotFound
	}
	return CannotRun
}

// Command is a program that was found, but not started.
type Command struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
}

// Find looks a command up, and whether it may be run. What it writes goes to output,
// from both its stdout and its stderr: our own stdout is for events.
func Find(words []string, output *os.File) (*Command, error) {
	if _, err := exec.LookPath(words[0]); err != nil {
		if e := (*exec.Error)(nil); errors.As(err, &e) {
			err = e.Err
		}
		if e := (*fs.PathError)(nil); errors.As(err, &e) {
			err = e.Err
		}
		return nil, fmt.Errorf("run %s: %w", words[0], err)
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, output, output
	return &Command{cmd, make(chan struct{})}, nil
}

// Start starts it. When it has ended, whenEnded is called.
func (c *Command) Start(whenEnded func()) error {
	if err := c.cmd.Start(); err != nil {
		if e := (*fs.PathError)(nil); errors.As(err, &e) {
			err = e.Err
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("the interpreter that it names: %w", err) // the file itself was found
		}
		return fmt.Errorf("run %s: %w", c.cmd.Path, err)
	}
	go func() {
		_ = c.cmd.Wait()
		close(c.ended)
		whenEnded()
	}()
	return nil
}

// PID returns its process id, once it was started.
func (c *Command) PID() int { return c.cmd.Process.Pid }

// Ended returns the status to exit with, if the command was started and has ended:
// its own, or as in a shell, 128 and the signal that killed it.
func (c *Command) Ended() (status int, ended bool) {
	select {
	case <-c.ended:
	default:
		return 0, false
	}
	if ws, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), true
	}
	return c.cmd.ProcessState.ExitCode(), true
}

// End asks the command to end with SIGTERM, and SIGCONT if it is stopped, as
// timeout(1) does. The error says that it still runs after patience.
func (c *Command) End(patience time.Duration) error {
	if c.cmd.Process == nil {
		return nil
	}
	for _, s := range []os.Signal{unix.SIGTERM, unix.SIGCONT} {
		_ = c.cmd.Process.Signal(s) // it may have ended
	}
	select {
	case <-c.ended:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%s (process %d) still runs: it did not end within %v of SIGTERM", c.cmd.Args[0], c.cmd.Process.Pid, patience)
	}
}
