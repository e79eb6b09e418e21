// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Processes that preempt each other on one CPU are counted to the last call. The
// way that auto takes misses nothing, whatever else goes on.
func TestCountsACrowd(t *testing.T) {
	const processes = 4
	ways, err := attachWays()
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range slices.Concat([]string{"auto"}, ways) {
		t.Run(way, func(t *testing.T) {
			pairs := many(5000)
			did := 2 * pairs * processes
			r := start(t, "--attach", way, "--uid", strconv.Itoa(nobodyElse), "--buffer-size", "32M")
			p := trigger(t, trigger64, asUser(nobodyElse), "crowd", strconv.Itoa(processes), strconv.Itoa(pairs))
			res := r.stop()
			rows := 0
			for _, row := range res.rows {
				if row.comm == p.comm {
					rows++
				}
			}
			if way != "auto" {
				checkCounts(t, res, rows, did)
			} else if rows != did || res.missed > 0 || res.lost > 0 {
				t.Errorf("%d rows of %d calls; %s", rows, did, res.summary)
			}
		})
	}
}

// Whoever has closes that hang, hundreds at a time, hides nothing of what others
// do, nor the closes themselves.
func TestHangingCloses(t *testing.T) {
	const threads = 600
	onceInVM(eachAttach)(t, func(t *testing.T, options ...string) {
		for name, milliseconds := range map[string]string{"for long": "0", "again and again": "60"} {
			t.Run(name, func(t *testing.T) {
				if milliseconds != "0" && os.Getenv("COPENCLOSE_VM") != "" {
					t.Skip("closes that hang again and again take minutes inside a VM")
				}
				var err error
				var res result
				for attempt := 1; attempt <= attempts; attempt++ {
					r := start(t, append(options, "-o", "json", "--latency", "--buffer-size", "64M")...)
					h := startHanging(t, strconv.Itoa(threads), milliseconds)
					did := perform(t, trigger64, subjects[0]).did
					closes := h.end(t)
					res = r.stop()
					if closes < threads {
						t.Fatalf("only %d closes hung", closes)
					}
					if err = hidden(res, did, h.cmd.Process.Pid, closes); err == nil || res.missed == 0 {
						break
					}
				}
				if err != nil && res.missesCalls() {
					t.Skipf("%d attempts, and this way misses calls here: %v", attempts, err)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
	})
}

// hidden says what of those who did something, or of the closes of the process
// that hung, is not shown.
func hidden(res result, did []event, pid, closes int) error {
	if res.lost > 0 {
		return fmt.Errorf("events were lost: %s", res.summary)
	}
	if err := compareSaid(res.events, did); err != nil {
		return fmt.Errorf("%w\n%s", err, res.summary)
	}
	rows := 0
	for _, e := range res.events {
		if e.number("pid") == pid && e.number("tid") != pid && e.text("syscall") == "close" {
			rows++
		}
	}
	if rows < closes {
		return fmt.Errorf("%d rows of %d closes; %s", rows, closes, res.summary)
	}
	return nil
}

// hanging is a program whose closes hang.
type hanging struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Reader
}

func startHanging(t *testing.T, args ...string) hanging {
	t.Helper()
	h := hanging{cmd: exec.Command(trigger64, append([]string{"hang"}, args...)...)}
	asUser(65534)(h.cmd)
	var said strings.Builder
	h.cmd.Stderr = &said
	stdin, err := h.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.cmd.Process.Kill() })
	h.stdin, h.lines = stdin, bufio.NewReader(stdout)
	if line, err := h.lines.ReadString('\n'); line != "ready\n" {
		_ = h.cmd.Wait()
		t.Fatalf("the closes do not hang: %q, %v\n%s", line, err, &said)
	}
	return h
}

// end lets the closes come back, and returns how many there were.
func (h hanging) end(t *testing.T) (closes int) {
	t.Helper()
	h.stdin.Close()
	line, err := h.lines.ReadString('\n')
	m := regexp.MustCompile(`^closes (\d+)\n$`).FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("the end of the closes: %q, %v", line, err)
	}
	if err := h.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	closes, _ = strconv.Atoi(m[1])
	return closes
}

