// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package command

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"testing"
)

func TestStatus(t *testing.T) {
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 128 + 15} {
		c, err := Find([]string{"sh", "-c", script}, os.Stderr)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan int)
		if err := c.Start(func(status int) { ended <- status }); err != nil {
			t.Fatal(err)
		}
		if status := <-ended; status != want {
			t.Errorf("%s ended with %d, want %d", script, status, want)
		}
	}
}

// Both its stdout and its stderr go where we say.
func TestOutput(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Find([]string{"sh", "-c", "echo out; echo err >&2"}, write)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(func(int) { write.Close() }); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(read); string(said) != "out\nerr\n" || err != nil {
		t.Errorf("it said %q, %v", said, err)
	}
}

func TestNotFound(t *testing.T) {
	if _, err := Find([]string{"copenclose-no-such-command"}, os.Stderr); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("found: %v", err)
	}
}
