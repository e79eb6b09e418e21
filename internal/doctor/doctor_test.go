// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kernel.org/pub/linux/libs/security/libcap/cap"

	"github.com/copenclose/copenclose/internal/container"
	"github.com/copenclose/copenclose/internal/tracer"
)

func TestPrints(t *testing.T) {
	findings := []Finding{
		ok("kernel", "6.1"),
		degraded("tracefs", "not there", "--attach perf", ""),
		missing("CAP_BPF", "not \x1b[31mthere", "", "sudo"),
	}
	var table, lines bytes.Buffer
	if err := errors.Join(WriteTable(&table, findings), WriteJSON(&lines, findings)); err != nil {
		t.Fatal(err)
	}
	const want = "ok        kernel  6.1\n" +
		"degraded  tracefs not there; lost: --attach perf\n" +
		`missing   CAP_BPF not \x1b[31mthere; do: sudo` + "\n"
	if table.String() != want {
		t.Errorf("got\n%swant\n%s", table.String(), want)
	}
	for i, line := range strings.Split(strings.TrimSpace(lines.String()), "\n") {
		var f Finding
		if err := json.Unmarshal([]byte(line), &f); err != nil || f != findings[i] {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// Whether tracing works is what the last check says, not what it could be from.
func TestWorks(t *testing.T) {
	for name, c := range map[string]struct {
		findings []Finding
		works    bool
	}{
		"nothing":  {nil, false},
		"ok":       {[]Finding{missing("--attach fentry", "", "", ""), ok(Tracing, "")}, true},
		"degraded": {[]Finding{ok("kernel", ""), degraded(Tracing, "", "", "")}, true},
		"missing":  {[]Finding{ok("--attach fentry", ""), missing(Tracing, "", "", "")}, false},
	} {
		if Works(c.findings) != c.works {
			t.Errorf("%s: works is not %t", name, c.works)
		}
	}
}

func TestCapabilities(t *testing.T) {
	status := func(name string, limitsMaps bool, has ...cap.Value) Status {
		findings := capabilitiesOf(func(c cap.Value) bool { return slices.Contains(has, c) }, limitsMaps)
		i := slices.IndexFunc(findings, func(f Finding) bool { return f.Check == name })
		if i < 0 {
			return ""
		}
		return findings[i].Status
	}
	for _, c := range []struct{ got, want Status }{
		{status("CAP_BPF", false), Missing},
		{status("CAP_BPF", false, cap.BPF), OK},
		{status("CAP_PERFMON", false, cap.BPF), Missing},
		{status("CAP_PERFMON", false, cap.SYS_ADMIN), OK},
		{status("CAP_SYS_ADMIN", false, cap.BPF, cap.PERFMON), Degraded},
		{status("CAP_SYS_RESOURCE", true), Degraded},
		{status("CAP_SYS_RESOURCE", false), ""},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestCgroupOf(t *testing.T) {
	const hybrid = "3:cpu,cpuacct:/c\n2:memory:/m:x/y\n1:name=systemd:/s\n0::/v2\n"
	for controller, want := range map[string]string{"memory": "/m:x/y", "cpuacct": "/c", "": "/v2", "pids": "/"} {
		if got := cgroupOf(hybrid, controller); got != want {
			t.Errorf("%q: %s, want %s", controller, got, want)
		}
	}
	if got := cgroupOf("", ""); got != "/" {
		t.Errorf("without cgroups: %s", got)
	}
}

func TestReadLimit(t *testing.T) {
	for text, want := range map[string]uint64{"67108864\n": 64 << 20, "max\n": 0, "9223372036854771712\n": 0, "": 0} {
		file := filepath.Join(t.TempDir(), "memory.max")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if limit, ok := readLimit(file); ok != (want > 0) || ok && limit != want {
			t.Errorf("%q: %d, %t", text, limit, ok)
		}
	}
}

func TestFound(t *testing.T) {
	of := func(runtime string) *container.Container {
		c := &container.Container{}
		c.Runtime = runtime
		return c
	}
	if got := found([]*container.Container{of("podman"), of("docker"), of("podman")}); got != "1 of docker, 2 of podman" {
		t.Error(got)
	}
	if got := found(nil); got != "none runs" {
		t.Error(got)
	}
}

// What a trace advises is left out, since the other findings are that, and it is one
// line.
func TestReason(t *testing.T) {
	err := fmt.Errorf("trace: %w", &tracer.Refusal{Advice: "do this", Err: errors.New("perf: refused\nkprobe: refused")})
	if got := reason(err); got != "perf: refused; kprobe: refused" {
		t.Error(got)
	}
}
