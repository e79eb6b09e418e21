// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package command

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// start starts a shell's script. What it writes can be read from output.
func start(t *testing.T, script string) (c *Command, output *bufio.Reader, ended chan struct{}) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { read.Close() })
	c, err = Find([]string{"sh", "-c", script}, write)
	if err != nil {
		t.Fatal(err)
	}
	ended = make(chan struct{})
	if err := c.Start(func() { close(ended) }); err != nil {
		t.Fatal(err)
	}
	write.Close()
	return c, bufio.NewReader(read), ended
}

func TestStatus(t *testing.T) {
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 128 + 15} {
		c, _, ended := start(t, script)
		<-ended
		if status, ok := c.Ended(); status != want || !ok {
			t.Errorf("%s ended with %d, %t, want %d", script, status, ok, want)
		}
	}
}

// Both its stdout and its stderr go where we say.
func TestOutput(t *testing.T) {
	_, output, _ := start(t, "echo out; echo err >&2")
	if said, err := io.ReadAll(output); string(said) != "out\nerr\n" || err != nil {
		t.Errorf("it said %q, %v", said, err)
	}
}

// A command that is stopped ends, too; one that ignores SIGTERM is named.
func TestEnd(t *testing.T) {
	c, output, ended := start(t, "trap 'echo bye; exit 3' TERM; echo ready; kill -STOP $$; while :; do sleep 0.01; done")
	if line, err := output.ReadString('\n'); line != "ready\n" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	if _, ok := c.Ended(); ok {
		t.Error("it has ended before it was asked to")
	}
	if err := c.End(time.Minute); err != nil {
		t.Error(err)
	}
	<-ended
	if status, ok := c.Ended(); status != 3 || !ok {
		t.Errorf("ended with %d, %t", status, ok)
	}

	c, output, ended = start(t, "trap '' TERM; echo ready; while :; do sleep 0.01; done")
	c.cmd.Args[0] = "reader"
	if line, err := output.ReadString('\n'); line != "ready\n" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	err := c.End(time.Millisecond)
	if err == nil || !strings.HasPrefix(err.Error(), "reader (process ") || !strings.HasSuffix(err.Error(), ") still runs: it did not end within 1ms of SIGTERM") {
		t.Error(err)
	}
	_ = c.cmd.Process.Kill()
	<-ended
}

func TestEndBeforeStart(t *testing.T) {
	c, err := Find([]string{"true"}, os.Stderr)
	if err != nil || c.End(0) != nil {
		t.Errorf("%v, %v", err, c.End(0))
	}
}

// What cannot be run is found out before, with the statuses of env(1).
func TestFind(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for word, want := range map[string]struct {
		status int
		says   string
	}{
		"copenclose-no-such-command": {NotFound, "executable file not found in $PATH"},
		filepath.Join(dir, "none"):   {NotFound, "no such file or directory"},
		plain:                        {CannotRun, "permission denied"},
		dir:                          {CannotRun, "is a directory"},
	} {
		_, err := Find([]string{word}, os.Stderr)
		if err == nil || err.Error() != "run "+word+": "+want.says || StatusOf(err) != want.status {
			t.Errorf("%s: %v, %d", word, err, StatusOf(err))
		}
	}
	// That its interpreter is missing is found out when it is run.
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/no/such/shell\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	c, err := Find([]string{script}, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(nil); err == nil || StatusOf(err) != NotFound {
		t.Errorf("%v, %d", err, StatusOf(err))
	}
}
