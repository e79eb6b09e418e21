// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// uid makes the calls that are counted; nobody else has it.
	uid = 54321
	// bufferSize is that of the tool's buffer: some 30,000 events.
	bufferSize = "8M"
	// patience is how long what must come may take on a machine that is kept busy.
	patience = 60 * time.Second
)

// subject is a running copenclose whose rows are read and counted.
type subject struct {
	cmd    *exec.Cmd
	shown  atomic.Int64
	bad    atomic.Pointer[string] // a line that is no row of ours
	gate   sync.Mutex             // holds the reader up while it is locked
	made   int                    // calls that it must account for
	exited chan struct{}

	mu     sync.Mutex
	stderr bytes.Buffer
	lost   int
}

var (
	readyLine = []byte("copenclose: tracing ")
	lostLine  = regexp.MustCompile(`^copenclose: lost (\d+) events?$`)
)

// startSubject returns when it traces.
func startSubject(tool string, args ...string) (*subject, error) {
	s := &subject{exited: make(chan struct{})}
	s.cmd = exec.Command(tool, append([]string{"-o", "json", "--latency", "-s", "openat,close", "--comm", "trigger",
		"--uid", strconv.Itoa(uid), "--buffer-size", bufferSize}, args...)...)
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	var readers sync.WaitGroup
	ready := make(chan struct{})
	readers.Go(func() { s.count(bufio.NewReaderSize(stdout, 1<<20)) })
	readers.Go(func() { s.listen(bufio.NewScanner(stderr), ready) })
	go func() {
		readers.Wait()
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	select {
	case <-ready:
		return s, nil
	case <-s.exited:
		return nil, fmt.Errorf("copenclose ended: %s\n%s", s.cmd.ProcessState, s.said())
	case <-time.After(patience):
		s.kill()
		return nil, fmt.Errorf("copenclose does not trace\n%s", s.said())
	}
}

// count counts the rows.
func (s *subject) count(stdout *bufio.Reader) {
	for {
		s.wait()
		line, err := stdout.ReadSlice('\n')
		if err != nil {
			return
		}
		if !bytes.HasPrefix(line, []byte(`{"time":"`)) || !bytes.HasSuffix(line, []byte("}\n")) ||
			!bytes.Contains(line, []byte(`,"comm":"trigger",`)) || !bytes.Contains(line, []byte(`"/dev/null"`)) {
			bad := string(line)
			s.bad.CompareAndSwap(nil, &bad)
		}
		s.shown.Add(1)
	}
}

// wait returns when nobody holds the reader up.
func (s *subject) wait() {
	s.gate.Lock()
	defer s.gate.Unlock()
}

// listen adds up the losses that are reported.
func (s *subject) listen(stderr *bufio.Scanner, ready chan struct{}) {
	for stderr.Scan() {
		line := stderr.Bytes()
		if bytes.HasPrefix(line, readyLine) {
			close(ready)
		}
		s.mu.Lock()
		if m := lostLine.FindSubmatch(line); m != nil {
			n, _ := strconv.Atoi(string(m[1]))
			s.lost += n
		} else if s.stderr.Len() < 64<<10 {
			s.stderr.Write(line)
			s.stderr.WriteByte('\n')
		}
		s.mu.Unlock()
	}
}

func (s *subject) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stderr.String()
}

// account returns how many calls it has shown, and counted as lost.
func (s *subject) account() (shown, lost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.shown.Load()), s.lost
}

// settle returns nil when every call that was made is accounted for, once.
func (s *subject) settle() error {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		shown, lost := s.account()
		switch {
		case s.bad.Load() != nil:
			return fmt.Errorf("not a row of a call that was made: %s", *s.bad.Load())
		case shown+lost == s.made:
			return nil
		case shown+lost > s.made, time.Now().After(deadline):
			return fmt.Errorf("%d calls were made, but %d shown and %d lost", s.made, shown, lost)
		}
		select {
		case <-s.exited:
			return fmt.Errorf("copenclose ended: %s", s.cmd.ProcessState)
		default:
		}
	}
}

var summaryLine = regexp.MustCompile(`(?m)^copenclose: (\d+) events? shown, \d+ filtered, (\d+) lost(?:, at most (\d+) missed)?.*$`)

// end ends it as Ctrl-C does, and compares its summary with the account.
func (s *subject) end() error {
	if err := s.cmd.Process.Signal(unix.SIGINT); err != nil {
		return err
	}
	select {
	case <-s.exited:
	case <-time.After(patience):
		return fmt.Errorf("copenclose does not end\n%s", s.said())
	}
	m := summaryLine.FindStringSubmatch(s.said())
	if m == nil {
		return fmt.Errorf("copenclose ended without a summary: %s\n%s", s.cmd.ProcessState, s.said())
	}
	shown, _ := s.account()
	summed, _ := strconv.Atoi(m[1])
	lost, _ := strconv.Atoi(m[2])
	if summed != shown || summed+lost != s.made {
		return fmt.Errorf("%d calls were made, %d rows read, but copenclose says: %s", s.made, shown, m[0])
	}
	return nil
}

func (s *subject) kill() {
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// resident returns its resident memory in KiB.
func (s *subject) resident() int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(fields[0])
	return n
}

// pairs opens and closes a file n times as the user that is counted, and returns how
// many calls that were.
func (s *soak) pairs(n int) (made int, err error) {
	return 2 * n, s.asUser(uid, "pairs", strconv.Itoa(n))
}

func (s *soak) asUser(uid uint32, args ...string) error {
	cmd := exec.Command(s.trigger, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}
