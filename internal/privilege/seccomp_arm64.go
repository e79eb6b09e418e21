// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package privilege

import "golang.org/x/sys/unix"

const (
	auditArch = unix.AUDIT_ARCH_AARCH64
	x32Bit    = 0
)

// archSyscalls are other names of syscalls here.
var archSyscalls = []uintptr{unix.SYS_FSTATAT}
