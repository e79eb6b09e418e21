// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package inherited

import (
	"errors"
	"os"
	"os/exec"
	"testing"
)

// asks says that this process exits with 0 if it has an output, else with 3.
const asks = "INHERITED_ASKS"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(asks) == "":
		os.Exit(m.Run())
	case !Stdout():
		os.Exit(3)
	}
}

func TestStdout(t *testing.T) {
	for redirection, want := range map[string]int{">/dev/null": 0, "1<>/dev/null": 0, ">&-": 3} {
		c := exec.Command("sh", "-c", `"$0" `+redirection, os.Args[0])
		c.Env = append(os.Environ(), asks+"=1")
		err := c.Run()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if got := c.ProcessState.ExitCode(); got != want {
			t.Errorf("%s: %d, want %d", redirection, got, want)
		}
	}
}
