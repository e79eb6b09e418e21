// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/golden"
	"github.com/copenclose/copenclose/internal/stream"
)

// onScreen says that this process is to write events to its terminal, a TestScreens
// makes it.
const onScreen = "OUTPUT_ON_SCREEN"

func TestMain(m *testing.M) {
	if os.Getenv(onScreen) != "" {
		if err := writeToScreen(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

var (
	shop = &stream.Container{Label: "shop-frontend-7f9c6b8d4-x2x7q", Runtime: "containerd"}
	web  = &stream.Container{Label: "web", Runtime: "docker"}
)

// scene is what a shop, its web server and the host do.
var scene = []*stream.Event{
	{Container: shop, Record: sent("connect", "wget", "shop", bpf.Draft{
		Event:   bpf.Event{PID: 9118, Time: 33_000_000},
		Details: &bpf.Details{FD: 3, Target: bpf.TargetSocket, Latency: 131_000}, Socket: tcp,
		Local: ip("172.17.0.3:43478"), Peer: ip("172.17.0.2:80"), Asked: ip("172.17.0.2:80"),
	})},
	{Container: web, Record: sent("accept4", "httpd", "web", bpf.Draft{
		Event:   bpf.Event{PID: 8934, Ret: 4, Time: 33_100_000},
		Details: &bpf.Details{FD: 3, Target: bpf.TargetSocket}, Socket: tcp6,
		Local: ip("[::ffff:172.17.0.2]:80"), Peer: ip("[::ffff:172.17.0.3]:43478"),
	})},
	{Container: web, Record: sent("accept4", "httpd", "web", bpf.Draft{
		Event:   bpf.Event{PID: 8934, Ret: -11, Time: 33_200_000},
		Details: &bpf.Details{FD: 3, Target: bpf.TargetSocket}, Socket: tcp6, Local: ip("[::]:80"),
	})},
	{Container: web, Record: sent("openat", "httpd", "web", bpf.Draft{
		Event:   bpf.Event{PID: 9119, Ret: -2, Time: 35_000_000},
		Details: &bpf.Details{FD: -100, Target: bpf.TargetPath, Latency: 6_600}, Given: []byte("/etc/localtime"),
	})},
	{Container: web, Record: sent("close", "httpd", "web", bpf.Draft{
		Event:   bpf.Event{PID: 9119, Time: 35_100_000},
		Details: &bpf.Details{FD: 4, Target: bpf.TargetSocket, Latency: 1_234}, Socket: tcp6,
		Local: ip("[::ffff:172.17.0.2]:80"), Peer: ip("[::ffff:172.17.0.3]:43478"),
	})},
	{Container: shop, Record: sent("openat", "Web Content", "shop", bpf.Draft{
		Event:   bpf.Event{PID: 9120, Ret: 5, Time: 36_000_000},
		Details: &bpf.Details{FD: -100, Target: bpf.TargetPath, Latency: 7_190},
		Given:   []byte("/etc/app/settings/of/the/shop/in/each/region/production/überschrieben/override.yaml"),
	})},
	{Container: shop, Record: sent("close_range", "cat", "shop", bpf.Draft{
		Event:   bpf.Event{PID: 9120, Time: 36_100_000},
		Details: &bpf.Details{FD: 3, LastFD: ^uint32(0), Latency: 507_000_000},
	})},
	{Record: sent("connect", "curl", "vm", bpf.Draft{
		Event:   bpf.Event{PID: 11400, UID: 1000, GID: 1000, Ret: -111, Time: 36_200_000},
		Details: &bpf.Details{FD: 5, Target: bpf.TargetSocket, Latency: 48_900}, Socket: tcp, Asked: ip("127.0.0.1:8099"),
	})},
	{Record: sent("close", "systemd-journal", "vm", bpf.Draft{
		Event:   bpf.Event{PID: 214, Time: 36_300_000},
		Details: &bpf.Details{FD: 31, Target: bpf.TargetFile, FileMode: 0o100644, Latency: 842}, Name: []byte("/run/\x1b[2Jx"),
	})},
	{Container: stream.Unknown, Record: sent("connect", "dnsmasq", "?", bpf.Draft{
		Event:   bpf.Event{PID: 300, Ret: -115, Time: 36_400_000},
		Details: &bpf.Details{FD: 9, Target: bpf.TargetSocket}, Socket: &bpf.Socket{Family: 1, Type: 1, PeerPID: 12},
		Asked: unixAddress("/run/systemd/resolve/io.systemd.Resolve"),
	})},
}

var tcp, tcp6 = &bpf.Socket{Family: 2, Type: 1, Protocol: 6}, &bpf.Socket{Family: 10, Type: 1, Protocol: 6}

// writeToScreen writes the scene, and once more when the test lets it.
func writeToScreen() error {
	o := Options{
		Format: Format(os.Getenv(onScreen)), Latency: os.Getenv("LATENCY") != "", realtimeOffset: func() int64 { return 1611041700 * second },
		zone: time.FixedZone("CET", 3600),
	}
	o.WriteTo(os.Stdout, ColorAuto, os.Getenv)
	w, err := NewWriter(os.Stdout, o)
	if err != nil {
		return err
	}
	for _, wait := range []string{"again", "end"} {
		for _, e := range scene {
			if err := w.Event(e); err != nil {
				return err
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if err := exec.Command("tmux", "wait-for", "-S", "written").Run(); err != nil {
			return err
		}
		if err := exec.Command("tmux", "wait-for", wait).Run(); err != nil {
			return err
		}
	}
	return nil
}

// What is on a terminal fits it, also when it becomes wider or narrower.
func TestScreens(t *testing.T) {
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("no tmux, which make test-deps installs")
	}
	for name, c := range map[string]struct {
		env           []string
		width, height int
		then          int // width
	}{
		"screen80":     {[]string{onScreen + "=wide"}, 80, 24, 120},
		"screen120":    {[]string{onScreen + "=wide"}, 120, 24, 140},
		"screen160":    {[]string{onScreen + "=wide", "LATENCY=1"}, 160, 24, 160},
		"screenascii":  {[]string{onScreen + "=wide", "LC_ALL=C", "NO_COLOR=1"}, 130, 9, 130},
		"screentable":  {[]string{onScreen + "=table"}, 80, 24, 80},
		"screenstrace": {[]string{onScreen + "=strace"}, 160, 24, 160},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScreen(t, c.width, c.height, c.env)
			s.tmux("wait-for", "written")
			s.tmux("resize-window", "-x", strconv.Itoa(c.then))
			s.tmux("wait-for", "-S", "again")
			s.tmux("wait-for", "written")
			got := s.tmux("capture-pane", "-p", "-S", "-", "-E", "-")
			s.tmux("wait-for", "-S", "end")
			got = strings.TrimRight(got, "\n") + "\n"
			golden.Check(t, name, []byte(got))
		})
	}
}

// screen is a tmux server with one window.
type screen struct {
	t      *testing.T
	socket string
}

func newScreen(t *testing.T, width, height int, env []string) *screen {
	t.Helper()
	s := &screen{t, filepath.Join(t.TempDir(), "tmux")}
	args := []string{"-f", "/dev/null", "new-session", "-d", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height)}
	for _, v := range append([]string{"LC_ALL=C.UTF-8", "NO_COLOR="}, env...) {
		args = append(args, "-e", v)
	}
	s.tmux(append(args, os.Args[0])...)
	t.Cleanup(func() { _ = s.command("kill-server").Run() })
	return s
}

func (s *screen) command(args ...string) *exec.Cmd {
	c := exec.Command("tmux", append([]string{"-u", "-S", s.socket}, args...)...)
	c.Env = append(os.Environ(), "TMUX=", "LC_ALL=C.UTF-8", "TERM=xterm-256color")
	return c
}

func (s *screen) tmux(args ...string) string {
	s.t.Helper()
	c := s.command(args...)
	var stderr strings.Builder
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		s.t.Fatalf("tmux %q: %v %s", args, err, &stderr)
	}
	return string(out)
}

