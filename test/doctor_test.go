// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// finding is a line of copenclose doctor -o json.
type finding struct{ Check, Status, Found, Lost, Do string }

// doctor runs a copenclose doctor -o json, and returns its findings by their checks.
func doctor(t *testing.T, cmd *exec.Cmd) (findings map[string]finding, status int) {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", cmd, err)
	}
	findings = make(map[string]finding)
	for line := range strings.Lines(string(out)) {
		var f finding
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%s: %q: %v", cmd, line, err)
		}
		switch f.Status {
		case "ok":
		case "degraded":
			if f.Lost == "" {
				t.Errorf("it does not say what is lost: %+v", f)
			}
		case "missing":
			if f.Do == "" {
				t.Errorf("it does not say what to do: %+v", f)
			}
		default:
			t.Errorf("no status: %+v", f)
		}
		findings[f.Check] = f
	}
	if len(findings) == 0 {
		t.Fatalf("%s finds nothing:\n%s%s", cmd, out, stderr.String())
	}
	return findings, cmd.ProcessState.ExitCode()
}

// What doctor says of each way to attach is what happens then.
func TestDoctor(t *testing.T) {
	findings, status := doctor(t, exec.Command(copenclose, "doctor", "-o", "json"))
	if status != 0 || findings["tracing"].Status == "missing" {
		t.Fatalf("status %d: %+v", status, findings)
	}
	ways, err := attachWays()
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range []string{"fentry", "kprobe", "tracepoint", "perf"} {
		works, says := strings.Contains(strings.Join(ways, " "), way), findings["--attach "+way]
		if works != (says.Status != "missing") {
			t.Errorf("--attach %s works: %t, but doctor says %+v", way, works, says)
		}
		if !works || os.Getenv("COPENCLOSE_VM") != "" {
			continue // each start takes seconds there
		}
		r := start(t, "--attach", way, "--duration", "1ms")
		misses := strings.Contains(r.wait().stderr, "calls can be missed with --attach ")
		if misses != (says.Status == "degraded") {
			t.Errorf("--attach %s can miss calls: %t, but doctor says %+v", way, misses, says)
		}
	}
	auto, err := autoWay()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(findings["tracing"].Found, "--attach "+auto+" ") {
		t.Errorf("auto takes %s, but doctor says %+v", auto, findings["tracing"])
	}
	if os.Getenv("COPENCLOSE_VM") != "" {
		return
	}
	for _, kind := range []string{"ring", "perf"} {
		works := exec.Command(copenclose, "--buffer", kind, "--duration", "1ms").Run() == nil
		if says := findings["--buffer "+kind]; works != (says.Status == "ok") {
			t.Errorf("--buffer %s works: %t, but doctor says %+v", kind, works, says)
		}
	}
}

// In containers with less and less privilege doctor says what then happens.
func TestDoctorInContainers(t *testing.T) {
	e := docker(t)
	e.image(t, "busybox")
	binary, err := filepath.Abs("../bin/static/copenclose")
	if err != nil {
		t.Fatal(err)
	}
	other := e.run(t, "busybox", "sleep", "1000")
	for _, c := range []struct {
		flags   string
		tracing bool
		others  bool // it sees the cgroups of other containers
		missing []string
	}{
		{"--privileged --pid=host --cgroupns=host", true, true, nil},
		{"--privileged --cgroupns=private", true, false, []string{"proc"}},
		{"--cap-drop=ALL --cap-add=SYS_ADMIN --security-opt=seccomp=unconfined --cgroupns=private", true, false, []string{"CAP_SYS_PTRACE", "proc"}},
		{"--cap-drop=ALL --cap-add=BPF --cap-add=PERFMON --security-opt=seccomp=unconfined --cgroupns=private --volume=/sys/fs/cgroup:/sys/fs/cgroup:ro", true, true, []string{"CAP_SYS_ADMIN", "proc"}},
		{"--cap-drop=ALL --cap-add=BPF --security-opt=seccomp=unconfined --cgroupns=private", false, false, []string{"CAP_PERFMON"}},
		{"--cgroupns=private", false, false, []string{"CAP_BPF", "CAP_PERFMON"}},
		{"--cap-drop=ALL --cgroupns=private", false, false, []string{"CAP_BPF", "CAP_PERFMON", "CAP_DAC_OVERRIDE"}},
	} {
		t.Run(strings.ReplaceAll(c.flags, " ", ""), func(t *testing.T) {
			run := func(args ...string) *exec.Cmd {
				flags := append(strings.Fields("run --rm --volume "+binary+":/copenclose:ro "+c.flags), "busybox", "/copenclose")
				return exec.Command("docker", append(flags, args...)...)
			}
			if out, _ := run("--version").CombinedOutput(); bytes.Contains(out, []byte("unknown capability")) {
				t.Skipf("this engine is too old: %s", out)
			}
			findings, status := doctor(t, run("doctor", "-o", "json"))
			if (status == 0) != c.tracing || status > 1 {
				t.Errorf("status %d, tracing is %+v", status, findings["tracing"])
			}
			out, err := run("--duration", "1ms").CombinedOutput()
			if (err == nil) != c.tracing {
				t.Errorf("tracing ends with %v, but doctor says %+v\n%s", err, findings["tracing"], out)
			}
			for _, check := range c.missing {
				if findings[check].Status == "ok" || findings[check].Status == "" {
					t.Errorf("%s is %+v", check, findings[check])
				}
			}
			if sees := findings["containers"].Status == "ok"; sees != c.others {
				t.Errorf("it sees other containers: %t, but %+v", !sees, findings["containers"])
			}
			list, _ := run("containers", "-o", "json", "--no-runtime").Output()
			if sees := bytes.Contains(list, []byte(other.id)); sees != c.others {
				t.Errorf("it lists other containers: %t\n%s\n%+v", sees, list, findings["containers"])
			}
		})
	}
}

// An ordinary user's doctor names what is missing, and says so with status 1.
func TestDoctorOfOrdinaryUser(t *testing.T) {
	cmd := exec.Command(copenclose, "doctor", "-o", "json")
	asUser(nobodyElse)(cmd)
	findings, status := doctor(t, cmd)
	if status != 1 {
		t.Errorf("status %d", status)
	}
	for _, check := range []string{"CAP_BPF", "CAP_PERFMON", "tracing"} {
		if findings[check].Status != "missing" {
			t.Errorf("%s is %+v", check, findings[check])
		}
	}
	if says := fmt.Sprint(findings["tracing"]); !strings.Contains(says, "CAP_BPF and CAP_PERFMON") {
		t.Error(says)
	}
}
