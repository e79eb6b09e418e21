// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const vmlinuxBTF = "/sys/kernel/btf/vmlinux"

// oldest is the first kernel that the programs can run on: fentry, tp_btf and
// maps that can be mapped came with 5.5.
var oldest = version{5, 5}

type version struct{ major, minor int }

func (v version) String() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }

func (v version) before(w version) bool {
	return v.major < w.major || v.major == w.major && v.minor < w.minor
}

// kernel is what must be known of the running kernel.
type kernel struct {
	release    version
	preemption preemption
}

// checkKernel finds what is missing, so that the user gets a reason instead of a bare
// errno.
func checkKernel() (k kernel, err error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return k, fmt.Errorf("ask for the kernel's version: %w", err)
	}
	if k.release, err = checkRelease(unix.ByteSliceToString(name.Release[:])); err != nil {
		return k, err
	}
	if err := checkBTF(vmlinuxBTF); err != nil {
		return k, err
	}
	if err := checkCapabilities(); err != nil {
		return k, err
	}
	k.preemption = preemptionOf(unix.ByteSliceToString(name.Version[:]), readPreemptionMode)
	return k, nil
}

func checkRelease(release string) (version, error) {
	v, err := parseRelease(release)
	if err != nil {
		return v, err
	}
	if v.before(oldest) {
		return v, fmt.Errorf("kernel %s is too old: copenclose needs %s or later", release, oldest)
	}
	return v, nil
}

// parseRelease reads the first two numbers of a release like 6.1.0-49-cloud-amd64.
func parseRelease(release string) (version, error) {
	major, rest, _ := strings.Cut(release, ".")
	minor := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	var v version
	var err1, err2 error
	v.major, err1 = strconv.Atoi(major)
	v.minor, err2 = strconv.Atoi(minor)
	if err := errors.Join(err1, err2); err != nil {
		return version{}, fmt.Errorf("kernel release %q is not like 6.1: %w", release, err)
	}
	return v, nil
}

func checkBTF(path string) error {
	_, err := os.Stat(path)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("no %s: copenclose needs a kernel built with CONFIG_DEBUG_INFO_BTF=y, and /sys mounted", path)
	}
	return fmt.Errorf("look for the kernel's BTF: %w", err)
}

// checkCapabilities asks for what bpf(2) asks for: CAP_SYS_ADMIN, or from 5.8 on
// CAP_BPF and CAP_PERFMON.
func checkCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("ask for our capabilities: %w", err)
	}
	has := func(capability int) bool {
		return sets[capability/32].Effective&(1<<(capability%32)) != 0
	}
	if has(unix.CAP_SYS_ADMIN) || has(unix.CAP_BPF) && has(unix.CAP_PERFMON) {
		return nil
	}
	return errPrivilege
}

var errPrivilege = errors.New("not permitted to trace: run as root (sudo), or with CAP_BPF and CAP_PERFMON; a container needs --privileged")

// explain adds what the user can do to what the kernel refused, although the
// capabilities are there.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("the kernel does not permit it (a locked-down kernel takes --attach tracepoint and perf, a container needs --privileged): %w", err)
	case errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("no memory for the buffer, try a smaller --buffer-size: %w", err)
	}
	return fmt.Errorf("cannot trace on this kernel (--verbose tells more): %w", err)
}
