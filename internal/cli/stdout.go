// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// standstill is how long, once the trace is to end, stdout may take nothing before
// what is left for it is given up. A reader that is slow but reads gets everything.
const standstill = time.Second

// patientOutput writes to a pipe or a terminal as long as somebody reads there, also
// slowly. A write that blocks could not be ended: Go restarts it after each signal. So
// the file is opened once more, for our eyes alone not to block.
type patientOutput struct {
	file *os.File
	ends atomic.Bool
}

// patiently returns what writes to stdout, and what is to be called when the trace is
// to end.
func patiently(stdout *os.File) (out io.Writer, end func()) {
	if p := openPatiently(stdout); p != nil {
		return p, p.end
	}
	return stdout, func() {}
}

// openPatiently returns nil for what is neither, or may not be opened: a regular file
// does not make a writer wait, and a socket cannot be opened.
func openPatiently(stdout *os.File) *patientOutput {
	info, err := stdout.Stat()
	if err != nil || info.Mode()&(os.ModeNamedPipe|os.ModeCharDevice) == 0 {
		return nil
	}
	file, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", stdout.Fd()), os.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil
	}
	if file.SetWriteDeadline(time.Time{}) != nil {
		file.Close() // like /dev/null, which cannot be waited for
		return nil
	}
	return &patientOutput{file: file}
}

var errStandstill = fmt.Errorf("nobody has read from stdout for %v", standstill)

// Write returns errStandstill when the trace is to end and nobody reads.
func (p *patientOutput) Write(text []byte) (n int, err error) {
	for {
		if p.ends.Load() {
			_ = p.file.SetWriteDeadline(time.Now().Add(standstill))
		}
		written, err := p.file.Write(text[n:])
		n += written
		switch {
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return n, err
		case written == 0:
			return n, errStandstill
		}
	}
}

// end has writes give up from now on, also one that is waiting.
func (p *patientOutput) end() {
	p.ends.Store(true)
	_ = p.file.SetWriteDeadline(time.Now().Add(standstill))
}
