// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// inKernel are the ids of the BPF programs and maps that the kernel holds.
func inKernel(t *testing.T) map[string]bool {
	t.Helper()
	ids := make(map[string]bool)
	for id, err := ebpf.ProgramGetNextID(0); ; id, err = ebpf.ProgramGetNextID(id) {
		if errors.Is(err, os.ErrNotExist) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		ids[fmt.Sprint("program ", id)] = true
	}
	for id, err := ebpf.MapGetNextID(0); ; id, err = ebpf.MapGetNextID(id) {
		if errors.Is(err, os.ErrNotExist) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		ids[fmt.Sprint("map ", id)] = true
	}
	return ids
}

// nothingStays fails the test unless what the kernel holds becomes what it held before.
// It frees programs and maps some time after their last user is gone.
func nothingStays(t *testing.T, before map[string]bool) {
	t.Helper()
	var more []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		now := inKernel(t)
		maps.DeleteFunc(now, func(id string, _ bool) bool { return before[id] })
		if more = slices.Sorted(maps.Keys(now)); len(more) == 0 {
			return
		}
	}
	t.Errorf("the kernel still holds %v", more)
}

// However it ends, nothing of it stays in the kernel.
func TestNothingStays(t *testing.T) {
	ways, err := attachWays()
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range ways {
		for _, signal := range []unix.Signal{unix.SIGKILL, unix.SIGINT} {
			t.Run(way+" "+unix.SignalName(signal), func(t *testing.T) {
				before := inKernel(t)
				// A few programs will do, of every kind.
				r := start(t, "--attach", way, "-s", "openat,close,connect", "-I", "-o", "json", "--latency")
				if during := len(inKernel(t)); during <= len(before) {
					t.Fatalf("%d programs and maps, %d before", during, len(before))
				}
				r.signal(signal)
				<-r.exited
				nothingStays(t, before)
			})
		}
	}
}

