// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// `make readme` runs TestReadme with it.
var writeReadme = flag.Bool("readme", false, "write the output that README.md shows anew")

// A block is a command in README.md with what it printed.
type block struct {
	command string
	// options end the command, and are not in README.md.
	options string
	// script is run instead of the command.
	script string
	// meanwhile is a script that is run again and again beside it.
	meanwhile string
	// show are the lines to show: for each pattern the next that matches. Without,
	// all are shown.
	show []string
	// same is the part of a line that is the same each time, beside numbers; if nil, all.
	same *regexp.Regexp
}

const header = `^[A-Z]+ `

// blocks are run in this order, beside three containers: shop-web serves a page,
// shop-app asks for it and for what is not there, and shop-api leaks connections.
var blocks = []block{
	{
		command: "sudo copenclose -o wide -x -c shop-app", options: "-d 3s",
		show: []string{header, `/app/settings\.json`, `ECONNREFUSED.*:6379`},
	}, {
		command: "sudo copenclose -o wide -s open --path /etc/hosts", options: "-d 3s",
		meanwhile: "getent hosts localhost >/dev/null; sleep 0.3",
		show:      []string{header, ` shop-app .* wget `, ` - .* getent `},
	}, {
		command: "sudo copenclose -o wide -s connect,accept -c 'shop-*'", options: "-d 3s",
		show: []string{header, `shop-app .* wget .* 0 .*:80`, `shop-web .* httpd `, `shop-app .* wget .* ECONNREFUSED`},
	}, {
		command: "sudo copenclose -I", options: "-d 3s",
		show: []string{header, `accept4 +httpd`, `openat +httpd`, `close +httpd`, `close +httpd`},
	}, {
		command: "sudo copenclose summary -q -- getent passwd root",
		same:    regexp.MustCompile(`^(N \w+|[a-z ]+:$|N s: .* calls = .*)`), // which files may differ
	}, {
		command: "sudo copenclose summary -c 'shop-*' -d 5s",
		same:    regexp.MustCompile(`^([A-Z]+ .*|shop-\w+ +\S+|.* calls = .*)`), // what is most of it may differ
	}, {
		command: "sudo copenclose -o json -s open,close -c shop-web", options: "-d 3s",
		show: []string{`"openat".*index\.html`, `"close".*"tcp"`},
	}, {
		command: "sudo copenclose -o strace -x -c shop-app", options: "-d 3s",
		show: []string{`settings\.json`, `ECONNREFUSED`},
	}, {
		command: "sudo copenclose containers",
		show:    []string{header, ` shop-api `, ` shop-app `, ` shop-web `},
	}, {
		command: "sudo copenclose fds -c 'shop-*'",
		show:    []string{header, `shop-api .* tcp `, `shop-web .* httpd `, `^other limits`},
	}, {
		command: "sudo copenclose fds -c shop-api -l",
		show:    []string{header, ` pipe `, ` CLOSE_WAIT `, ` CLOSE_WAIT `},
	}, {
		command: "sudo copenclose leaks -c 'shop-*' -i 1s -d 6s",
		show:    []string{header, `^grows .*shop-api`, `steady$`},
	}, {
		command: `curl -s 127.0.0.1:9435/metrics | grep 'calls_total{container="shop-app"'`,
		script: `copenclose serve -q --listen 127.0.0.1:19435 & trap "kill $!" EXIT
			for i in $(seq 100); do
				calls=$(curl -s 127.0.0.1:19435/metrics | grep 'calls_total{container="shop-app"')
				case $calls in *ECONNREFUSED*connect*) break ;; esac
				sleep 0.2
			done
			echo "$calls"`,
		show: []string{`"open"`, `ECONNREFUSED.*"connect"`, `ENOENT.*"open"`},
	}, {
		command: "sudo copenclose doctor",
		same:    regexp.MustCompile(`^\w+ +(--attach \w+|\w+)`),
		show: []string{` btf `, ` lockdown `, ` CAP_BPF `, ` CAP_PERFMON `, ` --attach fentry `, ` --attach tracepoint `,
			` cgroups `, ` containers `, ` docker `, ` tracing `},
	},
}

