// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"github.com/copenclose/copenclose/internal/privilege"
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
	if k, err = runningKernel(); err != nil {
		return k, err
	}
	if _, err := BTF(); err != nil {
		return k, err
	}
	if err := privilege.CheckTracing(); err != nil {
		return k, err
	}
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		return k, fmt.Errorf("/proc is not mounted (mount -t proc proc /proc): %w", err)
	}
	return k, nil
}

// runningKernel returns what the kernel says of itself, or an error if it is too old.
func runningKernel() (k kernel, err error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return k, fmt.Errorf("ask for the kernel's version: %w", err)
	}
	if k.release, err = checkRelease(unix.ByteSliceToString(name.Release[:])); err != nil {
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

// BTF returns the size of the kernel's description of its types, in bytes, and an
// error if it has none or it is broken.
func BTF() (size int64, err error) { return checkBTF(vmlinuxBTF) }

// btfHeader is struct btf_header of include/uapi/linux/btf.h.
type btfHeader struct {
	Magic                        uint16
	Version, Flags               uint8
	Length                       uint32
	TypesAt, Types, TextAt, Text uint32
}

const btfMagic = 0xeb9f

// checkBTF looks at the header alone: libbpf reads the rest, and says of what is
// broken only that an argument is invalid.
func checkBTF(path string) (size int64, err error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return 0, fmt.Errorf("no %s: copenclose needs a kernel built with CONFIG_DEBUG_INFO_BTF=y, and /sys mounted", path)
	case err != nil:
		return 0, fmt.Errorf("open the kernel's BTF: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("stat the kernel's BTF: %w", err)
	}
	var h btfHeader
	err = binary.Read(f, binary.NativeEndian, &h)
	switch {
	case err != nil || h.Magic != btfMagic:
		return 0, fmt.Errorf("%s is not BTF", path)
	case int64(h.Length)+int64(h.TextAt)+int64(h.Text) > info.Size() || int64(h.Length)+int64(h.TypesAt)+int64(h.Types) > info.Size():
		return 0, fmt.Errorf("%s is broken: it has %d bytes and speaks of more", path, info.Size())
	}
	return info.Size(), nil
}

// Refusal is what the kernel refused although the capabilities are there, with what
// the user can do.
type Refusal struct {
	Advice string
	Err    error
}

func (r *Refusal) Error() string { return r.Advice + ": " + r.Err.Error() }

func (r *Refusal) Unwrap() error { return r.Err }

// explain adds what the user can do to what the kernel refused.
func (k kernel) explain(err error) error {
	switch {
	case errors.Is(err, errPerfMemory):
		return &Refusal{"the perf buffers are larger than the kernel lets this user lock in memory; try a smaller --buffer-size, CAP_IPC_LOCK, " +
			"or a larger kernel.perf_event_mlock_kb", err}
	case errors.Is(err, unix.EPERM) && k.release.before(version{5, 11}) && !privilege.Has(cap.SYS_RESOURCE):
		return &Refusal{"the kernel does not permit it; before 5.11 memory for the programs counts against RLIMIT_MEMLOCK (ulimit -l unlimited, or CAP_SYS_RESOURCE)", err}
	case errors.Is(err, unix.EPERM):
		return &Refusal{"the kernel does not permit it (a locked-down kernel takes --attach tracepoint and perf, a container needs --privileged)", err}
	case errors.Is(err, unix.ENOMEM):
		return &Refusal{"no memory for the programs or the buffer, try a smaller --buffer-size (copenclose doctor says what limits it)", err}
	}
	return &Refusal{"cannot trace on this kernel (--verbose and copenclose doctor say more)", err}
}
