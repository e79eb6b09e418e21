// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// poll is what Run sleeps on: the buffer's file descriptors, one of our own to
// be woken by, and the pipe that is written to.
type poll struct {
	epoll   int
	waker   int
	watched int
}

func newPoll() (*poll, error) {
	p := &poll{watched: -1}
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("create an epoll: %w", err)
	}
	if p.waker, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(p.epoll)
		return nil, fmt.Errorf("create an eventfd: %w", err)
	}
	return p, p.add(p.waker, unix.EPOLLIN)
}

func (p *poll) add(fd int, events uint32) error {
	event := unix.EpollEvent{Events: events, Fd: int32(fd)}
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("add to the epoll: %w", err)
	}
	return nil
}

// addBuffer adds a buffer's file descriptor, edge-triggered: only a wakeup that
// the kernel's side rings ends wait, not that records are there, which is the
// normal state of a buffer whose reader lets them gather.
func (p *poll) addBuffer(fd int) error { return p.add(fd, unix.EPOLLIN|unix.EPOLLET) }

// watchClosed lets wait tell that the other end of fd is gone. Regular files
// cannot be polled, and need not be.
func (p *poll) watchClosed(fd int) {
	if p.add(fd, unix.EPOLLET) == nil {
		p.watched = fd
	}
}

func (p *poll) wake() {
	_, _ = unix.Write(p.waker, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// forever is a timeout that never passes.
const forever = time.Duration(math.MaxInt64)

// wait returns after timeout, or earlier for a wakeup. closed reports that the
// watched file's other end is gone.
func (p *poll) wait(timeout time.Duration) (closed bool, err error) {
	var events [8]unix.EpollEvent
	ms := -1
	if timeout != forever {
		ms = int(timeout.Milliseconds())
	}
	n, err := unix.EpollWait(p.epoll, events[:], ms)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return false, fmt.Errorf("wait for events: %w", err)
	}
	for i := 0; i < n; i++ {
		if int(events[i].Fd) == p.watched && events[i].Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			closed = true
		}
	}
	return closed, nil
}

func (p *poll) close() {
	unix.Close(p.waker)
	unix.Close(p.epoll)
}
