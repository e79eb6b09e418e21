// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
)

// Every call that the trigger programs make is shown, in order, under its right
// name, and nothing else of them: their reads are no closes.
func TestCalls(t *testing.T) {
	everyWay(t, func(t *testing.T, options ...string) {
		r := start(t, options...)
		programs := []traced{trigger(t, trigger64, nil, "calls"), trigger(t, trigger32, nil, "calls")}
		if runtime.GOARCH == "amd64" {
			programs = append(programs, trigger(t, trigger64, nil, "int80"), trigger(t, trigger32, nil, "int80"))
		}
		res := r.stop()
		for _, p := range programs {
			seen := syscalls(res.of(p.pid, p.comm))
			if len(p.did) == 0 || !accountsFor(seen, p.did, res.missed) {
				t.Errorf("%s made  %v\nbut shown are %v", p.comm, p.did, seen)
			}
		}
	})
}

// The two tables look exactly as they are documented.
func TestTables(t *testing.T) {
	for _, c := range []struct{ option, header, row string }{
		{"--ignore-host-ns", "TIME                 HOSTNAME         PID    UID    GID    SYSCALL  COMM",
			`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ box              %-6d 100000 100000 close    trigger$`},
		{"-IC", "TIME                 CGROUPID PID    UID    GID    SYSCALL  COMM",
			`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [ \d]{7}\d %-6d 100000 100000 close    trigger$`},
	} {
		t.Run(c.option, func(t *testing.T) {
			before := time.Now().Truncate(time.Second)
			r := start(t, c.option)
			p := trigger(t, trigger64, func(cmd *exec.Cmd) {
				inPIDNamespace(cmd)
				cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 100000, Gid: 100000}
				cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN} // to set the hostname
			}, "hostname", "box", "calls")
			res := r.stop()
			after := time.Now()
			if res.header != c.header {
				t.Errorf("header\n%q, want\n%q", res.header, c.header)
			}
			want := regexp.MustCompile("(?m)" + fmt.Sprintf(c.row, p.pid))
			if !want.MatchString(res.stdout) {
				t.Errorf("no row like %s in\n%s", want, res.stdout)
			}
			for _, row := range res.of(p.pid, p.comm) {
				if row.time.Before(before) || row.time.After(after) {
					t.Errorf("row of %s, but it happened between %s and %s", row.time, before, after)
				}
			}
		})
	}
}

// A hostname is shown to its last byte, and cannot reach the terminal.
func TestHostname(t *testing.T) {
	for name, shown := range map[string]string{
		strings.Repeat("h", 64):        strings.Repeat("h", 64),
		"a b\x1b[31m\xff\u202e\\":      `a\x20b\x1b[31m\xff\u202e\\`,
		"1970-01-01T00:00:00Z\nforged": `1970-01-01T00:00:00Z\nforged`,
	} {
		t.Run(shown, func(t *testing.T) {
			r := start(t, "-I")
			p := trigger(t, trigger64, inPIDNamespace, "hostname", name, "calls")
			res := r.stop()
			rows := res.of(p.pid, p.comm)
			if !accountsFor(syscalls(rows), p.did, res.missed) || len(rows) == 0 || rows[0].container != shown {
				t.Errorf("rows %v, want %d of %s; %s", rows, len(p.did), shown, res.summary)
			}
		})
	}
}

// A process in a cgroup of its own is shown with the inode number of the
// cgroup's directory.
func TestCgroupID(t *testing.T) {
	dir, err := os.MkdirTemp(cgroup2Mount(t), "copenclose-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	r := start(t, "-C")
	p := trigger(t, trigger64, inCgroup(t, dir), "calls")
	res := r.stop()
	rows := res.of(p.pid, p.comm)
	id := fmt.Sprint(inode(t, dir))
	if !accountsFor(syscalls(rows), p.did, res.missed) || len(rows) == 0 || rows[0].container != id {
		t.Errorf("rows %v, want %d of cgroup %s; %s", rows, len(p.did), id, res.summary)
	}
}

// inCgroup starts a program in a cgroup; CLONE_INTO_CGROUP came with 5.7.
func inCgroup(t *testing.T, dir string) func(*exec.Cmd) {
	cgroup, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cgroup.Close() })
	return func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(cgroup.Fd())}
	}
}

