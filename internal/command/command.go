// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package command runs the command that copenclose is given to trace.
package command

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// Command is a program that was found, but not started.
type Command struct{ cmd *exec.Cmd }

// Find looks a command up. What it writes goes to output, from both its stdout
// and its stderr: our own stdout is for events.
func Find(words []string, output *os.File) (*Command, error) {
	cmd := exec.Command(words[0], words[1:]...)
	if cmd.Err != nil {
		return nil, fmt.Errorf("run %s: %w", words[0], cmd.Err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, output, output
	return &Command{cmd}, nil
}

// Start starts it. When it has ended, ended is called with the status to exit
// with: its own, or as a shell tells it, 128 and the signal that killed it.
func (c *Command) Start(ended func(status int)) error {
	if err := c.cmd.Start(); err != nil {
		return fmt.Errorf("run %s: %w", c.cmd.Path, err)
	}
	go func() {
		_ = c.cmd.Wait()
		status := c.cmd.ProcessState.ExitCode()
		if ws, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			status = 128 + int(ws.Signal())
		}
		ended(status)
	}()
	return nil
}
