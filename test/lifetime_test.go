// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// What --lifetime says of closes, beside the log of the program that made them.

func TestLifetime(t *testing.T) {
	everyWay(t, func(t *testing.T, options ...string) { lifetimes(t, trigger64, options...) })
	autoAttach(t, func(t *testing.T, options ...string) { lifetimes(t, trigger32, options...) })
}

func lifetimes(t *testing.T, program string, options ...string) {
	r := start(t, append(options, "-o", "json", "--lifetime", "-s", "close", "-n", "trigger*", "--no-runtime")...)
	var said bytes.Buffer
	cmd := exec.Command(program, "lives", "7", "2000")
	cmd.Stdout, cmd.Stderr = &said, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	res := r.stop()
	if res.missesCalls() {
		t.Skip("calls were missed")
	}
	rows := make(map[int][]event) // by process: the rows of different CPUs come in any order
	for _, e := range res.events {
		if e["syscall"] == "close" {
			rows[e.number("pid")] = append(rows[e.number("pid")], e)
		}
	}
	compareLifetimes(t, parseLines(t, said.String()), rows)
}

func compareLifetimes(t *testing.T, said []event, rows map[int][]event) {
	t.Helper()
	compared, inherited, last := 0, 0, 0
	for _, s := range said {
		pid := s.number("pid")
		if len(rows[pid]) == 0 {
			t.Fatalf("no row of process %d for %v", pid, s)
		}
		row := rows[pid][0]
		rows[pid] = rows[pid][1:]
		by, _ := row["opened_by"].(map[string]any)
		text := fmt.Sprintf("%d fd %d %s", event(by).number("pid"), event(by).number("fd"), event(by).text("call"))
		if row.number("fd") != s.number("fd") || row["made_by"] != s["made_by"] || row["last"] != s["last"] || text != s["_by"] {
			t.Fatalf("opened by %s\nrow:  %v\nsaid: %v", text, row, s)
		}
		for key, bounds := range map[string][2]string{"lifetime_ns": {"_lived_from", "_lived_to"}, "file_lifetime_ns": {"_file_from", "_file_to"}} {
			if ns, _ := row[key].(float64); ns < s[bounds[0]].(float64) || ns > s[bounds[1]].(float64) {
				t.Errorf("%s is %.0f\nrow:  %v\nsaid: %v", key, ns, row, s)
			}
		}
		compared++
		if s["made_by"] == "inherited" {
			inherited++
		}
		if s["last"] == true {
			last++
		}
	}
	if compared < 500 || inherited < 20 || last < 100 || last == compared {
		t.Errorf("only %d closes, %d of what was inherited, %d last ones", compared, inherited, last)
	}
	t.Logf("%d closes, %d of what was inherited, %d last ones: none wrong", compared, inherited, last)
}
