// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// counting measures what counts in the kernel: what summary and top take of a core while
// calls are made as fast as possible, how steadily the screen is drawn, and a table of
// many containers and programs.
func counting(s settings) error {
	table := newTable(os.Stdout, s, "tool", "load", "calls\nper second", "CPU of the tool,\n% of a core", "resident\nMiB")
	for _, l := range []load{{name: "nothing", threads: 1}, {name: "1 thread", threads: 1}, {name: "2 threads", threads: 2}} {
		for _, flags := range [][]string{{"summary"}, {"summary", "--latency"}, {"top", "-b", "-d", "1s"}} {
			row, err := shareOfCore(s, l, flags)
			if err != nil {
				return fmt.Errorf("%s beside %s: %w", strings.Join(flags, " "), l.name, err)
			}
			if err := table.Append(append([]string{"copenclose " + strings.Join(flags, " "), l.name}, row...)); err != nil {
				return err
			}
		}
	}
	if err := table.Render(); err != nil {
		return err
	}
	if err := measureScreen(s); err != nil {
		return err
	}
	return measureCrowd(s)
}

// countingTime is how long each of these runs.
const countingTime = 10 * time.Second

func shareOfCore(s settings, l load, flags []string) (row []string, err error) {
	g, err := startGenerator(s, l)
	if err != nil {
		return nil, err
	}
	defer g.stop()
	t, err := startReady(s, nil, false, append(flags, "-q", "--no-runtime")...)
	if err != nil {
		return nil, err
	}
	defer t.removeOutput()
	defer t.stop()
	t.settle()
	cpu, began, made := t.cpu(), time.Now(), 0
	if l.name == "nothing" {
		time.Sleep(countingTime)
	}
	for time.Since(began) < countingTime {
		n, _, err := g.order("pairs", 200_000)
		if err != nil {
			return nil, err
		}
		made += 2 * n
	}
	took := time.Since(began)
	cpu = t.cpu() - cpu
	resident, _ := t.memory()
	return []string{whole(float64(made) / took.Seconds()), fmt.Sprintf("%.2f", 100*float64(cpu)/float64(took)), mib(resident)}, nil
}

// measureScreen has top draw in a terminal of script(1), and notes when it writes. A
// frame is what is written after a pause.
func measureScreen(s settings) error {
	const interval, pause = time.Second, 300 * time.Millisecond
	g, err := startGenerator(s, load{threads: 2})
	if err != nil {
		return err
	}
	defer g.stop()
	binary, err := filepath.Abs(s.copenclose)
	if err != nil {
		return err
	}
	cmd := exec.Command("script", "-qfc", "stty cols 120 rows 40; exec "+binary+" top -q -d 1s", "/dev/null")
	cmd.Env = append(os.Environ(), "TERM=xterm", "LC_ALL=C.UTF-8")
	keys, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	first, frames, ended := time.Duration(0), []time.Duration(nil), make(chan struct{})
	var drawn bytes.Buffer
	go func() {
		defer close(ended)
		last := time.Time{}
		for buffer := make([]byte, 1<<16); ; {
			n, err := out.Read(buffer)
			if err != nil {
				return
			}
			now := time.Now()
			if first == 0 {
				drawn.Write(buffer[:n])
				if bytes.Contains(drawn.Bytes(), []byte("OPEN/s")) {
					first, last = now.Sub(began), now
				}
				continue
			}
			if now.Sub(last) > pause {
				frames = append(frames, now.Sub(last))
				last = now
			}
		}
	}()
	cpu, made := int64(0), 0
	for time.Since(began) < 30*time.Second {
		n, _, err := g.order("pairs", 200_000)
		if err != nil {
			return err
		}
		if made += 2 * n; cpu == 0 {
			cpu = screenCPU()
		}
	}
	cpu = screenCPU() - cpu
	took := time.Since(began)
	if _, err := io.WriteString(keys, "q"); err != nil {
		return err
	}
	<-ended
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("top in a terminal: %w", err)
	}
	if len(frames) == 0 {
		return errors.New("top drew nothing")
	}
	most, sum := time.Duration(0), time.Duration(0)
	for _, f := range frames {
		most, sum = max(most, f), sum+f
	}
	fmt.Printf("\ncopenclose top in a terminal, %s calls a second on 2 CPUs: drawn %s after its start, %d times later, every %.2f intervals, %.2f at most; CPU %.2f %% of a core\n",
		whole(float64(made)/took.Seconds()), first.Round(time.Millisecond), len(frames), float64(sum)/float64(len(frames))/float64(interval), float64(most)/float64(interval), 100*float64(cpu)/float64(took))
	return nil
}

