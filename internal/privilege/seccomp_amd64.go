// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package privilege

import "golang.org/x/sys/unix"

const (
	auditArch = unix.AUDIT_ARCH_X86_64
	x32Bit    = 1 << 30 // __X32_SYSCALL_BIT
)

// archSyscalls are older forms of others, which the C library and Go call here.
var archSyscalls = []uintptr{
	unix.SYS_EPOLL_WAIT, unix.SYS_NEWFSTATAT, unix.SYS_STAT, unix.SYS_LSTAT, unix.SYS_ACCESS, unix.SYS_READLINK,
	unix.SYS_POLL, unix.SYS_ARCH_PRCTL, unix.SYS_TIME,
}
