// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/internal/stream"
	"github.com/copenclose/copenclose/internal/tracer"
)

// split returns the words of a line as a shell would, with single quotes alone.
func split(line string) (words []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}

// What people type and cannot be meant gets one line that says what to type instead,
// before anything is done.
func TestTyped(t *testing.T) {
	const lists = "copenclose --help lists them"
	for _, c := range []struct {
		typed, says string
	}{
		// Where a command, a list or a subcommand is meant.
		{"ls -l", "to trace a command: copenclose -- ls -l"},
		{"-o wide ls -l '/a b'", "to trace a command: copenclose -o wide -- ls -l '/a b'"},
		{"now", "to trace a command: copenclose -- now"},
		{"now -- true", "unexpected word now before --; without it: copenclose -- true"},
		{"-o wide now -- sh -c 'a b'", "unexpected word now before --; without it: copenclose -o wide -- sh -c 'a b'"},
		{"ls -- -l", "to trace a command: copenclose -- ls -- -l"},
		{"-c web shop -- true", "lists are joined by commas: -c web,shop"},
		{"sumary -- true", "unknown subcommand sumary; did you mean copenclose summary?"},
		{"-- ", "no command after --"},
		{"-I --", "no command after --"},
		{"-c web shop", "lists are joined by commas: -c web,shop"},
		{"-s open close", "lists are joined by commas: -s open,close"},
		{"-p 12 34 56", "lists are joined by commas: -p 12,34,56"},
		{"--pid 12 34", "lists are joined by commas: --pid 12,34"},
		{"-c web ls -l", "to trace a command: copenclose -c web -- ls -l"},
		{"contaners", "unknown subcommand contaners; did you mean copenclose containers?"},

		// Options that there are not.
		{"--ouput json", "unknown option --ouput; did you mean --output?"},
		{"--out=json", "unknown option --out; did you mean --output?"},
		{"-output json", "unknown option -output; did you mean --output?"},
		{"-latency", "unknown option -latency; did you mean --latency?"},
		{"--json", "unknown option --json; did you mean --output json?"},
		{"--wide", "unknown option --wide; did you mean --output wide?"},
		{"--delta", "unknown option --delta; did you mean --time delta?"},
		{"-e trace=open", "unknown option -e; did you mean --syscall?"},
		{"-T", "unknown option -T; did you mean --latency?"},
		{"-t", "unknown option -t; did you mean --time?"},
		{"--frobnicate", "unknown option --frobnicate; " + lists},
		{"-Z", "unknown option -Z; " + lists},
		{"---x", "unknown option ---x; " + lists},
		{"-d", "-d needs a value: -d TIME"},
		{"-Id", "-d needs a value: -d TIME"},
		{"--path", "--path needs a value: --path LIST"},

		// Values.
		{"-p nginx", `-p nginx: not a process id; for a name: -n nginx, or -p "$(pidof nginx)"`},
		{"-p 1,nginx", `-p nginx: not a process id; for a name: -n nginx, or -p "$(pidof nginx)"`},
		{"--tid main", "--tid main: not a thread id; for a name: -n main"},
		{"-p 0", "-p 0: must be more than 0"},
		{"-p -1", "-p -1: must be more than 0"},
		{"-p 1,,2", "-p 1,,2: an entry of the list is empty"},
		{"-p ''", "-p '': an entry of the list is empty"},
		{"-p !", "-p '!': a ! with nothing after it"},
		{"-p !nginx", `-p '!nginx': not a process id; for a name: -n nginx, or -p "$(pidof nginx)"`},
		{"-u 4294967296", "-u 4294967296: not an id: those are from 0 to 4294967295"},
		{"-u -1", "-u -1: not an id: those are from 0 to 4294967295"},
		{"-u no-such-user", `--uid: no user "no-such-user"`},
		{"-g no-such-group", `--gid: no group "no-such-group"`},
		{"--errno ENONSENSE", "--errno ENONSENSE: not an error like ENOENT or 2"},
		{"--errno 0", "--errno 0: not an error: those are from 1 to 4095"},
		{"-s read", "-s read: not traced: there are "},
		{"-s '!open,!accept,!connect,!close'", "-s '!close': no syscall is left"},
		{"-n '*sh'", "-n '*sh': a * can only be at the end; for other patterns, use -o json and jq"},
		{"-n this-name-is-long", "-n this-name-is-long: a thread's name has at most 15 bytes"},
		{"--path '/e*c'", "--path '/e*c': paths are chosen by their beginnings; a * can only be at the end"},
		{"--path '~/x'", "--path '~/x': no shell has replaced the ~; write $HOME, or leave out the quotes"},
		{"--path '*'", "--path '*': every path begins so"},
		{"-c '[x'", "-c '[x': "},
		{"-d 0", "-d 0: must be more than 0"},
		{"-d -5", "-d -5: must be more than 0"},
		{"--duration soon", "--duration soon: not a time like 10s or 5m"},
		{"--count 1e3", "--count 1e3: not a number"},
		{"--count -1", "--count -1: not a number"},
		{"--count 0", "--count 0: must be more than 0"},
		{"-o yaml", "-o yaml: not one of "},
		{"--output=yaml", "--output yaml: not one of "},
		{"--attach uprobe", "--attach uprobe: not one of auto, fentry, kprobe, tracepoint, perf"},
		{"--buffer-size lots", "--buffer-size lots: not a size like 8M"},
		{"--buffer-size 1T", "--buffer-size 1T: larger than 1G"},
		{"--runtime-socket tcp://1.2.3.4", "--runtime-socket tcp://1.2.3.4: only unix sockets can be asked, not tcp"},
		{"--runtime-socket unix://", "--runtime-socket unix://: no path of a socket"},
		{"--no-runtime --runtime-socket /x", "--no-runtime and --runtime-socket exclude each other"},
		{"--full-path", "--full-path is for -o wide and -o json, or a column that shows it"},
		{"-qv", "--quiet and --verbose exclude each other"},
		{"-f", "--follow needs --pid"},

		// Subcommands.
		{"-I -o json containers", "containers does not take -I: see copenclose containers --help"},
		{"-p 1 containers", "containers does not take -p: see copenclose containers --help"},
		{"containers --verbose", "containers does not take --verbose: see copenclose containers --help"},
		{"containers -I", "containers does not take -I: see copenclose containers --help"},
		{"containers now", "unexpected word now: see copenclose containers --help"},
		{"containers -- now", "containers runs no command: see copenclose containers --help"},
		{"containers --", "containers runs no command: see copenclose containers --help"},
		{"containers -o wide", "-o wide: not one of table, json, "},
		{"containers --frobnicate", "unknown option --frobnicate; copenclose containers --help lists them"},
	} {
		r := run(t, nil, split(c.typed)...)
		if r.status != 2 || r.stdout != "" || !strings.HasPrefix(r.stderr, "copenclose: "+c.says) || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%s: %+v\nwant %s", c.typed, r, c.says)
		}
		// What ends so is the beginning of a longer line.
		if whole := !strings.HasSuffix(c.says, " "); whole && r.stderr != "copenclose: "+c.says+"\n" {
			t.Errorf("%s: %s\nwant %s", c.typed, r.stderr, c.says)
		}
	}
}