// Starts and stops leave no program, map, mount or cgroup behind. make soak has a
// thousand of them, and looks at the kernel's memory.
func TestStartsAndStops(t *testing.T) {
	mounts := func() string {
		text, err := os.ReadFile("/proc/self/mounts")
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	before, mounted := inKernel(t), mounts()
	autoAttach(t, func(t *testing.T, options ...string) {
		for i := range many(20) {
			args := append(options, [][]string{{"-d", "1ms"}, {"-o", "json", "-d", "1ms"}, {"-I", "-C", "--count", "1", "-d", "10ms"}, {"--", "true"}}[i%4]...)
			if out, err := exec.Command(copenclose, args...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", args, err, out)
			}
		}
	})
	nothingStays(t, before)
	if now := mounts(); now != mounted {
		t.Errorf("mounts were\n%sand are\n%s", mounted, now)
	}
}

// A stopped tool loses what finds no room, and counts it; then it goes on.
func TestSuspended(t *testing.T) {
	autoAttach(t, func(t *testing.T, options ...string) {
		pairs := many(20000)
		r := start(t, append(options, "--uid", strconv.Itoa(nobodyElse), "--buffer-size", "64K")...)
		r.signal(unix.SIGSTOP)
		trigger(t, trigger64, asUser(nobodyElse), "pairs", strconv.Itoa(pairs))
		r.signal(unix.SIGCONT)
		// What comes now is for the reader, which has to catch up first.
		r.stderr.await(t, regexp.MustCompile(`copenclose: lost \d+ events`))
		p := trigger(t, trigger64, asUser(nobodyElse), "pairs", "10")
		res := r.stop()
		if res.lost == 0 || res.shown+res.lost != 2*(pairs+10) {
			t.Errorf("of %d calls: %s", 2*(pairs+10), res.summary)
		}
		if rows := res.of(p.pid, p.comm); len(rows) != 20 {
			t.Errorf("%d rows of the 20 calls afterwards", len(rows))
		}
	})
}

// The trace ends also when nobody reads what is shown. Each call is accounted for that
// was made before: it is shown, lost, or recorded but not written.
func TestEndsThoughNobodyReads(t *testing.T) {
	const pairs = 5000
	for name, c := range map[string]struct {
		options []string
		end     unix.Signal // 0 if it ends by itself, maybe before all calls are made
	}{
		"SIGINT":   {nil, unix.SIGINT},
		"duration": {[]string{"-d", "2s"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			reader, stdout, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			defer stdout.Close()
			r := startTo(t, stdout, append(c.options, "--uid", strconv.Itoa(nobodyElse))...)
			trigger(t, trigger64, asUser(nobodyElse), "pairs", strconv.Itoa(pairs))
			if c.end != 0 {
				r.signal(c.end)
			}
			select {
			case <-r.exited:
			case <-time.After(patience):
				t.Fatal("it does not end")
			}
			said := r.stderr.String()
			m := summaryLine.FindStringSubmatch(said)
			if m == nil || !strings.Contains(said, "nobody has read from stdout") || r.cmd.ProcessState.ExitCode() != 1 {
				t.Fatalf("it ended with %s\n%s", r.cmd.ProcessState, said)
			}
			var sum int
			for _, i := range []int{1, 3, 5} { // shown, lost, too late
				n, _ := strconv.Atoi(m[i])
				sum += n
			}
			missed, _ := strconv.Atoi(m[4])
			if sum == 0 || sum > 2*pairs || c.end != 0 && sum+missed < 2*pairs {
				t.Errorf("of %d calls: %s", 2*pairs, m[0])
			}
		})
	}
}

// Twenty thousand cgroups cost a start some time, and no event.
func TestManyCgroups(t *testing.T) {
	if os.Getenv("COPENCLOSE_VM") != "" {
		t.Skip("making them takes minutes inside a VM")
	}
	const n = 20000
	top := filepath.Join(cgroupMount(), "copenclose-many")
	remove := func() {
		groups, _ := filepath.Glob(top + "/*/*")
		slices.Reverse(groups)
		for _, g := range append(groups, mustGlob(top+"/*")...) {
			_ = os.Remove(g)
		}
		_ = os.Remove(top)
	}
	t.Cleanup(remove)
	for i := range n / 100 {
		for j := range 100 {
			if err := os.MkdirAll(filepath.Join(top, strconv.Itoa(i), "cgroup-of-a-long-name-"+strconv.Itoa(j)), 0o755); err != nil {
				t.Skip(err)
			}
		}
	}
	began := time.Now()
	r := start(t, "-o", "json", "-I")
	t.Logf("started after %s", time.Since(began).Round(time.Millisecond))
	p := trigger(t, trigger64, inPIDNamespace, "pairs", "1000")
	remove() // each is a record, too
	after := trigger(t, trigger64, inPIDNamespace, "pairs", "1000")
	res := r.stop()
	for _, p := range []traced{p, after} {
		rows := 0
		for _, e := range res.events {
			if e.number("pid") == p.pid && e.text("comm") == p.comm {
				rows++
			}
		}
		if rows != 2000 {
			t.Errorf("%d rows of 2000 calls; %s", rows, res.summary)
		}
	}
}

func mustGlob(pattern string) []string {
	found, _ := filepath.Glob(pattern)
	return slices.DeleteFunc(found, func(name string) bool {
		info, err := os.Stat(name)
		return err != nil || !info.IsDir()
	})
}

func cgroupMount() string {
	const mount = "/sys/fs/cgroup"
	if _, err := os.Stat(filepath.Join(mount, "cgroup.controllers")); err != nil {
		return mount + "/unified" // beside cgroup v1
	}
	return mount
}

// memoryCgroup makes a cgroup that bounds memory, and returns its cgroup.procs.
func memoryCgroup(t *testing.T, bytes int) (procs string) {
	t.Helper()
	dir, file := "/sys/fs/cgroup/memory/copenclose-memory", "memory.limit_in_bytes"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		dir, file = "/sys/fs/cgroup/copenclose-memory", "memory.max"
		_ = os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+memory"), 0o644)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("no cgroup bounds memory here: %v", err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	if err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.Itoa(bytes)), 0o644); err != nil {
		t.Skipf("no cgroup bounds memory here: %v", err)
	}
	return filepath.Join(dir, "cgroup.procs")
}

