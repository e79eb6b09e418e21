// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// errSignal is the cause of the end that a signal asked for.
var errSignal = errors.New("a signal")

// untilSignal returns a context that is canceled, with errSignal, by the signals that
// ask for an end: Ctrl-\ too, for which Go would print its stacks. A second one ends
// the process, should the first one wait for a reader of stdout that does not read;
// the kernel then removes what is attached.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	// A closed pipe comes back as EPIPE from write instead.
	signal.Ignore(unix.SIGPIPE)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
			cancel(errSignal)
		case <-done:
			return
		}
		select {
		case s := <-signals:
			os.Exit(128 + int(s.(unix.Signal)))
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}

// onUSR1 has run call do for each SIGUSR1, also for one that came before, on a
// goroutine of its own. After stop has returned, do is not called.
func onUSR1() (run func(do func()), stop func()) {
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, unix.SIGUSR1)
	var running sync.WaitGroup
	run = func(do func()) {
		running.Go(func() {
			for {
				select {
				case <-signals:
					do()
				case <-done:
					return
				}
			}
		})
	}
	return run, func() {
		signal.Stop(signals)
		close(done)
		running.Wait()
	}
}
