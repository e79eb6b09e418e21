// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

/*
#cgo LDFLAGS: -pthread
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>

static void *take_name(void *name)
{
	prctl(PR_SET_NAME, name);
	return NULL;
}

static int end_thread(const char *name)
{
	pthread_t thread;
	int err = pthread_create(&thread, NULL, take_name, (void *)name);

	return err ? err : pthread_join(thread, NULL);
}
*/
import "C"

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

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
	for i := range random {
		random[i] = max(random[i], 1) // it can be the name of a thread, too
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

// answersEnd ends a thread whose name is the token, and reports whether the program for
// that has ever answered.
func (o *object) answersEnd() bool {
	name := C.CString(string(binary.NativeEndian.AppendUint64(nil, o.token)))
	defer C.free(unsafe.Pointer(name))
	return C.end_thread(name) == 0 && atomic.LoadUint64(&o.shared.Answered) != 0
}

// handshake makes each traced call once with the token, which cannot succeed but where
// any number will do, as for an eventfd. The
// programs learn who the tool is, begin to record what others do, and leave out what
// this process does. A program that does not answer would record nothing; one that can
// miss calls is asked again, because another task that is preempted in it can have made it
// miss this one. Syscalls that only 32-bit programs have are left out. Where only what
// happens to processes is traced, a thread ends instead.
func (o *object) handshake() error {
	asked, event := false, false
	for i, s := range bpf.Syscalls {
		number, callable := s.Number(bpf.ABI64)
		event = event || s.Event && o.syscalls&(1<<i) != 0
		if !callable || o.syscalls&(1<<i) == 0 {
			continue
		}
		asked = true
		if !askUntil(func() bool { return o.answers(uintptr(number), s, 1<<i) }) {
			return notRun(s.Name)
		}
	}
	if !asked && event {
		if !askUntil(o.answersEnd) {
			return notRun("the end of processes")
		}
		return nil
	}
	if !asked {
		return errors.New("only 32-bit programs make these calls here: trace another syscall with them, like openat")
	}
	return nil
}

// askUntil asks until there is an answer, and reports whether there was one.
func askUntil(answers func() bool) bool {
	for range asksMax {
		if answers() {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

func notRun(what string) error {
	return fmt.Errorf("the program for %s is attached, but did not run", what)
}
