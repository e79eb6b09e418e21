// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/pprof/profile"
	"golang.org/x/sys/unix"
)

// What copenclose leaks --stack says of where descriptors were made, beside programs that
// know it.

// sitesOf are the places that rows of a process have.
func sitesOf(rows []event, pid int) (sites []event) {
	for _, row := range rows {
		list, _ := row["sites"].([]any)
		for _, site := range list {
			if row.number("pid") == pid {
				sites = append(sites, site.(map[string]any))
			}
		}
	}
	return sites
}

// functionsOf are the functions of a place, the outermost first; those that begin with
// one of these, if there are any.
func functionsOf(site event, beginnings ...string) (names []string) {
	for _, f := range site["frames"].([]any) {
		name := event(f.(map[string]any)).text("function")
		if len(beginnings) == 0 || slices.ContainsFunc(beginnings, func(s string) bool { return strings.HasPrefix(name, s) }) {
			names = append(names, name)
		}
	}
	slices.Reverse(names)
	return names
}

// Functions whose frames are of every kind call each other, through the C library and
// signals, too: each stack is whole, and is one of those that the program has.
func TestStacks(t *testing.T) {
	look := startLooking(t, "leaks", "--stack", "-n", "trigger", "-i", "300ms", "-d", "10m")
	var program *exec.Cmd
	h := startHolder(t, func(cmd *exec.Cmd) { program = cmd }, "chains", "50")
	t.Cleanup(func() { _ = program.Process.Kill() })
	chains := make(map[string]bool)
	for _, s := range h.lines {
		chains[s.text("_chain")] = true
	}
	waitUntilOpen(t, h.pid, 900)
	rows := look.end()
	found := make(map[string]bool)
	open := 0
	for _, site := range sitesOf(rows, h.pid) {
		chain := strings.Join(functionsOf(site, "chain_", "make_", "handle", "compare"), " ")
		frames := functionsOf(site)
		if !chains[chain] || site["complete"] != true || frames[0] != "_start" || !slices.Contains(frames, "main") {
			t.Errorf("%q is not what the program did: %v", chain, site)
		}
		if at := site.text("at"); !strings.HasPrefix(at, "make_") && at != "open" && at != "dup" && at != "socket" && !strings.Contains(at, "open") {
			t.Errorf("at %s: %v", at, site)
		}
		found[chain] = true
		open += site.number("open")
	}
	if len(found) != len(chains) || open < 100 {
		t.Errorf("%d of %d places, %d descriptors: %v", len(found), len(chains), open, rows)
	}
}

// waitUntilOpen returns when a process has n descriptors.
func waitUntilOpen(t *testing.T, pid, n int) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		entries, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) >= n {
			return
		}
	}
}

// leakInGo opens a file, and forgets it.
//
//go:noinline
func leakInGo(t *testing.T, to *[]*os.File) {
	f, err := os.OpenFile(os.DevNull, os.O_RDONLY, 0) // which is not inlined
	if err != nil {
		t.Fatal(err)
	}
	*to = append(*to, f)
}

// Of a program in Go, which is not linked with what debuggers need, there are lines, too.
func TestStacksOfGo(t *testing.T) {
	look := startLooking(t, "leaks", "--stack", "-p", strconv.Itoa(os.Getpid()), "-i", "200ms", "-d", "10m")
	var files []*os.File
	t.Cleanup(func() {
		for _, f := range files {
			f.Close()
		}
	})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 200 {
		<-tick.C
		leakInGo(t, &files)
	}
	rows := look.end()
	var sites []event
	for _, site := range sitesOf(rows, os.Getpid()) {
		if strings.HasSuffix(site.text("at"), "test.leakInGo") {
			sites = append(sites, site)
		}
	}
	if len(sites) == 0 {
		t.Fatalf("leakInGo is not among %v", rows)
	}
	for _, site := range sites {
		for _, f := range site["frames"].([]any) {
			f := event(f.(map[string]any))
			if strings.HasSuffix(f.text("function"), "leakInGo") && (!strings.HasSuffix(f.text("file"), "stacks_test.go") || f.number("line") == 0) {
				t.Errorf("no line of leakInGo: %v", f)
			}
		}
		if site["complete"] != true {
			t.Errorf("not whole: %v", site)
		}
	}
}

// Flame graphs have the same places.
func TestFlames(t *testing.T) {
	keepOwn(t)
	program := startHolder(t, nil, "leaks", "dup", "10")
	t.Cleanup(func() { _ = unix.Kill(program.pid, unix.SIGKILL) })
	flames := func(format string) []byte {
		t.Helper()
		out, err := exec.Command(copenclose, "leaks", "-o", format, "-p", strconv.Itoa(program.pid), "-i", "300ms", "-d", "2s").Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if text := string(flames("folded")); !strings.HasPrefix(text, "trigger ("+strconv.Itoa(program.pid)+");_start;") ||
		!strings.Contains(text, ";leak_dup;dup;dup ") || strings.Count(text, "\n") != 1 {
		t.Errorf("%q", text)
	}
	p, err := profile.Parse(bytes.NewReader(flames("pprof")))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.CheckValid(); err != nil || len(p.Sample) != 1 || p.Sample[0].Value[0] < 10 || p.Sample[0].Location[1].Line[0].Function.Name != "leak_dup" {
		t.Errorf("%v: %s", err, p)
	}
}

// In a container names come from its own files.
func TestStacksInContainer(t *testing.T) {
	e := docker(t)
	e.image(t, "busybox")
	e.run(t, e.busybox(t, []string{"--name", "ct-stacks"}, "/trigger", "leaks", "dup", "10")...)
	lines, _ := leaks(t, "-c", "ct-stacks", "-d", "3s", "-i", "300ms", "--stack")
	var found []string
	for _, row := range lines {
		list, _ := row["sites"].([]any)
		for _, site := range list {
			found = append(found, event(site.(map[string]any)).text("at"))
		}
	}
	if !slices.Equal(found, []string{"leak_dup"}) {
		t.Errorf("found %q in %v", found, lines)
	}
}
