// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
)

// chooseToken makes up the first argument of the handshake: whatever the call, it is a
// bad fd or a bad pointer.
func (o *object) chooseToken() error {
	var random [4]byte
	if _, err := rand.Read(random[:]); err != nil {
		return fmt.Errorf("choose a token: %w", err)
	}
	o.token = 1<<63 | uint64(binary.NativeEndian.Uint32(random[:]))<<32 | 0xffffffff
	return nil
}

// asksMax is how often a program is asked, a millisecond apart, until it counts as one
// that does not run. A task that is preempted in it goes on long before.
const asksMax = 100

// answers makes a call with the token, and reports whether the program for it, which has
// this bit, has ever answered. Where the kernel does not know the number, the program for
// the tracepoint answers all the same.
func (o *object) answers(number uintptr, s bpf.Syscall, bit uint64) bool {
	result, _, err := unix.RawSyscall(number, uintptr(o.token), 0, 0)
	if err == 0 && s.Makes == bpf.MakesOne {
		unix.Close(int(result))
	}
	return atomic.LoadUint64(&o.shared.Answered)&bit != 0
}

// handshake makes each traced call once with the token, which cannot succeed but where
// any number will do, as for an eventfd. The
// programs learn who the tool is, begin to record what others do, and leave out what
// this process does. A program that does not answer would record nothing; one that can
// miss calls is asked again, because another task that is preempted in it can have made it
// miss this one. Syscalls that only 32-bit programs have are left out.
func (o *object) handshake() error {
	asked, event := false, false
	for i, s := range bpf.Syscalls {
		number, callable := s.Number(bpf.ABI64)
		event = event || s.Event && o.syscalls&(1<<i) != 0
		if !callable || o.syscalls&(1<<i) == 0 {
			continue
		}
		asked = true
		for asks := 1; !o.answers(uintptr(number), s, 1<<i); asks++ {
			if asks == asksMax {
				return fmt.Errorf("the program for %s is attached, but did not run", s.Name)
			}
			time.Sleep(time.Millisecond)
		}
	}
	if !asked && event {
		// No call can tell who we are. In a PID namespace this number is another one.
		atomic.StoreUint32(&o.shared.Tool, uint32(os.Getpid()))
		return nil
	}
	if !asked {
		return errors.New("only 32-bit programs make these calls here: trace another syscall with them, like openat")
	}
	return nil
}
