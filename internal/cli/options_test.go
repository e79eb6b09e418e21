// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"errors"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/copenclose/copenclose/internal/container"
	"github.com/copenclose/copenclose/internal/option"
	"github.com/copenclose/copenclose/internal/output"
	"github.com/copenclose/copenclose/internal/selection"
	"github.com/copenclose/copenclose/internal/tracer"
)

// parse returns the options that a command line sets.
func parse(t *testing.T, args string) *Options {
	t.Helper()
	o := newOptions()
	words, command, _ := strings.Cut(args, "-- ")
	o.Command = strings.Fields(command)
	app := cli.App{
		Flags: o.Flags(),
		Action: func(c *cli.Context) error {
			o.given = given(c)
			return nil
		},
	}
	l, err := readLine(strings.Fields(words), nil, []*cli.Command{{Flags: o.Flags()}})
	if err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	if err := app.Run(append([]string{"copenclose"}, l.flags...)); err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	return o
}

const (
	excludesJSON = " is for tables, not for -o json"
	needsDetails = " is for -o wide and -o json, or a column that shows it"
)

// What does not go together is refused, and said to be.
func TestConflicts(t *testing.T) {
	for args, want := range map[string]string{
		"-o json --columns pid":           "--columns" + excludesJSON,
		"-o json --use-cgv2":              "--use-cgv2" + excludesJSON,
		"-C --output json":                "--use-cgv2" + excludesJSON,
		"-o json --time utc":              "--time" + excludesJSON,
		"-o json --no-header":             "--no-header" + excludesJSON,
		"-C --columns pid":                "--use-cgv2 and --columns exclude each other: cgroupid is a column",
		"-qv":                             "--quiet and --verbose exclude each other",
		"--quiet --verbose":               "--quiet and --verbose exclude each other",
		"--follow":                        "--follow needs --pid",
		"--follow --tid 1":                "--follow needs --pid",
		"-p 1 -- true":                    "--pid and a command exclude each other",
		"-p 1 --follow -- true":           "--pid and a command exclude each other",
		"--latency --columns pid":         "--latency" + needsDetails,
		"--program --columns pid":         "--program" + needsDetails,
		"--program -o strace":             "--program is for tables, not for -o strace",
		"--full-path":                     "--full-path" + needsDetails,
		"--all-closes --path /etc":        "--all-closes" + needsDetails,
		"-o wide --all-closes -s open":    "--all-closes shows rows of close, which --syscall leaves out",
		"--all-opens":                     "--all-opens" + needsDetails,
		"-o wide --all-opens -s close":    "--all-opens shows rows of openat, which --syscall leaves out",
		"--full-path --columns pid,comm":  "--full-path" + needsDetails,
		"-C --latency --full-path -I":     "--full-path" + needsDetails,
		"--no-runtime --runtime-socket x": "--no-runtime and --runtime-socket exclude each other",
		"--follow -- true":                "--follow needs --pid",
	} {
		_, err := resolved(t, args)
		if err == nil || err.Error() != want || statusOf(err) != exitUsage {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
	_, err := resolved(t, "--columns pid,nonsense")
	if err == nil || !strings.Contains(err.Error(), "nonsense") || statusOf(err) != exitUsage {
		t.Errorf("an unknown column: %v", err)
	}
}

// resolved is what the options and the lines that they ask for come to.
func resolved(t *testing.T, args string) (request, error) {
	t.Helper()
	o := parse(t, args)
	w, err := output.NewWriter(io.Discard, o.Look.lines())
	if err != nil {
		return request{}, usageError(err)
	}
	return o.resolve(w.Needs())
}

// What goes together is not refused, and asks for what it needs.
func TestResolve(t *testing.T) {
	all := (&option.Syscalls{}).Names()
	plain := tracer.Config{Attach: tracer.AutoAttach, Buffer: tracer.AutoBuffer, BufferSize: 8 << 20, Syscalls: all, OnlyCloses: []string{"dup2", "dup3"}, Hostname: true}
	with := func(change func(c *tracer.Config)) tracer.Config {
		c := plain
		change(&c)
		return c
	}
	wide := with(func(c *tracer.Config) { c.Details, c.Cgroups = true, true })
	for args, want := range map[string]tracer.Config{
		"":                     plain,
		"-C":                   with(func(c *tracer.Config) { c.Hostname = false }),
		"--count 1":            plain,
		"-o wide":              wide,
		"-o wide --all-closes": with(func(c *tracer.Config) { c.Details, c.Cgroups, c.AllCloses = true, true, true }),
		"-o wide --all-opens":  with(func(c *tracer.Config) { c.Details, c.Cgroups, c.AllOpens = true, true, true }),
		"-o json":              with(func(c *tracer.Config) { c.Details, c.Cgroups, c.File = true, true, true }),
		"-o json --latency --full-path": with(func(c *tracer.Config) {
			c.Details, c.Cgroups, c.File, c.Latency = true, true, true, true
		}),
		"-I":                      with(func(c *tracer.Config) { c.Cgroups, c.Filter.IgnoreHost = true, true }),
		"-x":                      with(func(c *tracer.Config) { c.Filter.Failed = true }),
		"-s close":                with(func(c *tracer.Config) { c.Syscalls = parse(t, "-s close").Select.Syscalls.Names() }),
		"-p 1,2 --follow":         with(func(c *tracer.Config) { c.Filter.PIDs, c.Filter.FollowChildren = selection.Of[uint32](1, 2), true }),
		"--tid 3":                 with(func(c *tracer.Config) { c.Filter.TIDs = selection.Of[uint32](3) }),
		"-u 4 -g 5":               plain, // looked up later
		"--errno ENOENT":          with(func(c *tracer.Config) { c.Filter.Errnos = selection.Of[uint32](2) }),
		"--comm a,b*":             with(func(c *tracer.Config) { c.Filter.Comms = selection.Of("a", "b*") }),
		"--path /etc --latency":   with(func(c *tracer.Config) { c.Filter.Paths, c.Details, c.Latency = selection.Of("/etc"), true, true }),
		"--path /etc --full-path": with(func(c *tracer.Config) { c.Filter.Paths, c.File = selection.Of("/etc"), true }),
		"--errno !EAGAIN,ENOENT -n !a": with(func(c *tracer.Config) {
			c.Filter.Errnos = selection.List[uint32]{Only: []uint32{2}, Except: []uint32{11}}
			c.Filter.Comms.Except = []string{"a"}
		}),
		"--cgroup /a":                plain,
		"--attach perf -q":           with(func(c *tracer.Config) { c.Attach = tracer.PerfTracepoint }),
		"--buffer perf -v":           with(func(c *tracer.Config) { c.Buffer = tracer.Perf }),
		"--buffer-size 5M":           with(func(c *tracer.Config) { c.BufferSize = 8 << 20 }),
		"--columns pid,lat":          with(func(c *tracer.Config) { c.Hostname, c.Details, c.Latency = false, true, true }),
		"--columns detail --latency": with(func(c *tracer.Config) { c.Hostname, c.Details, c.Latency = false, true, true }),
		"--no-runtime -o wide":       wide,
		"-o wide --use-cgv2":         with(func(c *tracer.Config) { c.Hostname, c.Details, c.Cgroups = false, true, true }),
		"-- true -o json":            with(func(c *tracer.Config) { c.Filter.FollowChildren, c.Filter.Command = true, true }),
	} {
		r, err := resolved(t, args)
		if err != nil {
			t.Errorf("%s: %v", args, err)
		}
		if !reflect.DeepEqual(r.tracer, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", args, r.tracer, want)
		}
	}
}

func TestLines(t *testing.T) {
	got := parse(t, "--columns pid --time unix --timestamp-precision ns --no-header").Look.lines()
	want := output.Options{
		Format: output.Table, Columns: option.List{"pid"}, NoHeader: true, Time: output.Unix, Precision: output.Nanoseconds,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	got = parse(t, "-o wide -C --latency --full-path").Look.lines()
	want = output.Options{
		Format: output.Wide, CgroupID: true, Latency: true, FullPath: true, Time: output.AutoTime, Precision: output.AutoPrecision,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestResolveAttribution(t *testing.T) {
	for args, want := range map[string]struct {
		ignoreHost, choose, names, cgroups bool
		sockets                            []string
	}{
		"":                            {},
		"-I":                          {ignoreHost: true, cgroups: true},
		"-o wide":                     {names: true, cgroups: true},
		"-o json --no-runtime":        {cgroups: true},
		"-c web":                      {choose: true, names: true, cgroups: true},
		"-I -c web --no-runtime":      {ignoreHost: true, choose: true, cgroups: true},
		"-o wide --runtime-socket /x": {names: true, cgroups: true, sockets: []string{"/x"}},
		"--columns container":         {names: true, cgroups: true},
	} {
		r, err := resolved(t, args)
		a := r.attribution
		if err != nil || a.IgnoreHost != want.ignoreHost || (a.Choose != nil) != want.choose || a.Names != want.names ||
			!slices.Equal(a.Sockets, want.sockets) || r.tracer.Cgroups != want.cgroups ||
			r.tracer.Filter.IgnoreHost != want.ignoreHost || r.tracer.Filter.OnlyChosen != want.choose {
			t.Errorf("%s: %v, %+v", args, err, r)
		}
		if want.choose && (!a.Choose(&container.Container{Name: "web"}) || a.Choose(&container.Container{Name: "db"})) {
			t.Errorf("%s: other containers are chosen", args)
		}
	}
}

func TestStatus(t *testing.T) {
	for want, err := range map[int]error{
		0: nil,
		1: errors.New("broken"),
		2: errors.Join(errors.New("first"), usagef("second")),
		7: &exitError{7, nil},
	} {
		if status := statusOf(err); status != want {
			t.Errorf("%v: %d, want %d", err, status, want)
		}
	}
	if !errors.Is(usageError(os.ErrNotExist), os.ErrNotExist) {
		t.Error("the reason of a usage error is lost")
	}
}

func TestFdsRefuses(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"fds", "-l", "--by", "target"}, "copenclose: --list and --by exclude each other\n"},
		{[]string{"fds", "--state", "gone"}, "copenclose: --state gone: not one of established, "},
		{[]string{"fds", "x"}, "copenclose: unexpected word"},
		{[]string{"fds", "--older", "1m"}, "copenclose: --older 1m0s needs a --duration as long, or a --keep before: "},
		{[]string{"fds", "--older", "1m", "-d", "30s"}, "copenclose: --older 1m0s needs a --duration as long, or a --keep before: "},
		{[]string{"fds", "--ready-file", "/x"}, "copenclose: --ready-file needs --duration\n"},
		{[]string{"leaks", "--attach", "fentry"}, "copenclose: --attach"},
		{[]string{"fds", "--", "true"}, "copenclose: fds runs no command"},
	} {
		if r := run(t, nil, c.args...); r.status != exitUsage || !strings.HasPrefix(r.stderr, c.want) || r.stdout != "" {
			t.Errorf("%v: %+v, want %q", c.args, r, c.want)
		}
	}
}
