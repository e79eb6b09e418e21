// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// matrix is what the machines have in common.
type matrix struct {
	dir    string // cache of kernels, and logs
	image  string // root file system, never written to
	arch   architecture
	accel  string
	goTool string
	limit  time.Duration
	files  []string // go to /t
	args   []string // of the test binary
}

// test boots one release, runs the tests there and reads their results.
func (m matrix) test(ctx context.Context, r release) (res result) {
	res.release, res.kernel = r, r.name
	start := time.Now()
	defer func() { res.took = time.Since(start) }()

	kernel, err := m.fetch(ctx, r)
	if err != nil {
		res.err = err
		return res
	}
	version, err := os.ReadFile(filepath.Join(kernel, "version"))
	if err != nil {
		res.err = err
		return res
	}
	res.version = strings.TrimSpace(string(version))
	if !strings.HasPrefix(res.version, r.line()+".") {
		res.kernel = strings.Join(strings.SplitN(res.version, ".", 3)[:2], ".") + strings.TrimPrefix(r.name, r.line())
	}

	work := filepath.Join(m.dir, "run", r.name)
	logs := filepath.Join(m.dir, "log")
	for _, dir := range []string{work, logs} {
		if res.err = os.MkdirAll(dir, 0o755); res.err != nil {
			return res
		}
	}
	res.consoleLog = filepath.Join(logs, r.name+"-console.log")
	res.testLog = filepath.Join(logs, r.name+"-test.log")
	raw := filepath.Join(work, "test.out")

	initrd := filepath.Join(work, "initrd")
	if res.err = m.writeInitrd(ctx, initrd, kernel, m.runScript(r)); res.err != nil {
		return res
	}
	// A machine that was stopped has results, too.
	for attempt := 1; ; attempt++ {
		began := time.Now()
		res.err = m.boot(ctx, filepath.Join(kernel, "vmlinuz"), r.cmdline, initrd, res.consoleLog, raw)
		ahead := uptime(res.consoleLog) - time.Since(began)
		if ahead < clockJump || attempt == 3 {
			break
		}
		fmt.Fprintf(os.Stderr, "%s: the machine's clock jumped ahead by %s, as it does now and then under emulation; booting it again\n",
			r.name, ahead.Round(time.Second))
	}
	if err := res.read(m.goTool, raw); res.err == nil {
		res.err = err
	}
	return res
}

// clockJump is by how much a guest's clock is ahead of ours when it jumped. Seen
// on 7.2: twice by 429 s, 2^32 ticks of 100 ns, and all time limits were over.
const clockJump = time.Minute

// uptime is the guest's last time stamp on its console, 0 if there is none.
func uptime(console string) time.Duration {
	text, err := os.ReadFile(console)
	if err != nil {
		return 0
	}
	stamps := regexp.MustCompile(`(?m)^\[ *(\d+\.\d+)\]`).FindAllSubmatch(text, -1)
	if len(stamps) == 0 {
		return 0
	}
	seconds, _ := strconv.ParseFloat(string(stamps[len(stamps)-1][1]), 64)
	return time.Duration(seconds * float64(time.Second))
}

// fetching has a mutex for each suite.
var fetching sync.Map

// fetch returns the folder with the release's kernel. It is fetched again when
// the way to fetch it has changed.
func (m matrix) fetch(ctx context.Context, r release) (string, error) {
	// Those of one suite share what the first of them fetches.
	lock, _ := fetching.LoadOrStore(r.suite, &sync.Mutex{})
	lock.(*sync.Mutex).Lock()
	defer lock.(*sync.Mutex).Unlock()
	dir := filepath.Join(m.dir, "kernel", r.suite)
	if newer(filepath.Join(dir, "initramfs.zst"), "test/vm/fetch-kernel", "test/vm/init") {
		return dir, nil
	}
	out, err := exec.CommandContext(ctx, "test/vm/fetch-kernel", r.suite, dir).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kernel %s could not be had from %s: %w\n%s", r.name, r.suite, err, out)
	}
	return dir, nil
}

// newer reports whether the file exists and is younger than all of the others.
func newer(file string, others ...string) bool {
	made, err := os.Stat(file)
	if err != nil {
		return false
	}
	for _, other := range others {
		if from, err := os.Stat(other); err != nil || from.ModTime().After(made.ModTime()) {
			return false
		}
	}
	return true
}

