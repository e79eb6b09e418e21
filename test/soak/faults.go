// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// fault is something that goes wrong while calls are made.
type fault struct {
	name  string
	loses bool // whether the buffer runs over
	// happen returns how many calls were made that the subject must account for.
	happen func(s *soak) (made int, err error)
}

// faults are in the order in which they happen.
var faults = []fault{
	{"nothing", false, func(s *soak) (int, error) { return s.pairs(calls) }},
	{"the tool is stopped", true, toolIsStopped},
	{"nobody reads its output", true, nobodyReads},
	{"others make a flood of calls", true, others("crowd", "8", "20000")},
	{"others have closes that hang, and are killed", false, othersAreKilled},
	{"cgroups come and go", false, cgroupsComeAndGo},
	{"a runtime lies", false, runtimeLies},
	{"every CPU is taken", true, everyCPUIsTaken},
	{"signals ask for reports", false, signals},
	{"another tool is killed", false, anotherToolIsKilled},
	{"a disk is full", true, diskIsFull},
	{"the tool is killed", false, toolIsKilled},
	{"starts and stops", false, startsAndStops},
}

// How many pairs of calls a fault makes: as many as the buffer holds, or many more, so
// that it runs over when the tool takes nothing out of it.
const (
	calls = 12_000
	many  = 100_000
)

// during makes calls while do happens, at least some before it, and returns how many.
func (s *soak) during(pairs int, do func() error) (made int, err error) {
	var load sync.WaitGroup
	var loadErr error
	load.Go(func() { made, loadErr = s.pairs(pairs) })
	err = do()
	load.Wait()
	return made, errors.Join(err, loadErr)
}

func toolIsStopped(s *soak) (int, error) {
	if err := s.subject.cmd.Process.Signal(unix.SIGSTOP); err != nil {
		return 0, err
	}
	made, err := s.pairs(many)
	return made, errors.Join(err, s.subject.cmd.Process.Signal(unix.SIGCONT))
}

func nobodyReads(s *soak) (int, error) {
	s.subject.gate.Lock()
	defer s.subject.gate.Unlock()
	return s.pairs(many)
}

func others(args ...string) func(s *soak) (int, error) {
	return func(s *soak) (int, error) {
		return s.during(calls, func() error { return s.asUser(uid+1, args...) })
	}
}

func othersAreKilled(s *soak) (int, error) {
	return s.during(calls, func() error {
		hang := exec.Command(s.trigger, "hang", "200", "0")
		if err := hang.Start(); err != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond) // any moment will do
		_ = hang.Process.Kill()
		_ = hang.Wait()
		return nil
	})
}

func cgroupsComeAndGo(s *soak) (int, error) {
	return s.during(calls, func() error {
		defer removeCgroups()
		for i := range 500 {
			if err := os.MkdirAll(filepath.Join(cgroups(), "c"+strconv.Itoa(i)), 0o755); err != nil {
				return err
			}
		}
		return nil
	})
}

// runtimeLies has the tool ask for containers that there are not: their cgroups look
// like those of Docker.
func runtimeLies(s *soak) (int, error) {
	return s.during(calls, func() error {
		defer removeCgroups()
		for i := range 12 {
			if err := os.MkdirAll(filepath.Join(cgroups(), fmt.Sprintf("docker-%064x.scope", i)), 0o755); err != nil {
				return err
			}
			time.Sleep(20 * time.Millisecond) // so that they are not asked for together
		}
		return nil
	})
}

func everyCPUIsTaken(s *soak) (int, error) {
	var busy []*exec.Cmd
	defer func() {
		for _, cmd := range busy {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}()
	for range 8 {
		cmd := exec.Command("sh", "-c", "while :; do :; done")
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		busy = append(busy, cmd)
	}
	return s.pairs(calls)
}

func signals(s *soak) (int, error) {
	return s.during(calls, func() error {
		for range 200 {
			if err := s.subject.cmd.Process.Signal(unix.SIGUSR1); err != nil {
				return err
			}
			time.Sleep(time.Millisecond)
		}
		return nil
	})
}

func anotherToolIsKilled(s *soak) (int, error) {
	return s.during(calls, func() error {
		other, err := startSubject(s.tool)
		if err != nil {
			return err
		}
		other.kill()
		return nil
	})
}

// diskIsFull has another tool write to a file system with too little room: what it says
// it has shown is what is there.
func diskIsFull(s *soak) (made int, err error) {
	disk := filepath.Join(s.dir, "disk")
	if err := os.MkdirAll(disk, 0o755); err != nil {
		return 0, err
	}
	if err := unix.Mount("soak", disk, "tmpfs", 0, "size=1m"); err != nil {
		return 0, fmt.Errorf("mount a small file system: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Unmount(disk, unix.MNT_DETACH)) }()
	file, err := os.Create(filepath.Join(disk, "rows"))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	var stderr bytes.Buffer
	other := exec.Command(s.tool, "-o", "json", "--comm", "trigger", "--uid", strconv.Itoa(uid), "-d", "30s")
	other.Stdout, other.Stderr = file, &stderr
	if err := other.Start(); err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	go func() {
		_ = other.Wait()
		close(ended)
	}()
	for running := true; running; {
		n, err := s.pairs(5_000)
		if err != nil {
			return 0, err
		}
		made += n
		select {
		case <-ended:
			running = false
		case <-time.After(50 * time.Millisecond):
		}
	}
	rows, err := os.ReadFile(file.Name())
	if err != nil {
		return 0, err
	}
	m := summaryLine.FindStringSubmatch(stderr.String())
	if m == nil || !strings.Contains(stderr.String(), "no space left") {
		return 0, fmt.Errorf("it does not say that the disk is full:\n%s", stderr.String())
	}
	if whole := bytes.Count(rows, []byte("\n")); m[1] != strconv.Itoa(whole) {
		return 0, fmt.Errorf("%d rows are there, but copenclose says: %s", whole, m[0])
	}
	return made, nil
}

// toolIsKilled ends the subject and starts another one.
func toolIsKilled(s *soak) (int, error) {
	s.subject.kill()
	return 0, s.start()
}

// starts is for one round; the memory of the kernel is looked at over all of them.
const starts = 20

func startsAndStops(s *soak) (int, error) {
	before, err := inKernel()
	if err != nil {
		return 0, err
	}
	for i := range starts {
		args := [][]string{{"-d", "1ms"}, {"-o", "json", "-d", "1ms"}, {"-I", "-C", "-d", "1ms"}, {"--", "true"}}[i%4]
		if out, err := exec.Command(s.tool, args...).CombinedOutput(); err != nil {
			return 0, fmt.Errorf("%v: %w\n%s", args, err, out)
		}
	}
	if err := nothingStays(before); err != nil {
		return 0, err
	}
	kib, err := kernelMemory()
	s.kernel = append(s.kernel, kib)
	return 0, err
}