// Too many entries of a list are refused before the kernel is asked.
func TestTooMany(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat("a,", 1025), ",")
	for flag, says := range map[string]string{"--path": "more than 1024 paths", "-n": "more than 1024 names", "--cgroup": "more than 32 cgroups"} {
		if r := run(t, nil, flag, many); r.status != 2 || r.stderr != "copenclose: "+flag+" a: "+says+"\n" {
			t.Errorf("%s: %+v", flag, r)
		}
	}
}

// A program that cannot be run is found out before anything is traced, with the
// statuses of env(1).
func TestCannotRun(t *testing.T) {
	for command, want := range map[string]result{
		"no-such-command": {127, "", "copenclose: run no-such-command: executable file not found in $PATH\n"},
		"containers":      {127, "", "copenclose: run containers: executable file not found in $PATH\n"},
		"/no/such/file":   {127, "", "copenclose: run /no/such/file: no such file or directory\n"},
		"/etc/passwd":     {126, "", "copenclose: run /etc/passwd: permission denied\n"},
		"/etc":            {126, "", "copenclose: run /etc: is a directory\n"},
	} {
		if r := run(t, nil, "--", command); r != want {
			t.Errorf("%s: %+v", command, r)
		}
	}
}

// What people type is understood.
func TestHabits(t *testing.T) {
	self := strconv.Itoa(os.Getpid())
	parent := strconv.Itoa(os.Getppid())
	for typed, same := range map[string]string{
		"-ojson -d1":                        "-o json -d 1s",
		"-Id1 -o JSON":                      "-I -d 1s --output json",
		"-o jsonl":                          "-o json",
		"-o ndjson":                         "-o json",
		"-p" + self:                         "--pid " + self,
		"-p '" + self + " " + parent + " '": "--pid " + self + "," + parent,
		"-p '" + self + ", " + parent + "'": "--pid " + self + "," + parent,
		"-p " + self + " -f":                "--pid=" + self + " --follow",
		"-u root":                           "-u 0",
		"-g root":                           "--gid 0",
		"--errno 2":                         "--errno ENOENT",
		"--errno 'enoent eacces'":           "--errno ENOENT,EACCES",
		"-s OPEN,!Creat":                    "-s open,!creat",
		"-s 'open close'":                   "-s open,close",
		"--path '/etc/*'":                   "--path /etc/",
		"--path /etc/**":                    "--path /etc/",
		"--attach AUTO":                     "--attach auto",
		"-d 0.1":                            "-d 100ms",
		"--runtime-socket unix:///x -c web": "--runtime-socket /x -c web",
	} {
		var configs [2]tracer.Config
		for i, line := range []string{typed, same} {
			s := &stub{during: atOnce}
			if r := run(t, s, split(line)...); r.status != 0 {
				t.Errorf("%s: %+v", line, r)
			}
			configs[i] = s.cfg
		}
		if !reflect.DeepEqual(configs[0], configs[1]) {
			t.Errorf("%s:\n%+v\nis not %s:\n%+v", typed, configs[0], same, configs[1])
		}
	}
	if help := run(t, nil, "help"); help.status != 0 || help != run(t, nil, "-h") || help != run(t, nil, "-h", "foo") {
		t.Errorf("%+v", help)
	}
	if help := run(t, nil, "help", "containers"); help.status != 0 || help != run(t, nil, "containers", "-h") {
		t.Errorf("%+v", help)
	}
}

