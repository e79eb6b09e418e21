// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// subject is what is measured: a row of the table.
type subject struct {
	name  string
	calls int // of a pair that it is to show: both, 1 for opens only, or none
	slow  int // by how much its runs are shorter, 1 for not at all
	// needle is what lines about the generator have, but no others.
	needle string
	start  func(s settings, g *generator, pinned bool) (*tool, error)
	// bursts has the tool stopped while the loop runs, which then is so short
	// that what it does fits in the buffer.
	bursts bool
}

// perCall is among how many calls of a pair the added time is divided.
func (s *subject) perCall(l load) float64 {
	if s.calls == 1 {
		return 1
	}
	return float64(l.calls())
}

// Names that the targets refer to.
const (
	emptyExit  = "empty program on sys_exit"
	emptyBoth  = "empty programs on sys_enter, sys_exit"
	ours       = "copenclose"
	ringAlone  = "copenclose, ring alone (stopped)"
	notCalled  = "copenclose -s creat"
	oursC      = "copenclose -C"
	oursWide   = "copenclose -o wide"
	oursJSON   = "copenclose -o json"
	hostLeft   = "copenclose -I, host works"
	othersPID  = "copenclose -p OTHER"
	widePID    = "copenclose -o wide -p OTHER"
	oursPerf   = "copenclose --buffer perf"
	toDevNull  = "copenclose >/dev/null"
	counted    = "copenclose summary"
	countedLat = "copenclose summary --latency"
	opensnoop  = "opensnoop"
	ourComm    = "generator"
	itsPathEnd = "/dev/null"
)

func subjects(s settings) (chosen []subject) {
	other := strconv.Itoa(os.Getpid())
	all := []subject{
		programs(emptyExit, "sys_exit"),
		programs(emptyBoth, "sys_enter", "sys_exit"),
		product(ours, 2),
		product(oursC, 2, "-C"),
		product(oursWide, 2, "-o", "wide"),
		product(oursJSON, 2, "-o", "json"),
		product(oursPerf, 2, "--buffer", "perf"),
		product(toDevNull, 0),
		product(counted, 0, "summary"),
		product(countedLat, 0, "summary", "--latency"),
		product(ringAlone, 2),
		product(notCalled, 0, "-s", "creat"),
		product(hostLeft, 0, "-I"),
		product(othersPID, 0, "-p", other),
		product(widePID, 0, "-o", "wide", "-p", other),
		peer(opensnoop, 1, 5, ourComm, "opensnoop"),
		peer("bpftrace", 2, 5, ourComm, "bpftrace", "-e", `
			tracepoint:syscalls:sys_enter_openat { printf("%d %s openat %s\n", pid, comm, str(args->filename)) }
			tracepoint:syscalls:sys_enter_close { printf("%d %s close %d\n", pid, comm, args->fd) }`),
		peer("perf trace", 2, 20, ourComm, "perf", "trace", "-a", "-e", "openat,close", "-o", "OUTPUT"),
		{name: "strace", calls: 2, slow: 50, start: startStrace},
		peer("sysdig", 2, 5, ourComm, "sysdig", "evt.type in (openat,close) and evt.dir=<"),
	}
	for _, one := range all {
		switch one.name {
		case toDevNull:
			one.start = startToDevNull
		case ringAlone:
			one.bursts = true
		}
		if s.only.MatchString(one.name) {
			chosen = append(chosen, one)
		}
	}
	return chosen
}

// product is copenclose with flags.
func product(name string, calls int, flags ...string) subject {
	return subject{name: name, calls: calls, slow: 1, needle: ourComm,
		start: func(s settings, _ *generator, pinned bool) (*tool, error) {
			return startReady(s, nil, pinned, flags...)
		}}
}

func startToDevNull(s settings, _ *generator, pinned bool) (*tool, error) {
	devNull, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	defer devNull.Close()
	return startReady(s, devNull, pinned)
}

// peer is another tool; it is attached when it shows what the generator does.
func peer(name string, calls, slow int, needle string, argv ...string) subject {
	return subject{name: name, calls: calls, slow: slow, needle: needle,
		start: func(s settings, g *generator, pinned bool) (*tool, error) {
			return startPeer(s, g, pinned, argv...)
		}}
}

func startPeer(s settings, g *generator, pinned bool, argv ...string) (*tool, error) {
	if _, err := exec.LookPath(argv[0]); err != nil {
		return nil, err
	}
	if err := g.shine(); err != nil {
		return nil, err
	}
	began := monotonic()
	t, err := startTool(s, nil, pinned, append([]string(nil), argv...)...)
	if err != nil {
		return nil, err
	}
	if err := t.awaitBeacon(g, began); err != nil {
		t.removeOutput()
		return nil, err
	}
	return t, nil
}

// startStrace is apart because strace follows processes, not the machine.
func startStrace(s settings, g *generator, pinned bool) (*tool, error) {
	return startPeer(s, g, pinned, "strace", "-f", "-p", strconv.Itoa(g.cmd.Process.Pid),
		"-e", "trace=openat,close", "-o", "OUTPUT")
}

// programs are those of empty.bpf.c.
func programs(name string, tracepoints ...string) subject {
	return subject{name: name, slow: 1, start: func(s settings, _ *generator, _ bool) (*tool, error) {
		spec, err := ebpf.LoadCollectionSpec(filepath.Join(s.dir, "empty.bpf.o"))
		if err != nil {
			return nil, err
		}
		loaded, err := ebpf.NewCollection(spec)
		if err != nil {
			return nil, fmt.Errorf("load empty programs: %w", err)
		}
		t := &tool{detach: loaded.Close}
		for _, tracepoint := range tracepoints {
			l, err := link.AttachTracing(link.TracingOptions{Program: loaded.Programs[tracepoint]})
			if err != nil {
				t.detach()
				return nil, fmt.Errorf("attach an empty program to %s: %w", tracepoint, err)
			}
			before := t.detach
			t.detach = func() {
				l.Close()
				before()
			}
		}
		return t, nil
	}}
}
