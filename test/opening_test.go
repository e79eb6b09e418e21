// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// executed is a program that was run, and the files that execve opened for it, each the path
// as given and the file, by what the program said.
type executed struct {
	pid   int
	files []string
}

const saysWhatRuns = `readlink /proc/$$/exe; cat /proc/$$/maps`

var elfInterpreter = regexp.MustCompile(`(?m) (/\S*/ld[-.]\S*\.so\S*)$`)

// runShell runs a program that a shell is the interpreter of, which says what it runs.
// opened are the paths that execve was given on the way, with the shell's at the end.
func runShell(t *testing.T, cmd *exec.Cmd, opened ...string) executed {
	t.Helper()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	shell, _, _ := strings.Cut(string(out), "\n")
	loader := elfInterpreter.FindSubmatch(out)
	if loader == nil {
		t.Fatalf("%s is not dynamically linked:\n%s", shell, out)
	}
	last := len(opened) - 1
	files := slices.Clone(opened[:last])
	return executed{cmd.Process.Pid, append(files, opened[last]+" "+shell, string(loader[1])+" "+string(loader[1]))}
}

func script(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// The files that execve opens by itself are shown for who asks, before those that the
// program opens, and nothing of an execve that fails.
func TestAllOpens(t *testing.T) {
	shell, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	dir := realTempDir(t)
	inner := script(t, filepath.Join(dir, "inner"), "#!/bin/sh\n"+saysWhatRuns+"\n")
	outer := script(t, filepath.Join(dir, "outer"), "#!"+inner+" x\n")
	const notThere = "/nonexistent"
	without := script(t, filepath.Join(dir, "without"), "#!"+notThere+"\n")
	onceInVM(everyWay)(t, func(t *testing.T, options ...string) {
		r := start(t, append(options, "-o", "json", "--all-opens", "-s", "openat")...)
		relative := exec.Command("./inner")
		relative.Dir = dir
		ran := []executed{
			runShell(t, exec.Command("/bin/sh", "-c", saysWhatRuns), "/bin/sh"),
			runShell(t, exec.Command("/bin/sh", "-c", fmt.Sprintf("(exec %s); (exec /etc/passwd); %s;", without, notThere)+saysWhatRuns), "/bin/sh"),
			runShell(t, exec.Command(inner), inner, "/bin/sh"),
			runShell(t, relative, "./inner", "/bin/sh"),
			runShell(t, exec.Command(outer), outer, "/bin/sh"),
			runStatic(t, exec.Command(trigger64, "mix", "0"), trigger64+" "+trigger64),
			runStatic(t, exec.Command(trigger32, "mix", "0"), trigger32+" "+trigger32),
			runMemfd(t),
		}
		if below := overlaid(t, shell, trigger64); below != "" {
			sh, static := filepath.Join(below, filepath.Base(shell)), filepath.Join(below, filepath.Base(trigger64))
			ran = append(ran, runShell(t, exec.Command(sh, "-c", saysWhatRuns), sh), runStatic(t, exec.Command(static, "mix", "0"), static+" "+static))
		}
		res := r.stop()
		validate(t, res.stdout)
		for _, e := range ran {
			if err := openedFirst(res.events, e); err != nil {
				t.Errorf("%v\n%s", err, res.summary)
			}
		}
		for _, e := range res.events {
			if e.text("via") == "exec" && slices.Contains([]string{without, "/etc/passwd", notThere}, e.text("path")) {
				t.Errorf("shown of an execve that failed: %v", e)
			}
		}
	})
}

func TestFiltersOfAllOpens(t *testing.T) {
	dir := realTempDir(t)
	path := script(t, filepath.Join(dir, "script"), "#!/bin/sh\n"+saysWhatRuns+"\n")
	for filter, shown := range map[string]func(executed) []string{
		"--path " + dir + "/": func(executed) []string { return []string{path} },
		"--path !" + dir:      func(e executed) []string { return e.files[1:] },
		"--failed":            func(executed) []string { return nil },
	} {
		autoAttach(t, func(t *testing.T, options ...string) {
			r := start(t, slices.Concat(options, []string{"-o", "json", "--all-opens", "-s", "openat"}, strings.Fields(filter))...)
			e := runShell(t, exec.Command(path), path, "/bin/sh")
			res := r.stop()
			if got, want := openedByExec(res.events, e.pid), shown(e); !slices.Equal(got, want) || res.filtered == 0 {
				t.Errorf("with %s: %q, want %q\n%s", filter, got, want, res.summary)
			}
		})
	}
}

// overlaid returns a folder on an overlayfs, as containers have it, with copies of files;
// "" if this kernel has none. Programs there are mapped from other files than they are.
func overlaid(t *testing.T, files ...string) string {
	t.Helper()
	layer, empty, dir := t.TempDir(), t.TempDir(), realTempDir(t)
	for _, f := range files {
		if err := exec.Command("cp", f, layer).Run(); err != nil {
			t.Fatal(err)
		}
	}
	err := unix.Mount("overlay", dir, "overlay", unix.MS_RDONLY, "lowerdir="+layer+":"+empty)
	if errors.Is(err, unix.ENODEV) {
		t.Log("this kernel has no overlayfs")
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// runStatic runs a program that has no ELF interpreter.
func runStatic(t *testing.T, cmd *exec.Cmd, opened ...string) executed {
	t.Helper()
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	return executed{cmd.Process.Pid, opened}
}

// runMemfd runs a program that is in no directory.
func runMemfd(t *testing.T) executed {
	t.Helper()
	fd, err := unix.MemfdCreate("a program", 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "a program")
	defer f.Close()
	program, err := os.ReadFile(trigger64)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(program); err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)
	return runStatic(t, exec.Command(path, "mix", "0"), path+" memfd:a program")
}

// openedByExec are the files that execve opened for a process, as they are shown.
func openedByExec(events []event, pid int) (files []string) {
	for _, e := range events {
		if e.number("pid") == pid && e.text("via") == "exec" {
			files = append(files, strings.TrimSpace(e.text("path")+" "+e.text("file")))
		}
	}
	return files
}

// openedFirst compares what is shown of a process with what it ran.
func openedFirst(events []event, ran executed) error {
	if got := openedByExec(events, ran.pid); !slices.Equal(got, ran.files) {
		return fmt.Errorf("process %d: shown %q, want %q", ran.pid, got, ran.files)
	}
	i := slices.IndexFunc(events, func(e event) bool { return e.number("pid") == ran.pid && e.text("via") == "exec" })
	for _, e := range events[:i] {
		if e.number("pid") == ran.pid && e["ret"] != nil && !strings.HasPrefix(e.text("comm"), "e2e") {
			return fmt.Errorf("process %d: shown before its program: %v", ran.pid, e)
		}
	}
	for _, e := range events[i:] {
		if e.number("pid") != ran.pid || e.text("via") != "exec" {
			continue
		}
		if e.text("syscall") != "openat" || e.text("flags") != "O_RDONLY" || e["fd"] != nil || e["ret"] != nil || e.number("ppid") != os.Getpid() {
			return fmt.Errorf("process %d: shown %v", ran.pid, e)
		}
	}
	return nil
}
