// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/internal/kernelfs"
	"github.com/copenclose/copenclose/internal/privilege"
	"github.com/copenclose/copenclose/internal/tracer"
)

func kernel() Finding {
	release, err := tracer.Release()
	if err != nil {
		return missing("kernel", err.Error(), "", "boot a later kernel")
	}
	return ok("kernel", release+" "+runtime.GOARCH)
}

func btf() Finding {
	size, err := tracer.BTF()
	if err != nil {
		return missing("btf", err.Error(), "", "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y, or mount /sys")
	}
	return ok("btf", fmt.Sprintf("the kernel describes its types, in %.1f MiB", float64(size)/(1<<20)))
}

// lockdown takes what the kernel does for what it says: there are other reasons to
// refuse programs on functions.
func lockdown() Finding {
	mode, err := tracer.Lockdown()
	refuses := privilege.CheckTracing() == nil && tracer.RefusesFunctions()
	const lost = "--attach fentry and kprobe"
	switch {
	case mode == "confidentiality":
		return missing("lockdown", "confidentiality: programs may not read the kernel's memory", "", "boot with lockdown=integrity or none")
	case refuses && mode != "":
		return degraded("lockdown", mode+": the kernel refuses programs on functions", lost, "")
	case refuses:
		return degraded("lockdown", "the kernel refuses programs on functions", lost, "")
	case mode != "":
		return ok("lockdown", mode)
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV):
		return ok("lockdown", "the kernel has none")
	}
	return ok("lockdown", "none that refuses programs on functions")
}

func preemption() Finding {
	possible, because, exact, err := tracer.Preemption()
	var words []string
	for _, w := range exact {
		words = append(words, string(w))
	}
	miss := "ways to attach that miss no call then: " + strings.Join(words, ", ")
	switch {
	case err != nil:
		return missing("preemption", err.Error(), "", "boot a later kernel")
	case !possible:
		return ok("preemption", because+"; "+miss)
	case exact == nil:
		return degraded("preemption", "the kernel can preempt its own code, as "+because, "calls of busy CPUs, whatever the way to attach", "boot with preempt=none or voluntary")
	}
	return ok("preemption", "the kernel can preempt its own code, as "+because+"; "+miss)
}

func tracefs() Finding {
	const file = "events/raw_syscalls/sys_exit/id"
	mount, err := kernelfs.Tracefs.Find(file)
	switch {
	case err == nil && mount != "":
		return ok("tracefs", "mounted on "+mount)
	case err == nil:
		return ok("tracefs", "not mounted; it can be mounted for a moment where nobody sees it")
	}
	return degraded("tracefs", err.Error(), "--attach perf", "mount -t tracefs tracefs /sys/kernel/tracing and run it as root, or give it CAP_SYS_ADMIN")
}

func proc() Finding {
	var where unix.Statfs_t
	if err := unix.Statfs("/proc", &where); err != nil || where.Type != unix.PROC_SUPER_MAGIC {
		return missing("proc", "/proc is not mounted", "", "mount -t proc proc /proc")
	}
	// PROC_PID_INIT_INO of include/linux/proc_ns.h.
	const initialPIDNS = "pid:[4026531836]"
	if ns, err := os.Readlink("/proc/self/ns/pid"); err != nil || ns != initialPIDNS {
		return degraded("proc", "it has the processes of this container only", "PIDs and hostnames of other containers in copenclose containers",
			"docker run --pid=host")
	}
	return ok("proc", "it has all processes of the host")
}