// README.md shows what the commands print. Where that has changed, the block is stale,
// and `make readme` writes it anew.
func TestReadme(t *testing.T) {
	engine := docker(t)
	web := engine.httpd(t, "--name", "shop-web")
	const shop = `while :; do
		wget -q -O /dev/null http://web/
		wget -q -O /dev/null http://web:6379/
		cat /app/settings.json
		sleep 0.3
	done 2>/dev/null`
	engine.run(t, engine.busybox(t, []string{"--name", "shop-app", "--add-host", "web:" + web.address}, "sh", "-c", shop)...)
	// At its limit it ends, as such services do.
	engine.run(t, "--name", "shop-api", "--restart", "always", "--ulimit", "nofile=1024",
		"--volume", trigger64+":/bin/api", "busybox", "api", "leaks", "sockets", "60")

	file := fromEnvironment("README", "../README.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	readme := string(text)
	for _, b := range blocks {
		began := "```\n$ " + b.command + "\n"
		before, rest, there := strings.Cut(readme, began)
		shown, after, ended := strings.Cut(rest, "```\n")
		if !there || !ended {
			t.Errorf("README.md has no block that begins with $ %s", b.command)
			continue
		}
		printed := b.run(t)
		if *writeReadme {
			readme = before + began + b.choose(t, printed) + "```\n" + after
			continue
		}
		b.compare(t, shown, printed)
	}
	for _, found := range regexp.MustCompile("(?m)^```\n\\$ (.*)$").FindAllStringSubmatch(readme, -1) {
		if !slices.ContainsFunc(blocks, func(b block) bool { return b.command == found[1] }) {
			t.Logf("not compared: the block of README.md that begins with $ %s", found[1])
		}
	}
	if *writeReadme && !t.Failed() {
		if err := os.WriteFile(file, []byte(readme), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// run runs the command on a terminal, and returns what was written to it.
func (b *block) run(t *testing.T) string {
	t.Helper()
	if b.meanwhile != "" {
		beside := exec.Command("sh", "-c", "while :; do "+b.meanwhile+"; done")
		beside.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := beside.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = unix.Kill(-beside.Process.Pid, unix.SIGKILL)
			_ = beside.Wait()
		}()
	}
	screen, keyboard := openTerminal(t, 110)
	defer screen.Close()
	line := strings.TrimPrefix(strings.Replace(b.command, "copenclose", "copenclose "+b.options, 1), "sudo ")
	if b.script != "" {
		line = b.script
	}
	cmd := exec.Command("sh", "-c", line)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(copenclose)+":"+os.Getenv("PATH"),
		"NO_COLOR=1", "LC_ALL=C.UTF-8", "TERM=xterm")
	said := newLines()
	cmd.Stdout, cmd.Stderr = keyboard, said
	err := cmd.Start()
	keyboard.Close()
	if err != nil {
		t.Fatal(err)
	}
	// The terminal ends with EIO when nobody has it open any more.
	var printed []byte
	for buffer := make([]byte, 1<<16); ; {
		n, err := screen.Read(buffer)
		printed = append(printed, buffer[:n]...)
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("$ %s\n%v\n%s%s", line, err, printed, said)
	}
	return strings.ReplaceAll(string(printed), "\r\n", "\n")
}

// openTerminal returns both ends of a terminal that is columns wide, and so high that no
// header is repeated; see pty(7).
func openTerminal(t *testing.T, columns uint16) (screen, keyboard *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(screen.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	err = errors.Join(err, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0),
		unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 10_000, Col: columns}))
	if err != nil {
		t.Fatal(err)
	}
	keyboard, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return screen, keyboard
}

// choose returns the lines to show, with ... for those that are left out.
func (b *block) choose(t *testing.T, printed string) string {
	t.Helper()
	if len(b.show) == 0 {
		return printed
	}
	var shown strings.Builder
	lines := strings.SplitAfter(printed, "\n")
	for _, pattern := range b.show {
		wanted := regexp.MustCompile(pattern)
		i := slices.IndexFunc(lines, func(line string) bool { return wanted.MatchString(strings.TrimSuffix(line, "\n")) })
		if i < 0 {
			t.Errorf("$ %s\nno line like %s in\n%s", b.command, pattern, strings.Join(lines, ""))
			return ""
		}
		if i > 0 {
			shown.WriteString("...\n")
		}
		shown.WriteString(lines[i])
		lines = lines[i+1:]
	}
	return shown.String()
}

// compare says whether lines like all that are shown are printed.
func (b *block) compare(t *testing.T, shown, printed string) {
	t.Helper()
	now := map[string]bool{"...": true}
	for line := range strings.Lines(printed) {
		now[b.shape(line)] = true
	}
	for line := range strings.Lines(shown) {
		if !now[b.shape(line)] {
			t.Errorf("stale in README.md (make readme writes it anew):\n$ %s\n%snow it prints\n%s", b.command, line, printed)
			return
		}
	}
}

var (
	spaces  = regexp.MustCompile(` +`)
	ids     = regexp.MustCompile(`\b[0-9a-f]{12,}\b`)
	numbers = regexp.MustCompile(`[+>]?\b[0-9]+([.,:T-]+[0-9]+)*(ns|us|ms|Z|k|M| s\b)?`)
)

// shape is what stays the same of a line from one run to the next.
func (b *block) shape(line string) string {
	line = numbers.ReplaceAllString(ids.ReplaceAllString(strings.TrimSpace(line), "H"), "N")
	if line = spaces.ReplaceAllString(line, " "); b.same != nil {
		return b.same.FindString(line)
	}
	return line
}
