// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tool is what runs beside the generator: a process, or programs in the kernel
// alone.
type tool struct {
	cmd     *exec.Cmd // nil for programs alone
	output  *os.File
	stderr  bytes.Buffer
	exited  chan struct{}
	startup time.Duration
	detach  func() // for programs alone
}

// patience is how long anything may take that a tool must do at some time.
const patience = 60 * time.Second

// startTool starts a process whose output goes to a file, or to stdout if that
// is not nil. Where the output is a file that argv names, it is OUTPUT there.
func startTool(s settings, stdout *os.File, pinned bool, argv ...string) (*tool, error) {
	output, err := os.CreateTemp(s.dir, "output-*")
	if err != nil {
		return nil, fmt.Errorf("create a file for the output: %w", err)
	}
	t := &tool{output: output, exited: make(chan struct{})}
	for i := range argv {
		if argv[i] == "OUTPUT" {
			argv[i] = output.Name()
		}
	}
	if pinned {
		argv = append([]string{"taskset", "-c", strconv.Itoa(toolCPU)}, argv...)
	}
	t.cmd = exec.Command(argv[0], argv[1:]...)
	t.cmd.Stdout = output
	if stdout != nil {
		t.cmd.Stdout = stdout
	}
	t.cmd.Stderr = &t.stderr
	if err := t.cmd.Start(); err != nil {
		t.removeOutput()
		return nil, err
	}
	go func() {
		_ = t.cmd.Wait()
		close(t.exited)
	}()
	return t, nil
}

func (t *tool) removeOutput() {
	t.output.Close()
	os.Remove(t.output.Name())
}

// failure is the error of a tool that has ended when it should run: the last
// line it said.
func (t *tool) failure() error {
	said := strings.TrimSpace(t.stderr.String())
	return fmt.Errorf("%s: %s", t.cmd.ProcessState, said[strings.LastIndexByte(said, '\n')+1:])
}

// A line of a tool that is not of its output, or not of the loop: the beacon.
// Tools that do not read paths show the time as dirfd.
var beaconLine = regexp.MustCompile(`/copenclose-bench/(\d+)|generator/\d+ openat\(dfd: (\d+)`)

// awaitBeacon waits until the tool shows what the generator did, and notes when
// it did it.
func (t *tool) awaitBeacon(g *generator, started int64) error {
	late := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		// At the start: little was written as long as none is there.
		head, err := os.ReadFile(t.output.Name())
		if err != nil {
			return fmt.Errorf("read what the tool wrote: %w", err)
		}
		if m := beaconLine.FindSubmatch(head); m != nil {
			at, err := strconv.ParseInt(string(append(m[1], m[2]...)), 10, 64)
			t.startup = time.Duration(g.start + at*1000 - started)
			return err
		}
		select {
		case <-t.exited:
			return t.failure()
		case <-late:
			t.stop()
			return fmt.Errorf("it showed nothing for %s: %w", patience, t.failure())
		case <-tick.C:
		}
	}
}

// startReady starts copenclose, and returns when it says that it is attached.
func startReady(s settings, stdout *os.File, pinned bool, args ...string) (*tool, error) {
	dir, err := os.MkdirTemp("", "bench-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	// To open a FIFO waits for the other end to be opened.
	ready := filepath.Join(dir, "ready")
	if err := unix.Mkfifo(ready, 0o600); err != nil {
		return nil, fmt.Errorf("make a FIFO: %w", err)
	}
	began := monotonic()
	t, err := startTool(s, stdout, pinned, append([]string{s.copenclose, "--ready-file", ready}, args...)...)
	if err != nil {
		return nil, err
	}
	go func() {
		<-t.exited
		// Should it have ended before, nobody waits for ever.
		if f, err := os.OpenFile(ready, os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
			f.Close()
		}
	}()
	f, err := os.Open(ready)
	t.startup = time.Duration(monotonic() - began)
	if err == nil {
		f.Close()
	}
	select {
	case <-t.exited:
		defer t.removeOutput()
		return nil, t.failure()
	default:
	}
	return t, err
}

// monotonic is CLOCK_MONOTONIC in ns.
func monotonic() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano()
}

// cpu is how long the tool had a CPU, in ns: clock_getcpuclockid(3).
func (t *tool) cpu() int64 {
	if t.cmd == nil {
		return 0
	}
	const scheduled = 2 // CPUCLOCK_SCHED, include/linux/posix-timers.h
	var ts unix.Timespec
	_ = unix.ClockGettime(int32(^t.cmd.Process.Pid<<3|scheduled), &ts)
	return ts.Nano()
}

// settle waits until the tool has done what there was to do: it has nothing to
// tell us so, but it does not work any more.
func (t *tool) settle() {
	const look = 100 * time.Millisecond
	if t.cmd == nil {
		return
	}
	for began := time.Now(); time.Since(began) < patience; {
		before := t.cpu()
		time.Sleep(look)
		if time.Duration(t.cpu()-before) < look/50 {
			return
		}
	}
}

// memory is what the tool has resident, and how much it ever had, in KiB.
func (t *tool) memory() (resident, peak float64) {
	if t.cmd == nil {
		return 0, 0
	}
	return t.status("VmRSS"), t.status("VmHWM")
}

// status is a number in KiB of /proc/PID/status.
func (t *tool) status(key string) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", t.cmd.Process.Pid))
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, key+":"); found {
			n, _ := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return n
		}
	}
	return 0
}

// pause stops the process, and returns when it has stopped.
func (t *tool) pause() error {
	if err := t.cmd.Process.Signal(unix.SIGSTOP); err != nil {
		return err
	}
	return unix.Waitid(unix.P_PID, t.cmd.Process.Pid, nil, unix.WSTOPPED, nil)
}

func (t *tool) resume() error { return t.cmd.Process.Signal(unix.SIGCONT) }

// stop ends it as Ctrl-C does, with what it has left written.
func (t *tool) stop() {
	if t.cmd == nil {
		t.detach()
		return
	}
	_ = t.cmd.Process.Signal(unix.SIGINT)
	select {
	case <-t.exited:
	case <-time.After(patience):
		_ = t.cmd.Process.Kill()
		<-t.exited
	}
}

// count counts the lines of the tool's output: those of the loop, and all but
// the beacon's. Where every line is of the generator, its name is not needed.
func (t *tool) count(name string) (ours, all int, err error) {
	f, err := os.Open(t.output.Name())
	if err != nil {
		return 0, 0, fmt.Errorf("read what the tool wrote: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	needle, beacon, dirfd := []byte(name), []byte("/copenclose-bench/"), []byte("openat(dfd: ")
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if errors.Is(err, io.EOF) {
			return ours, all, nil
		}
		if err != nil {
			return 0, 0, fmt.Errorf("read what the tool wrote: %w", err)
		}
		switch {
		case !bytes.Contains(line, needle):
			all++
		case bytes.Contains(line, beacon) || bytes.Contains(line, dirfd) && !bytes.Contains(line, []byte("dfd: CWD")):
		default:
			all++
			ours++
		}
	}
}

var summaryLine = regexp.MustCompile(`(\d+) events? shown, (\d+) filtered, (\d+) lost`)

// lost is what copenclose says in its summary that it lost, -1 for other tools.
func (t *tool) lost() int {
	m := summaryLine.FindSubmatch(t.stderr.Bytes())
	if m == nil {
		return -1
	}
	n, _ := strconv.Atoi(string(m[3]))
	return n
}
