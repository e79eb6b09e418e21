// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/internal/counting"
	"github.com/copenclose/copenclose/internal/top"
)

// monitorOf returns the wire to a monitor that serves until the test ends.
func monitorOf(t *testing.T) (m *monitor, wire *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	m = &monitor{tool: &tool{stdout: null, stderr: null}, wire: os.NewFile(uintptr(fds[0]), "screen")}
	wire = os.NewFile(uintptr(fds[1]), "monitor")
	served := make(chan struct{})
	go func() {
		m.serve()
		close(served)
	}()
	t.Cleanup(func() {
		_ = unix.Shutdown(int(wire.Fd()), unix.SHUT_RDWR) // also ends reads that wait
		<-served
		wire.Close()
		null.Close()
	})
	return m, wire
}

// The monitor does what the screen's keys need, and nothing else.
func TestMonitor(t *testing.T) {
	t.Chdir(t.TempDir())
	_, wire := monitorOf(t)
	m := serveMonitored(wire, func() {})
	name, err := m.save([]byte("{}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(name); err != nil || string(text) != "{}\n" || strings.Contains(name, "/") {
		t.Errorf("%s: %q, %v", name, text, err)
	}
	if _, err := m.save(make([]byte, savedMax+1)); err == nil {
		t.Error("no end to what is saved")
	}
	for _, option := range []string{"ready-file", "output", "color", "buffer-size", "verbose", "failed=x --ready-file"} {
		if err := m.showRows(map[string]string{option: "/tmp/x"}); err == nil || !strings.Contains(err.Error(), "cannot be narrowed") {
			t.Errorf("--%s: %v", option, err)
		}
	}
	if files, err := os.ReadDir("."); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
}

// What is no order ends the screen, not the monitor.
func TestMonitorHearsNonsense(t *testing.T) {
	for _, said := range []string{"", "x", "[]", `{"Rows":1}`, "\x00"} {
		_, wire := monitorOf(t)
		if _, err := wire.WriteString(said); err != nil {
			t.Fatal(err)
		}
		if err := unix.Shutdown(int(wire.Fd()), unix.SHUT_WR); err != nil {
			t.Fatal(err)
		}
		if n, err := wire.Read(make([]byte, 1)); n != 0 {
			t.Errorf("%q: %d bytes, %v", said, n, err)
		}
	}
}

// A table is written over nothing, whoever put that there.
func TestSaveWritesOverNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	now := time.Now()
	name, err := save([]byte("a"), now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := save([]byte("b"), now); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%s: %v", name, err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("elsewhere", name); err != nil {
		t.Fatal(err)
	}
	if _, err := save([]byte("c"), now); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%s: %v", name, err)
	}
}

func TestNarrow(t *testing.T) {
	open := counting.Open
	for _, c := range []struct {
		of    top.Selection
		want  string
		wider bool
	}{
		{top.Selection{}, "", false},
		{top.Selection{Origin: counting.Host, Failed: true}, "container=!* failed=", false},
		{top.Selection{Origin: counting.Unknown}, "none", true},
		{top.Selection{Origin: counting.Rest}, "none", true},
		{top.Selection{Program: &counting.Program{Path: "/usr/bin/containerd-shim-runc-v2"}, Operation: &open, Error: 2}, "comm=containerd-shim errno=ENOENT syscall=open", true},
		{top.Selection{Program: &counting.Program{Path: "/"}}, "", true},
		{top.Selection{Program: &counting.Program{Path: "[inode 7 on 8:1]"}}, "", true},
		{top.Selection{Program: &counting.Program{Path: "/tmp/a,!b"}}, "", true},
		{top.Selection{Program: &counting.Program{Path: "/tmp/\xff"}}, "", true},
	} {
		narrower, wider := narrow(c.of)
		var words []string
		for name, value := range narrower {
			words = append(words, name+"="+value)
		}
		slices.Sort(words)
		got := strings.Join(words, " ")
		if narrower == nil {
			got = "none"
		}
		if got != c.want || (wider != "") != c.wider {
			t.Errorf("%+v: %s, %q", c.of, got, wider)
		}
	}
}

// The rows that a screen shows are of what it counts: its filters go to their trace, in
// the same words.
func TestPassedOn(t *testing.T) {
	command := (&tool{}).topCommand()
	var got []string
	app := &cli.App{Flags: command.Flags, HideHelp: true, Action: func(c *cli.Context) error {
		c.Command.Flags = command.Flags
		for _, s := range passedOn(c) {
			got = append(got, s.String())
		}
		return nil
	}}
	if err := app.Run([]string{"top", "-I", "-c", "web,!db", "--comm", "nginx", "--errno", "ENOENT", "--no-runtime", "-d", "2s", "--latency", "--ready-file", "/x", "--top", "3"}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if want := []string{"--comm=nginx", "--container=web,!db", "--errno=2", "--ignore-host-ns", "--no-runtime"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