// In as much memory as doctor asks for it traces, and with less it says what is
// missing, before the kernel ends it.
func TestLittleMemory(t *testing.T) {
	way := ""
	autoAttach(t, func(_ *testing.T, options ...string) { way = strings.Join(options, " ") + " " })
	for _, c := range []struct {
		mib    int
		args   string
		traces bool
	}{
		{64, "", true},
		{96, "-o json", true},
		{16, "", false},
		{24, "-o json", false},
	} {
		t.Run(fmt.Sprintf("%d MiB %s", c.mib, c.args), func(t *testing.T) {
			procs := memoryCgroup(t, c.mib<<20)
			cmd := exec.Command("sh", "-c", "echo $$ >"+procs+" && exec "+copenclose+" -d 100ms "+way+c.args)
			out, err := cmd.CombinedOutput()
			if c.traces && err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if warns := strings.Contains(string(out), "the kernel may refuse it or end it"); warns == c.traces {
				t.Errorf("it warns: %t\n%s", warns, out)
			}
		})
	}
}

// The wall clock that is set back changes what the time of a row is, and nothing else.
func TestClockSetBack(t *testing.T) {
	onlyInVM(t)
	autoAttach(t, func(t *testing.T, options ...string) {
		shown := newLines()
		r := startTo(t, shown, append(options, "-o", "json", "--latency", "--comm", "trigger", "--uid", strconv.Itoa(nobodyElse))...)
		before := trigger(t, trigger64, asUser(nobodyElse), "pairs", "100")
		// The time of a row is that of the clock when it is written.
		shown.await(t, regexp.MustCompile(`(.*\n){200}`))
		now := time.Now()
		setClock(t, now.Add(-time.Hour))
		// The tool compares the clocks now and then.
		time.Sleep(3 * time.Second)
		after := trigger(t, trigger64, asUser(nobodyElse), "pairs", "100")
		shown.await(t, regexp.MustCompile(`(.*\n){400}`))
		setClock(t, time.Now().Add(time.Hour))
		res := r.stop()
		events := parseJSON(t, shown.String())
		if len(events) != 400 || res.lost > 0 {
			t.Fatalf("of 400 calls: %s", res.summary)
		}
		for i, e := range events {
			when, err := time.Parse(time.RFC3339Nano, e.text("time"))
			want, pid := now, before.pid
			if i >= 200 {
				want, pid = now.Add(-time.Hour), after.pid
			}
			if off := when.Sub(want).Abs(); err != nil || off > 10*time.Minute || e.number("pid") != pid || e.number("latency_ns") <= 0 {
				t.Fatalf("event %d is %s off: %v, %v", i, off, e, err)
			}
		}
	})
}

func onlyInVM(t *testing.T) {
	t.Helper()
	if os.Getenv("COPENCLOSE_VM") == "" {
		t.Skip("it would disturb this machine")
	}
}

func setClock(t *testing.T, to time.Time) {
	t.Helper()
	ts := unix.NsecToTimespec(to.UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		t.Fatal(err)
	}
}

// Calls on a CPU that goes offline and comes back are shown, or counted.
func TestCPUOfflineAndBack(t *testing.T) {
	onlyInVM(t)
	const file = "/sys/devices/system/cpu/cpu1/online"
	online := func(state string) {
		if err := os.WriteFile(file, []byte(state), 0o644); err != nil {
			t.Skipf("no CPU can go offline here: %v", err)
		}
	}
	t.Cleanup(func() { online("1") })
	for _, buffer := range []string{"ring", "perf"} {
		t.Run(buffer, func(t *testing.T) {
			way := "tracepoint"
			r := start(t, "--attach", way, "--buffer", buffer, "--uid", strconv.Itoa(nobodyElse))
			did := 0
			for _, state := range []string{"1", "0", "1"} {
				online(state)
				for range 2 {
					trigger(t, trigger64, asUser(nobodyElse), "pairs", "500")
					did += 1000
				}
			}
			res := r.stop()
			if buffer == "ring" && res.shown+res.missed < did || res.shown == 0 || res.shown+res.lost+res.missed < did || res.shown+res.lost > did {
				t.Errorf("of %d calls: %s", did, res.summary)
			}
		})
	}
}
