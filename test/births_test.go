// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// What copenclose fds -d says of when and how descriptors were made, beside the log of a
// program that makes them by every call that can, in 16 threads and in children.

func TestBirths(t *testing.T) {
	for seed, c := range []struct {
		name, program, attach string
		rounds                int
		more                  []string
	}{
		{"64-bit", trigger64, "auto", 20000, nil}, {"32-bit", trigger32, "auto", 20000, nil},
		{"through a perf event", trigger64, "perf", 20000, nil}, {"32-bit through a perf event", trigger32, "perf", 20000, nil},
		// So that births are forgotten meanwhile.
		{"with little room", trigger64, "auto", 100000, []string{"--table-size", "16000"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.attach == "perf" && kernelBefore(t, 6, 1) {
				t.Skip("not on this kernel")
			}
			rounds := c.rounds // of each of the 16 threads
			if os.Getenv("COPENCLOSE_VM") != "" {
				rounds /= 10
			}
			look := startLooking(t, "fds", append([]string{"-l", "-n", "trigger*", "-d", "10m", "--attach", c.attach}, c.more...)...)
			h := startHolderOf(t, c.program, func(cmd *exec.Cmd) {
				cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			}, "births", t.TempDir(), strconv.Itoa(seed), strconv.Itoa(rounds))
			compareBirths(t, h.lines, look.end())
			if said := look.cmd.Stderr.(*lines).String(); strings.Contains(said, "no room") {
				t.Error(said)
			}
		})
	}
}

type slotKey struct{ pid, fd int }

// compareBirths compares each descriptor that the program holds with its row.
//
// Ages are exact, but the tool says none of its own times: the descriptor whose call took
// least is where the two clocks meet.
func compareBirths(t *testing.T, said, rows []event) {
	t.Helper()
	byKey := make(map[slotKey]event)
	pids := make(map[int]bool)
	for _, s := range said {
		pids[s.number("pid")] = true
	}
	for _, row := range rows {
		if pids[row.number("pid")] && row.number("fd") > 2 {
			byKey[slotKey{row.number("pid"), row.number("fd")}] = row
		}
	}
	if len(said) < 1000 || len(byKey) != len(said) {
		t.Fatalf("%d descriptors are held, %d were found", len(said), len(byKey))
	}
	age := func(row any) float64 {
		f, _ := row.(event)["age_ns"].(float64)
		return f
	}
	var meet event
	narrow := math.Inf(1)
	for _, s := range said {
		row := byKey[slotKey{s.number("pid"), s.number("fd")}]
		if took := s["_to"].(float64) - s["_from"].(float64); s["how"] != "inherited" && row["how"] == s["how"] && took < narrow {
			meet, narrow = s, took
		}
	}
	there := meet["_from"].(float64) + age(byKey[slotKey{meet.number("pid"), meet.number("fd")}])
	wrong, unknown, calls := 0, 0, make(map[string]int)
	check := func(s, row event, what string, age float64, from, to string) {
		if at := there - age; at+narrow < s[from].(float64) || at-narrow > s[to].(float64) {
			wrong++
			t.Errorf("%s at %.0f, not from %.0f to %.0f\nrow:  %v\nsaid: %v", what, at, s[from], s[to], row, s)
		}
	}
	for _, s := range said {
		row := byKey[slotKey{s.number("pid"), s.number("fd")}]
		by, _ := row["opened_by"].(map[string]any)
		if row["how"] == "unknown" || by == nil {
			unknown++
			t.Errorf("unknown: %v\nsaid: %v", row, s)
			continue
		}
		calls[s.text("how")]++
		text := fmt.Sprintf("%d fd %d %s", event(by).number("pid"), event(by).number("fd"), event(by).text("call"))
		if row["how"] != s["how"] || row["age_is"] != "exact" || text != s["_by"] {
			wrong++
			t.Errorf("opened by %s\nrow:  %v\nsaid: %v", text, row, s)
			continue
		}
		check(s, row, "made", age(row), "_from", "_to")
		check(s, row, "opened", by["age_ns"].(float64), "_file_from", "_file_to")
	}
	if len(calls) < 20 {
		t.Errorf("only by %v", calls)
	}
	t.Logf("%d descriptors by %d calls, %d wrong, %d unknown, clocks within %.0f ns: %s", len(said), len(calls), wrong, unknown, narrow,
		strings.TrimPrefix(fmt.Sprint(calls), "map"))
}