func inode(t *testing.T, path string) uint64 {
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

func cgroup2Mount(t *testing.T) string {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var fs unix.Statfs_t
		if unix.Statfs(dir, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
			return dir
		}
	}
	t.Fatal("cgroup v2 is not mounted")
	return ""
}

// Beside a host that opens files all the time, -I shows the container alone.
func TestIgnoreHost(t *testing.T) {
	onceInVM(everyWay)(t, func(t *testing.T, options ...string) {
		busyHost(t)
		r := start(t, append(options, "-I")...)
		p := trigger(t, trigger64, inPIDNamespace, "pairs", "1000")
		res := r.stop()
		checkCounts(t, res, len(res.of(p.pid, p.comm)), 2000)
		if res.filtered == 0 {
			t.Error("nothing of the host was filtered, although it was busy")
		}
		for _, row := range res.rows {
			if pidLevel(row.pid) == 1 && !inContainer(row.pid) {
				t.Fatalf("a row of the host: %+v", row)
			}
		}
	})
}

// pidLevel is in how many PID namespaces a process has a number, 0 if it is gone.
func pidLevel(pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "\nNSpid:")
	line, _, _ := strings.Cut(rest, "\n")
	return len(strings.Fields(line))
}

// inContainer reports whether a process is in a container's cgroup, or gone: other
// containers may run beside the test.
func inContainer(pid int) bool {
	cgroups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	return err != nil || regexp.MustCompile(`(?m)^0::.*[0-9a-f]{64}`).Match(cgroups)
}

// A user that nobody else is: what it does can be counted to the last call,
// whatever goes on beside it.
const nobodyElse = 54321

// 100,000 opens and closes are counted to the last one.
func TestCountsToTheLast(t *testing.T) {
	everyWay(t, func(t *testing.T, options ...string) {
		pairs := many(100_000)
		r := start(t, append(options, "--uid", fmt.Sprint(nobodyElse), "--buffer-size", "32M")...)
		p := trigger(t, trigger64, asUser(nobodyElse), "pairs", fmt.Sprint(pairs))
		res := r.stop()
		checkCounts(t, res, len(res.of(p.pid, p.comm)), 2*pairs)
	})
}

// checkCounts checks that what is shown of a program, and what is lost, is all
// that it did. Missed calls may have been its, or not.
func checkCounts(t *testing.T, res result, seen, did int) {
	t.Helper()
	if seen == 0 || seen+res.lost > did || seen+res.lost+res.missed < did {
		t.Errorf("%d rows of %d calls; %s", seen, did, res.summary)
	}
}

// accountsFor reports whether seen is all that somebody did, in order, but for calls
// that the kernel missed.
func accountsFor(seen, did []string, missed int) bool {
	next := 0
	for _, call := range did {
		if next < len(seen) && seen[next] == call {
			next++
		}
	}
	return next == len(seen) && len(did)-len(seen) <= missed
}

// What a stopped reader cannot take is lost, warned of, and counted exactly.
func TestStoppedReader(t *testing.T) {
	everyWay(t, func(t *testing.T, options ...string) {
		pairs := many(50_000)
		r := start(t, append(options, "--uid", fmt.Sprint(nobodyElse), "--buffer-size", "1M")...)
		r.signal(unix.SIGSTOP)
		p := trigger(t, trigger64, asUser(nobodyElse), "pairs", fmt.Sprint(pairs))
		r.signal(unix.SIGCONT)
		r.stderr.await(t, regexp.MustCompile(`(?m)^copenclose: lost \d+ events$`))
		res := r.stop()
		checkCounts(t, res, len(res.of(p.pid, p.comm)), 2*pairs)
		if res.lost == 0 {
			t.Errorf("nothing was lost of a buffer that was too small: %s", res.summary)
		}
	})
}