// While one of twenty containers floods, from more and more cgroups inside it, the others
// are shown whole, and of the flood what its rate allows. What is dropped is counted, and
// it is said of whom.
func TestRate(t *testing.T) {
	const containers, perSecond, burst = 20, 200, 300
	flooding, floodID := fakeContainer(t, "00")
	var quiet []string
	for i := 1; i < containers; i++ {
		dir, _ := fakeContainer(t, fmt.Sprintf("%02x", i))
		quiet = append(quiet, dir)
	}
	before := newCgroupIn(t, flooding, "before")
	autoAttach(t, func(t *testing.T, options ...string) {
		pairs, summaryFile := many(5000), filepath.Join(t.TempDir(), "summary")
		options = append(options, "--uid", strconv.Itoa(nobodyElse), "--rate", fmt.Sprintf("%d/%d", perSecond, burst))
		r := start(t, append(slices.Clone(options), "--summary-json", summaryFile)...)
		began := time.Now()
		var flood []*exec.Cmd
		inside := before
		for range 8 {
			cmd := exec.Command(trigger64, "pairs", strconv.Itoa(pairs))
			inCgroupAsUser(t, inside)(cmd)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			flood = append(flood, cmd)
			inside = newCgroupIn(t, flooding, "inside")
		}
		var others []traced
		for _, dir := range quiet {
			others = append(others, trigger(t, trigger64, inCgroupAsUser(t, dir), "pairs", strconv.Itoa(burst/4)))
		}
		for _, cmd := range flood {
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		}
		took := time.Since(began)
		res := r.stop()
		sum := readSummary(t, summaryFile)
		missed := int(sum.Missed)

		for _, p := range others {
			if rows, did := len(res.of(p.pid, p.comm)), 2*(burst/4); rows > did || rows+missed < did {
				t.Errorf("%d of %d calls of a quiet container are shown; %s", rows, did, res.summary)
			}
		}
		rows, did := 0, 0
		for _, cmd := range flood {
			rows += len(res.of(cmd.Process.Pid, "trigger"))
			did += 2 * pairs
		}
		if most := burst + int(took.Seconds()*perSecond) + perSecond; rows+missed < burst || rows > most {
			t.Errorf("%d calls of the flood are shown, want %d to %d; %s", rows, burst, most, res.summary)
		}
		of := sum.of(inode(t, flooding))
		if all := rows + int(of.Limited+of.Lost); of.ID != floodID || all > did || all+missed < did {
			t.Errorf("%d shown and %+v of %d calls; %s", rows, of, did, res.summary)
		}
		if len(sum.ByContainer) != 1 || sum.Limited != of.Limited || sum.Lost != of.Lost {
			t.Errorf("%d lost, %d over the rate in all, by container %+v", sum.Lost, sum.Limited, sum.ByContainer)
		}

		r = start(t, append(slices.Clone(options), "--loss-by", "container", "-o", "json")...)
		trigger(t, trigger64, inCgroupAsUser(t, inside), "pairs", strconv.Itoa(pairs))
		r.stop()
		r.stderr.await(t, regexp.MustCompile(`(?m)^copenclose: of `+floodID[:12]+`: 0 lost, [1-9]\d* over the rate$`))
	})
}

// What is lost is said of whom, to the last call, also from cgroups inside of it.
func TestLossByContainer(t *testing.T) {
	flooding, floodID := fakeContainer(t, "f")
	inside := newCgroupIn(t, flooding, "inside")
	autoAttach(t, func(t *testing.T, options ...string) {
		pairs, summaryFile := many(50_000), filepath.Join(t.TempDir(), "summary")
		r := start(t, append(options, "--uid", strconv.Itoa(nobodyElse), "--buffer-size", "1M", "--summary-json", summaryFile)...)
		r.signal(unix.SIGSTOP)
		p := trigger(t, trigger64, inCgroupAsUser(t, inside), "pairs", strconv.Itoa(pairs))
		r.signal(unix.SIGCONT)
		res := r.stop()
		sum := readSummary(t, summaryFile)
		of := sum.of(inode(t, flooding))
		if of.ID != floodID || of.Lost == 0 || of.Lost != sum.Lost {
			t.Errorf("%d lost in all, of the flood %+v; %s", sum.Lost, of, res.summary)
		}
		checkCounts(t, res, len(res.of(p.pid, p.comm)), 2*pairs)
	})
}

