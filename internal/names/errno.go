// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package names has the names of the kernel's numbers: errors, flags, kinds of
// sockets and files. What has no name keeps its number.
package names

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// restarts are results that only a tracer sees: a signal came, and the kernel makes
// the call again or returns EINTR. include/linux/errno.h.
var restarts = map[unix.Errno]string{
	512: "ERESTARTSYS",
	513: "ERESTARTNOINTR",
	514: "ERESTARTNOHAND",
	516: "ERESTART_RESTARTBLOCK",
}

// errors has the name of each errno.
var errors = func() (names [4096]string) {
	for errno := range names {
		if names[errno] = unix.ErrnoName(unix.Errno(errno)); names[errno] == "" {
			names[errno] = "E" + strconv.Itoa(errno)
		}
	}
	names[unix.EOPNOTSUPP] = "EOPNOTSUPP" // as the kernel and strace call it
	for errno, name := range restarts {
		names[errno] = name
	}
	return names
}()

// Error returns the name of the errno that a call returned, "" if it succeeded.
func Error(ret int32) string {
	if ret >= 0 || ret <= -int32(len(errors)) {
		return ""
	}
	return errors[-ret]
}

// Errno returns the number of the errno called name, 0 if there is none.
func Errno(name string) uint32 {
	if name == "ENOTSUP" { // another name in the C library
		name = "EOPNOTSUPP"
	}
	for errno, n := range errors {
		if n == name {
			return uint32(errno)
		}
	}
	return 0
}

// Errnos returns the names of the errors that calls return to programs.
func Errnos() (names []string) {
	for errno := range errors {
		if name := unix.ErrnoName(unix.Errno(errno)); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// messages has what strerror(3) says of each errno that has a message.
var messages = func() (messages [len(errors)]string) {
	for errno := range messages {
		if unix.ErrnoName(unix.Errno(errno)) != "" {
			message := unix.Errno(errno).Error() // which begins with a small letter
			messages[errno] = strings.ToUpper(message[:1]) + message[1:]
		}
	}
	return messages
}()

// Message returns what strerror(3) says of the errno that a call returned, "" if it
// says nothing.
func Message(ret int32) string {
	if Error(ret) == "" {
		return ""
	}
	return messages[-ret]
}

// IsFailure reports whether a call failed, and not only for now or by a signal.
func IsFailure(ret int32) bool {
	switch unix.Errno(-ret) {
	case unix.EAGAIN, unix.EINPROGRESS, unix.EINTR:
		return false
	}
	return ret < 0
}
