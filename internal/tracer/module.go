// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

// #include <bpf/libbpf.h>
import "C"

import (
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/aquasecurity/libbpfgo"
	"golang.org/x/sys/unix"
)

// OpenModule reads a compiled object for others that load programs, after it has
// checked that this kernel and our capabilities can do it. libbpf's words go to verbose.
func OpenModule(name string, object func(io.Writer) error, verbose *log.Logger) (*libbpfgo.Module, error) {
	if _, err := checkKernel(); err != nil {
		return nil, err
	}
	return openModule(name, object, verbose)
}

// openModule reads a compiled object. It goes through a file in memory: libbpfgo
// raises RLIMIT_MEMLOCK when it opens a buffer, which fails without
// CAP_SYS_RESOURCE; so opened, it leaves that to libbpf, which knows whether the
// kernel needs it (before 5.11).
func openModule(name string, object func(io.Writer) error, verbose *log.Logger) (*libbpfgo.Module, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if err := object(f); err != nil {
		return nil, err
	}
	libbpfgo.SetLoggerCbs(libbpfgo.Callbacks{
		Log: func(_ int, msg string) { verbose.Print(strings.TrimRight(msg, "\n")) },
	})
	module, err := libbpfgo.NewModuleFromFileArgs(libbpfgo.NewModuleArgs{
		BPFObjPath:      fmt.Sprintf("/proc/self/fd/%d", fd),
		SkipMemlockBump: true,
	})
	if err != nil {
		return nil, fmt.Errorf("open the BPF object: %w", err)
	}
	if verbose.Writer() == io.Discard {
		C.libbpf_set_print(nil) // some 10,000 messages while it is loaded take 20 ms
	}
	return module, nil
}