// Services of the host have a rate each, and cgroups that a user makes below count as one.
func TestRateOfHost(t *testing.T) {
	const perSecond, burst = 200, 300
	slice := newCgroupIn(t, cgroup2Mount(t), "slice")
	flooding, quiet := newCgroupIn(t, slice, "flooding"), newCgroupIn(t, slice, "quiet")
	inside := []string{flooding, newCgroupIn(t, flooding, "inside"), newCgroupIn(t, flooding, "inside")}
	autoAttach(t, func(t *testing.T, options ...string) {
		pairs, summaryFile := many(5000), filepath.Join(t.TempDir(), "summary")
		r := start(t, append(options, "--uid", strconv.Itoa(nobodyElse), "--rate", fmt.Sprintf("%d/%d", perSecond, burst), "--summary-json", summaryFile)...)
		began := time.Now()
		rows := 0
		var flood []traced
		for _, dir := range inside {
			flood = append(flood, trigger(t, trigger64, inCgroupAsUser(t, dir), "pairs", strconv.Itoa(pairs)))
		}
		took := time.Since(began)
		little := trigger(t, trigger64, inCgroupAsUser(t, quiet), "pairs", strconv.Itoa(burst/4))
		res := r.stop()
		sum := readSummary(t, summaryFile)
		for _, p := range flood {
			rows += len(res.of(p.pid, p.comm))
		}
		if most := burst + int(took.Seconds()*perSecond) + perSecond; rows+int(sum.Missed) < burst || rows > most {
			t.Errorf("%d calls of the flood are shown, want %d to %d; %s", rows, burst, most, res.summary)
		}
		if rows, did := len(res.of(little.pid, little.comm)), 2*(burst/4); rows > did || rows+int(sum.Missed) < did {
			t.Errorf("%d of the quiet service's %d calls are shown; %s", rows, did, res.summary)
		}
		if of := sum.of(inode(t, flooding)); of.Container != "host" || of.Limited != sum.Limited {
			t.Errorf("%d over the rate in all, by container %+v", sum.Limited, sum.ByContainer)
		}
	})
}

// summaryObject is what --summary-json writes.
type summaryObject struct {
	Lost        uint64    `json:"lost"`
	Limited     uint64    `json:"over_rate"`
	Missed      uint64    `json:"missed_at_most"`
	ByContainer []dropped `json:"by_container"`
}

type dropped struct {
	Container string `json:"container"`
	ID        string `json:"id"`
	CgroupID  uint64 `json:"cgroup_id"`
	Lost      uint64 `json:"lost"`
	Limited   uint64 `json:"over_rate"`
}

func readSummary(t *testing.T, file string) (s summaryObject) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// of is what was dropped of whose own cgroup this is.
func (s summaryObject) of(cgroup uint64) dropped {
	for _, d := range s.ByContainer {
		if d.CgroupID == cgroup {
			return d
		}
	}
	return dropped{}
}

// newCgroupIn makes a cgroup for the test.
func newCgroupIn(t *testing.T, parent, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp(parent, "copenclose-test-"+name+"-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	return dir
}

// inCgroupAsUser has a program run in a cgroup, as somebody who does nothing else.
func inCgroupAsUser(t *testing.T, dir string) func(*exec.Cmd) {
	in := inCgroup(t, dir)
	return func(cmd *exec.Cmd) {
		in(cmd)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobodyElse, Gid: nobodyElse}
	}
}
