// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package privilege knows what the tool's capabilities are for, and gives up what it
// does not need any more once it traces.
package privilege

import (
	"fmt"
	"strings"

	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// Use is what a capability (capabilities(7)) is for.
type Use struct {
	Capability cap.Value
	For        string // what the tool does with it
	Lost       string // what does not work without; empty where nothing does
}

// Uses are the capabilities that are of use, in the order of their weight.
var Uses = []Use{
	{cap.BPF, "loads the programs", ""},
	{cap.PERFMON, "attaches the programs", ""},
	{cap.SYS_ADMIN, "enters namespaces, mounts kernel file systems where nobody sees it",
		"hostnames of containers (-c by hostname, containers); where they are not mounted, tracefs, debugfs and cgroup v2"},
	{cap.SYS_PTRACE, "finds namespaces and executables of other users' processes",
		"hostnames of other users' containers (-c by hostname, containers), programs of other users that ran before --program"},
	{cap.DAC_READ_SEARCH, "looks up cgroups by id, reads below private folders",
		"containers whose start was missed, sockets below private folders, tracefs and debugfs where only root may look"},
	{cap.DAC_OVERRIDE, "talks to runtimes of other users", "names from sockets that belong to other users"},
	{cap.SYS_RESOURCE, "raises limits of memory", "tracing with a small RLIMIT_MEMLOCK, as the kernel counts the memory of maps against it before 5.11"},
	{cap.IPC_LOCK, "locks memory", "--buffer perf with buffers beyond kernel.perf_event_mlock_kb"},
}

// Has reports whether this process may use a capability now.
func Has(c cap.Value) bool {
	has, err := cap.GetProc().GetFlag(cap.Effective, c)
	return err == nil && has
}

// Name returns the name of a capability as people write it, like CAP_BPF.
func Name(c cap.Value) string { return strings.ToUpper(c.String()) }

// CheckTracing returns an error that names the capabilities which bpf(2) asks for and
// this process has not. CAP_SYS_ADMIN stands for both of them; before 5.8 it is the
// only one.
func CheckTracing() error {
	if Has(cap.SYS_ADMIN) {
		return nil
	}
	var missing []string
	for _, c := range []cap.Value{cap.BPF, cap.PERFMON} {
		if !Has(c) {
			missing = append(missing, Name(c))
		}
	}
	if missing == nil {
		return nil
	}
	return fmt.Errorf("not permitted to trace without %s: run as root (sudo), or with CAP_BPF and CAP_PERFMON; a container needs --privileged",
		strings.Join(missing, " and "))
}