// Losses are printed while nobody reads stdout, not when it is too late.
func TestBlockedOutput(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	busyHost(t)
	r := startTo(t, write, "--buffer-size", "64K")
	write.Close()
	r.stderr.await(t, regexp.MustCompile(`lost \d+ events`))
	read.Close()
	if res := r.wait(); res.lost == 0 {
		t.Errorf("the summary has no losses: %s", res.summary)
	}
}

// One event alone is shown while the tool goes on waiting for the next.
func TestSingleEvent(t *testing.T) {
	everyWay(t, func(t *testing.T, options ...string) {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer read.Close()
		r := startTo(t, write, append(options, "--uid", fmt.Sprint(nobodyElse))...)
		write.Close()
		_ = read.SetReadDeadline(time.Now().Add(patience))
		if header, err := firstLine(read); err != nil || !strings.HasPrefix(header, "TIME") {
			t.Fatalf("header %q: %v", header, err)
		}
		trigger(t, trigger64, asUser(nobodyElse), "pairs", "1")
		if line, err := firstLine(read); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		r.stop()
	})
}

// However it ends, it ends with 0, prints what was recorded, and leaves nothing
// in the kernel.
func TestEnds(t *testing.T) {
	eachAttach(t, func(t *testing.T, options ...string) {
		for name, test := range map[string]func(t *testing.T){
			"SIGINT":  func(t *testing.T) { endBySignal(t, unix.SIGINT, options) },
			"SIGTERM": func(t *testing.T) { endBySignal(t, unix.SIGTERM, options) },
			"duration": func(t *testing.T) {
				res := start(t, append(options, "--duration", "100ms")...).wait()
				if res.unshown != 0 {
					t.Errorf("not all was shown: %s", res.summary)
				}
			},
			"count": func(t *testing.T) {
				busyHost(t)
				res := start(t, append(options, "--count", "5")...).wait()
				if len(res.rows) != 5 {
					t.Errorf("%d rows, want 5", len(res.rows))
				}
			},
			"closed pipe": func(t *testing.T) {
				read, write, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				r := startTo(t, write, append(options, "-I")...)
				write.Close()
				// Nobody makes an event that would be written and fail.
				read.Close()
				r.wait()
			},
		} {
			t.Run(name, func(t *testing.T) {
				before := ourPrograms()
				test(t)
				if left := programsLeft(before); len(left) > 0 {
					t.Errorf("programs left in the kernel: %v", left)
				}
			})
		}
	})
}

// A pipe that is closed before the header is written is a closed pipe, too.
func TestClosedBeforeTheHeader(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read.Close()
	var said strings.Builder
	cmd := exec.Command(copenclose, "--duration", "60s")
	cmd.Stdout, cmd.Stderr = write, &said
	err = cmd.Run()
	write.Close()
	if err != nil || said.Len() > 0 {
		t.Errorf("ended with %v\n%s", err, &said)
	}
}

// Of a full disk as many events are shown as lines are whole in the file.
func TestFullDisk(t *testing.T) {
	busyHost(t)
	const onSmallDisk = `mount -t tmpfs -o size=1M none "$1" && { "$0" -o wide >"$1/lines"; cat "$1/lines"; }`
	var said strings.Builder
	cmd := exec.Command("unshare", "--mount", "sh", "-c", onSmallDisk, copenclose, t.TempDir())
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	m := summaryLine.FindStringSubmatch(said.String())
	if m == nil || !strings.Contains(said.String(), "no space left on device") {
		t.Fatalf("it said\n%s", &said)
	}
	lines := strings.Count(string(out), "\n") - 1 // without the header
	if strconv.Itoa(lines) != m[1] || lines < 1000 || m[5] == "" {
		t.Errorf("%d lines are in the file, of %d bytes\n%s", lines, len(out), &said)
	}
}

func endBySignal(t *testing.T, signal syscall.Signal, options []string) {
	r := start(t, append(options, "-I")...)
	p := trigger(t, trigger64, inPIDNamespace, "pairs", "100")
	r.signal(signal)
	res := r.wait()
	checkCounts(t, res, len(res.of(p.pid, p.comm)), 200)
}

