// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/internal/kernelfs"
)

// AttachModes returns the modes of attaching that there are, cheapest first.
func AttachModes() (all []AttachMode) {
	for _, m := range modes {
		all = append(all, m.mode)
	}
	return all
}

// Release returns the release of the running kernel, and an error if it is too old.
func Release() (release string, err error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "", fmt.Errorf("ask for the kernel's version: %w", err)
	}
	release = unix.ByteSliceToString(name.Release[:])
	_, err = checkRelease(release)
	return release, err
}

// Preemption returns whether the kernel can preempt its own code, how that is known,
// and the modes of attaching that miss no call on this kernel, cheapest first.
func Preemption() (possible bool, because string, exact []AttachMode, err error) {
	k, err := runningKernel()
	if err != nil {
		return true, "", nil, err
	}
	for _, m := range modes {
		if !k.release.before(m.since) && !m.misses(k) {
			exact = append(exact, m.mode)
		}
	}
	return k.preemption.possible, k.preemption.because, exact, nil
}

// LimitsMapMemory reports whether the kernel counts the memory of maps against
// RLIMIT_MEMLOCK, as it did before 5.11.
func LimitsMapMemory() bool {
	k, err := runningKernel()
	return err == nil && k.release.before(version{5, 11})
}

// AsksToReadMaps reports whether the kernel asks for CAP_BPF also where a map that is
// open is read: before 5.19 (c8644cd0efe7, "bpf: refine kernel.unprivileged_bpf_disabled
// behaviour").
func AsksToReadMaps() bool {
	k, err := runningKernel()
	return err != nil || k.release.before(version{5, 19})
}

// Lockdown returns the mode of kernel_lockdown(7): none, integrity or
// confidentiality.
func Lockdown() (mode string, err error) {
	// All modes in a line, with brackets about that which is set.
	text, err := kernelfs.Securityfs.ReadFile("lockdown")
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(string(text), "[")
	mode, _, found := strings.Cut(rest, "]")
	if !found {
		return "", errors.New("lockdown of securityfs has no mode")
	}
	return mode, nil
}

// RefusesFunctions reports whether the kernel takes no programs on functions, which
// fentry and kprobe need.
func RefusesFunctions() bool { return refusesFentry() }