// writeInitrd writes the test files as an uncompressed archive, which the
// kernel wants first, with the kernel's own compressed one behind it.
func (m matrix) writeInitrd(ctx context.Context, initrd, kernel, script string) error {
	stage := initrd + ".tree"
	if err := os.RemoveAll(stage); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(stage, "t"), 0o755); err != nil {
		return err
	}
	names := []string{"t", "t/run"}
	for _, file := range append([]string{"test/vm/guest"}, m.files...) {
		path, err := filepath.Abs(file)
		if err != nil {
			return err
		}
		name := "t/" + filepath.Base(file)
		if err := os.Symlink(path, filepath.Join(stage, name)); err != nil {
			return err
		}
		names = append(names, name)
	}
	if err := os.WriteFile(filepath.Join(stage, "t/run"), []byte(script), 0o755); err != nil {
		return err
	}

	out, err := os.Create(initrd)
	if err != nil {
		return err
	}
	defer out.Close()
	cpio := exec.CommandContext(ctx, "cpio", "--create", "--format=newc", "--dereference", "--owner=0:0", "--quiet")
	cpio.Dir = stage
	cpio.Stdin = strings.NewReader(strings.Join(names, "\n") + "\n")
	cpio.Stdout = out
	cpio.Stderr = os.Stderr
	if err := cpio.Run(); err != nil {
		return fmt.Errorf("archiving the test files: %w", err)
	}
	own, err := os.Open(filepath.Join(kernel, "initramfs.zst"))
	if err != nil {
		return err
	}
	defer own.Close()
	if _, err := io.Copy(out, own); err != nil {
		return err
	}
	return out.Close()
}

// runScript is what the guest runs: the tests, with their marks for test2json,
// and a time limit that leaves room for a goroutine dump.
func (m matrix) runScript(r release) string {
	script := "#!/bin/sh\n" +
		"export COPENCLOSE=/t/copenclose TRIGGER=/t/trigger TRIGGER32=/t/trigger32 COPENCLOSE_VM=1\n" +
		"export EXPECT_ATTACH=" + r.auto + " EXPECT_ATTACHES='" + r.attaches + "'\n"
	if r.podman {
		script += "export PODMAN=1\n"
	}
	script += fmt.Sprintf("exec /t/e2e.test -test.v=test2json -test.timeout=%s", m.limit*9/10)
	// Before ours, so that a -test.run among them holds.
	args := append([]string{"-test.run=" + r.tests, "-test.skip=" + r.skips}, m.args...)
	for _, arg := range args {
		script += " '" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
	}
	return script + "\n"
}

// chooseAccelerator returns the first of QEMU's accelerators that boots a kernel until it
// has no root file system, or else the last. KVM can be there and not work: nested in
// another hypervisor it aborts, or stops at an instruction that it cannot emulate.
func (m matrix) chooseAccelerator(ctx context.Context, accels []string, kernel string) string {
	for _, accel := range accels[:len(accels)-1] {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		args := append(m.arch.qemu[1:len(m.arch.qemu):len(m.arch.qemu)], "-accel", accel, "-m", "512",
			"-nodefaults", "-no-reboot", "-display", "none", "-kernel", kernel,
			"-append", "console="+m.arch.console+" panic=-1", "-serial", "stdio")
		console, err := exec.CommandContext(ctx, m.arch.qemu[0], args...).Output()
		cancel()
		if err == nil && bytes.Contains(console, []byte("Kernel panic")) {
			return accel
		}
	}
	return accels[len(accels)-1]
}

// boot runs a machine until it powers off. The serial line is the
// console; the virtual one has the tests' output and nothing else.
func (m matrix) boot(ctx context.Context, kernel, cmdline, initrd, console, tests string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, m.limit,
		fmt.Errorf("the machine ran for more than %s", m.limit))
	defer cancel()
	args := append(m.arch.qemu[1:len(m.arch.qemu):len(m.arch.qemu)], "-accel", m.accel, "-smp", "2", "-m", "2048",
		"-nodefaults", "-no-reboot", "-display", "none",
		"-kernel", kernel, "-initrd", initrd,
		"-append", strings.TrimSpace("console="+m.arch.console+" quiet panic=-1 "+cmdline),
		"-drive", "file="+m.image+",format=raw,if=virtio,snapshot=on,cache=unsafe",
		"-serial", "file:"+console,
		"-device", "virtio-serial-pci", "-chardev", "file,id=tests,path="+tests, "-device", "virtconsole,chardev=tests")
	qemu := exec.CommandContext(ctx, m.arch.qemu[0], args...)
	out, err := qemu.CombinedOutput()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var notFound *exec.Error
	if errors.As(err, &notFound) {
		return fmt.Errorf("%w (make vm-deps installs it)", err)
	}
	if err != nil {
		return fmt.Errorf("qemu: %w\n%s", err, out)
	}
	return nil
}