// screenCPU is how long the process that draws had a CPU, in ns.
func screenCPU() int64 {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		if words, err := os.ReadFile(file); err != nil || !bytes.HasPrefix(words, []byte("copenclose\x00__screen\x00")) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		return (&tool{cmd: &exec.Cmd{Process: &os.Process{Pid: pid}}}).cpu()
	}
	return 0
}

// Of the crowd, each container runs each program, which opens a file and closes it.
const (
	crowdContainers = 10_000
	crowdPrograms   = 20
	crowdUser       = 64123
)

func measureCrowd(s settings) error {
	tree, err := unifiedTree()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "crowd-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	for i := range crowdPrograms {
		if out, err := exec.Command("cp", filepath.Join(s.dir, "generator"), filepath.Join(dir, strconv.Itoa(i))).CombinedOutput(); err != nil {
			return fmt.Errorf("copy the generator: %w: %s", err, out)
		}
	}
	t, err := startReady(s, nil, false, "summary", "-o", "json", "--by", "container,exe,syscall", "-u", strconv.Itoa(crowdUser), "-q", "--no-runtime")
	if err != nil {
		return err
	}
	defer t.removeOutput()
	began := time.Now()
	for i := range crowdContainers {
		cgroup := filepath.Join(tree, fmt.Sprintf("docker-%064x.scope", 0xc0ffee000000+i))
		if err := runCrowd(dir, cgroup); err != nil {
			t.stop()
			return err
		}
		defer func() { _ = os.Remove(cgroup) }()
	}
	took := time.Since(began)
	table := t.totalsMemory()
	t.settle()
	before, _ := t.memory()
	began = time.Now()
	_ = t.cmd.Process.Signal(unix.SIGINT)
	peak := before
	for ended := false; !ended; {
		select {
		case <-t.exited:
			ended = true
		case <-time.After(5 * time.Millisecond):
			_, now := t.memory()
			peak = max(peak, now)
		}
	}
	text, err := os.ReadFile(t.output.Name())
	if err != nil {
		return err
	}
	var got struct {
		Account struct{ Counted, Filtered, Other, Lost int }
		Rows    []struct{ Calls int }
		Rest    struct{ Rows, Calls int }
	}
	if err := json.Unmarshal(text, &got); err != nil {
		return fmt.Errorf("read its report: %w: %s", err, t.stderr.String())
	}
	sum := got.Rest.Calls
	for _, row := range got.Rows {
		sum += row.Calls
	}
	fmt.Printf("\n%d containers with %d programs each, in %s: made %d calls; %d counted, %d in the rows of the report and their rest, %d other, %d lost.\n"+
		"The kernel's table took %s MiB, the tool %s MiB resident before its report and %s MiB at most for it, which took %s.\n",
		crowdContainers, crowdPrograms, took.Round(time.Second), 2*crowdContainers*crowdPrograms, got.Account.Counted, sum, got.Account.Other, got.Account.Lost,
		mib(table), mib(before), mib(peak), time.Since(began).Round(10*time.Millisecond))
	return nil
}

// runCrowd runs all programs in a new cgroup, one as the other.
func runCrowd(dir, cgroup string) error {
	if err := os.Mkdir(cgroup, 0o755); err != nil {
		return fmt.Errorf("make a cgroup: %w", err)
	}
	fd, err := os.Open(cgroup)
	if err != nil {
		return err
	}
	defer fd.Close()
	cmd := exec.Command(filepath.Join(dir, "0"), "-x", dir, "-n", strconv.Itoa(crowdPrograms))
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(fd.Fd()), Credential: &syscall.Credential{Uid: crowdUser, Gid: crowdUser}}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run a crowd: %w: %s", err, out)
	}
	return nil
}

// totalsMemory is what the kernel says that the table of totals takes, in KiB.
func (t *tool) totalsMemory() (kib float64) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", t.cmd.Process.Pid))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		if !bytes.Contains(text, []byte("map_type:\t5\n")) { // BPF_MAP_TYPE_PERCPU_HASH
			continue
		}
		for line := range strings.Lines(string(text)) {
			if value, found := strings.CutPrefix(line, "memlock:"); found {
				n, _ := strconv.ParseFloat(strings.TrimSpace(value), 64)
				kib = max(kib, n/1024)
			}
		}
	}
	return kib
}
