// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
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
	eachAttach(t, func(t *testing.T, options ...string) {
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
