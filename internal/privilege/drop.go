// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package privilege

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	"github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// Keep is what the tool still needs once it traces.
type Keep struct {
	ReadMaps   bool     // the kernel asks for CAP_BPF to read a map (before 5.19)
	CgroupIDs  bool     // cgroups are looked up by their ids
	Runtimes   bool     // runtimes are asked, those of other users, too
	Namespaces bool     // namespaces of containers are entered, to read their hostnames
	Programs   bool     // executables of processes are looked up
	Network    bool     // peers are answered and called over IP
	Command    bool     // a program that was started is ended with the tool, also if it has become another user's
	Folders    []string // may be read, with what is below, as those that are open; others may not
}

// capabilities returns those that are kept.
func (k *Keep) capabilities() (kept []cap.Value) {
	for _, c := range []struct {
		needed     bool
		capability cap.Value
	}{
		{k.ReadMaps, cap.BPF},
		{k.CgroupIDs || k.Runtimes, cap.DAC_READ_SEARCH},
		{k.Runtimes, cap.DAC_OVERRIDE},
		{k.Command, cap.KILL},
		{k.Namespaces, cap.SYS_ADMIN},
		{k.Namespaces || k.Programs, cap.SYS_PTRACE},
	} {
		if c.needed && Has(c.capability) {
			kept = append(kept, c.capability)
		}
	}
	return kept
}

// Drop gives up for good what is not kept, on every thread: capabilities, new
// privileges by exec, files by Landlock (5.13), syscalls by seccomp. What one kernel
// cannot do leaves the rest as it is. What was given up, and what was not, goes to
// note, a line each. Programs that were started before keep what they have.
func Drop(k Keep, note func(string)) {
	// seccomp asks for no_new_privs of the thread that sets the filter.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, step := range []struct {
		name string
		take func(Keep) (string, error)
	}{
		{"capabilities", dropCapabilities},
		{"new privileges", dropNewPrivileges},
		{"files", dropFiles},
		{"syscalls", dropSyscalls},
	} {
		what, err := step.take(k)
		if err != nil {
			what = fmt.Sprintf("not given up: %v", err)
		}
		note(step.name + ": " + what)
	}
}

// reachThreads reports whether what is given up on every thread can be: psx finds them
// below /proc by our process id, and waits for them for ever where that is another
// process's.
func reachThreads() error {
	if self, err := os.Readlink("/proc/self"); err == nil && self != strconv.Itoa(os.Getpid()) {
		return errors.New("/proc is of another PID namespace (unshare --mount-proc)")
	}
	return nil
}

func dropCapabilities(k Keep) (string, error) {
	if err := reachThreads(); err != nil {
		return "", err
	}
	kept := k.capabilities()
	set := cap.NewSet()
	err := errors.Join(
		set.SetFlag(cap.Permitted, true, kept...),
		set.SetFlag(cap.Effective, true, kept...),
		set.SetProc())
	if err != nil {
		return "", err
	}
	if kept == nil {
		return "none is left", nil
	}
	var names []string
	for _, c := range kept {
		names = append(names, Name(c))
	}
	return "only " + strings.Join(names, ", ") + " is left", nil
}

// dropNewPrivileges sets no_new_privs, on this thread; seccomp takes it to the others.
func dropNewPrivileges(Keep) (string, error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return "", err
	}
	return "none by a program that is run (no_new_privs)", nil
}

// dropFiles leaves folders to be read. Landlock refuses what asks for the right to
// trace a process outside, as /proc/PID/ns and exe do.
func dropFiles(k Keep) (string, error) {
	switch {
	case k.Namespaces:
		return "", errors.New("the namespaces of containers would be out of reach (Landlock)")
	case k.Programs:
		return "", errors.New("the executables of processes would be out of reach (Landlock)")
	}
	if abi, err := syscall.LandlockGetABIVersion(); err != nil || abi < 1 {
		return "", fmt.Errorf("this kernel has no Landlock: %w", err)
	}
	if err := reachThreads(); err != nil {
		return "", err
	}
	rules := landlock.RODirs(append(openFolders(), k.Folders...)...).IgnoreIfMissing()
	// Later versions scope signals, which the command that is traced gets, and sockets.
	restrict := landlock.V5.BestEffort().Restrict
	if k.Network {
		restrict = landlock.V5.BestEffort().RestrictPaths
	}
	if err := restrict(rules); err != nil {
		return "", err
	}
	return "only " + strings.Join(k.Folders, ", ") + " can be read (Landlock)", nil
}

// openFolders returns the folders that this process has open: what it reads below them,
// it reads through them.
func openFolders() (folders []string) {
	const files = "/proc/self/fd/"
	entries, err := os.ReadDir(files)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if info, err := os.Stat(files + e.Name()); err == nil && info.IsDir() {
			folders = append(folders, files+e.Name())
		}
	}
	return folders
}
