// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package namespace runs functions in the namespaces of other processes.
package namespace

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Run joins the namespace at path, like /proc/1/ns/uts, and calls f there. kind is
// unix.CLONE_NEWUTS or another of that kind; see setns(2) for what it takes. If the
// namespace cannot be joined, Run returns why and f is not called.
//
// All of that happens on a thread that ends with it.
func Run(path string, kind int, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread does not end, and /proc/self is about it. While
			// it is locked here, the next goroutine gets another thread.
			defer runtime.UnlockOSThread()
			done <- Run(path, kind, f)
			return
		}
		if err := join(path, kind); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

func join(path string, kind int) error {
	ns, err := os.Open(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	return os.NewSyscallError("setns", unix.Setns(int(ns.Fd()), kind))
}