func TestColors(t *testing.T) {
	for _, c := range []struct {
		when   ColorWhen
		screen Screen
		env    map[string]string
		want   bool
	}{
		{ColorAuto, terminal(0), nil, true},
		{ColorAuto, nil, nil, false},
		{ColorAuto, terminal(0), map[string]string{"NO_COLOR": "1"}, false},
		{ColorAuto, terminal(0), map[string]string{"TERM": "dumb"}, false},
		{ColorAlways, nil, map[string]string{"NO_COLOR": "1"}, true},
		{ColorNever, terminal(0), nil, false},
	} {
		if got := c.when.Colors(c.screen, func(name string) string { return c.env[name] }); got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
	}
}

func TestIsUnicode(t *testing.T) {
	for locale, want := range map[string]bool{
		"": false, "C": false, "C.UTF-8": true, "de_DE.utf8": true, "de_DE.utf8@euro": true, "de_DE.ISO-8859-1": false, "UTF-8": false,
	} {
		if got := IsUnicode(func(name string) string { return map[string]string{"LANG": locale}[name] }); got != want {
			t.Errorf("%s: %t", locale, got)
		}
	}
	env := map[string]string{"LC_ALL": "C", "LANG": "C.UTF-8"}
	if IsUnicode(func(name string) string { return env[name] }) {
		t.Error("LC_ALL counts before LANG")
	}
}

func TestCutMiddle(t *testing.T) {
	for text, want := range map[string]string{
		"/etc/app/production/override.yaml": "/etc/a…override.yaml",
		"日本語日本語日本語日本語日本語":                   "日本語…日本語日本語",
	} {
		got, width := cutMiddle([]byte("> "+text), 2, 20, "…")
		if string(got) != "> "+want || width > 20 || width != widthOf(got[2:]) {
			t.Errorf("%s became %s, %d wide", text, got, width)
		}
	}
}
