// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package inherited says with which of the standard files the program was started. Go's
// runtime opens /dev/null in place of one that is closed (runtime/fds_unix.go), so that
// what is written there would pass for shown.
package inherited

// extern int inherited_stdout;
import "C"

// Stdout reports whether there was a standard output.
func Stdout() bool { return C.inherited_stdout != 0 }
