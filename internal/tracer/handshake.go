// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

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

// handshake makes each traced call once with the token, which cannot succeed. The
// programs learn who the tool is, begin to record what others do, and leave out what
// this process does. A program that does not answer would record nothing. Syscalls that
// only 32-bit programs have are left out.
func (o *object) handshake() error {
	asked := false
	for i, s := range bpf.Syscalls {
		number, callable := s.Number(bpf.ABI64)
		if !callable || o.syscalls&(1<<i) == 0 {
			continue
		}
		// Where the kernel does not know the number, the program for the
		// tracepoint answers all the same.
		_, _, _ = unix.RawSyscall(uintptr(number), uintptr(o.token), 0, 0)
		asked = true
		if atomic.LoadUint64(&o.shared.Answered)&(1<<i) == 0 {
			return fmt.Errorf("the program for %s is attached, but did not run", s.Name)
		}
	}
	if !asked {
		return errors.New("only 32-bit programs make these calls here: trace another syscall with them, like openat")
	}
	return nil
}