// A process that is not there would look like one that does nothing.
func TestNoProcess(t *testing.T) {
	if !inInitialPIDNamespace() {
		t.Skip("ids are not those of the host here")
	}
	self := strconv.Itoa(os.Getpid())
	if r := run(t, nil, "-p", "99999999"); r != (result{1, "", "copenclose: no process 99999999\n"}) {
		t.Errorf("%+v", r)
	}
	if r := run(t, nil, "--tid", "99999998,99999999"); r != (result{1, "", "copenclose: no thread 99999998,99999999\n"}) {
		t.Errorf("%+v", r)
	}
	if r := run(t, &stub{during: atOnce}, "-p", self+",99999999"); r.status != 0 || !strings.HasPrefix(r.stderr, "copenclose: no process 99999999\n") {
		t.Errorf("%+v", r)
	}
}

// A container that is not there would look like one that does nothing.
func TestNoContainer(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	r := run(t, &stub{during: atOnce}, "-c", "no-such-container", "--runtime-socket", none)
	if r.status == 1 {
		t.Skip(r.stderr) // no cgroup v2 here
	}
	if !strings.Contains(r.stderr, "copenclose: no container matches \"no-such-container\" yet; copenclose containers lists them\n") {
		t.Errorf("%+v", r)
	}
	r = run(t, &stub{during: atOnce}, "-c", "web,!db", "--no-runtime")
	if !strings.Contains(r.stderr, "copenclose: no container matches \"web\" yet; with --no-runtime only ids and hostnames can\n") || strings.Contains(r.stderr, "db") {
		t.Errorf("%+v", r)
	}
	if r := run(t, &stub{during: atOnce}, "-c", "!web", "--no-runtime"); strings.Contains(r.stderr, "no container matches") {
		t.Errorf("%+v", r)
	}
}

// SIGUSR1 prints the summary so far, also with --quiet, and ends nothing.
func TestReport(t *testing.T) {
	s := &stub{counts: stream.Counts{Filtered: 3}}
	said := file(t)
	s.during = func(ctx context.Context, to stream.Records) error {
		if err := sends(1)(ctx, to); err != nil {
			return err
		}
		if err := unix.Kill(os.Getpid(), unix.SIGUSR1); err != nil {
			return err
		}
		for deadline := time.Now().Add(10 * time.Second); written(t, said) == "" && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		return nil
	}
	one := tool{stdout: file(t), stderr: said, attach: s.attach}
	if status := one.main([]string{"-q"}); status != 0 || written(t, said) != "copenclose: so far 1 event shown, 3 filtered, 0 lost\n" {
		t.Errorf("%d, %q", status, written(t, said))
	}
}

// What came after the last event that was wanted is nobody's loss.
func TestEnough(t *testing.T) {
	r := run(t, &stub{during: sends(5), counts: stream.Counts{Unread: 200}}, "--count", "1")
	if r.status != 0 || !strings.HasSuffix(r.stderr, "copenclose: 1 event shown, 0 filtered, 0 lost\n") {
		t.Errorf("%+v", r)
	}
}