// programsLeft are the names of our programs that stay in the kernel, but for those that
// were there before, of another copenclose. The kernel frees a program some time after
// its last user is gone.
func programsLeft(before map[ebpf.ProgramID]string) (names []string) {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if names = programsSince(before); len(names) == 0 || time.Now().After(deadline) {
			return names
		}
	}
}

// programsSince are the names of our programs in the kernel that were not there before.
func programsSince(before map[ebpf.ProgramID]string) (names []string) {
	for id, name := range ourPrograms() {
		if _, was := before[id]; !was {
			names = append(names, name)
		}
	}
	return names
}

// Only what is needed is loaded: those on the way that was chosen, and with each
// those that see the end of a call that was interrupted.
func TestLoadsWhatIsNeeded(t *testing.T) {
	ways, err := attachWays()
	if err != nil {
		t.Fatal(err)
	}
	of := map[string]string{
		"fentry":     "exit_openat",
		"kprobe":     "handlers_return",
		"tracepoint": "sys_exit",
		"perf":       "perf_sys_exit",
	}
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			before := ourPrograms()
			r := start(t, "--attach", way)
			loaded := programsSince(before)
			r.stop()
			programsLeft(before)
			for other, program := range of {
				if slices.Contains(loaded, program) != (other == way) {
					t.Errorf("loaded %v for %s", loaded, way)
				}
			}
			for _, name := range ofMoreRows {
				if slices.Contains(loaded, programName(name)) {
					t.Errorf("loaded %s without --all-closes and --all-opens", name)
				}
			}
			for _, always := range []string{"signal_deliver", "sched_process_exit"} {
				if !slices.Contains(loaded, programName(always)) {
					t.Errorf("loaded %v, but not %s", loaded, always)
				}
			}
		})
	}
	for option, forks := range map[string]bool{"--color=never": false, "--program": true} {
		before := ourPrograms()
		r := start(t, option)
		loaded := programsSince(before)
		r.stop()
		programsLeft(before)
		if slices.Contains(loaded, programName(bpf.ForkProgram)) != forks {
			t.Errorf("loaded %v with %s", loaded, option)
		}
	}
}

// ofMoreRows are those of which --all-closes and --all-opens load some.
var ofMoreRows = []string{"exit_closes", "perf_exit_closes", "exec_closes", "perf_exec_closes", "fentry_exec_closes", "exec_opens", "exec_opens_listed"}

// programName is what the kernel calls a program: 15 bytes of its name.
func programName(name string) string { return name[:min(len(name), 15)] }

// ourPrograms are the names of the programs in the kernel that are called like ours.
func ourPrograms() map[ebpf.ProgramID]string {
	found := make(map[ebpf.ProgramID]string)
	ours := make(map[string]bool)
	for _, name := range append(slices.Clone(ofMoreRows), "sys_enter", "sys_exit", "perf_sys_enter", "perf_sys_exit", "handlers_enter", "handlers_return",
		"signal_deliver", "inet_sock_set_state", "sched_process_fork", "sched_process_exec", "sched_process_exit",
		"uring_submit", "uring_complete", "uring_overflow", "uring_refuse") {
		ours[programName(name)] = true
	}
	for _, s := range append(bpf.Syscalls[:], bpf.Socketcall) {
		for _, abi := range []bpf.ABI{bpf.ABI64, bpf.ABI32} {
			ours[programName(s.EntryProgram(abi))], ours[programName(s.ExitProgram(abi))] = true, true
		}
	}
	for id, err := ebpf.ProgramGetNextID(0); err == nil; id, err = ebpf.ProgramGetNextID(id) {
		program, err := ebpf.NewProgramFromID(id)
		if err != nil {
			continue // freed meanwhile
		}
		if info, err := program.Info(); err == nil && ours[programName(info.Name)] {
			found[id] = programName(info.Name)
		}
		program.Close()
	}
	return found
}
