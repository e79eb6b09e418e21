// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// needsURing skips a test where the kernel has no io_uring, or it is switched off.
func needsURing(t *testing.T) {
	t.Helper()
	if disabled, err := os.ReadFile("/proc/sys/kernel/io_uring_disabled"); err == nil && strings.TrimSpace(string(disabled)) == "2" {
		t.Skip("io_uring is switched off: kernel.io_uring_disabled is 2")
	}
	// With nothing to set up it fails otherwise where it exists.
	if _, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 0, 0, 0); errno == unix.ENOSYS {
		t.Skip("this kernel has no io_uring")
	}
}

// What requests of io_uring do is shown as what calls do, whoever does it. The programs
// for it are the same whatever the way to attach.
func TestRequests(t *testing.T) {
	needsURing(t)
	autoAttach(t, func(t *testing.T, options ...string) {
		performAll(t, []subject{{"requests", true, 19}}, options)
	})
}
