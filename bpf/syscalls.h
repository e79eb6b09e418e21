/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_SYSCALLS_H
#define COPENCLOSE_SYSCALLS_H

/*
 * One row per traced syscall, in the order of syscalls.go: name, then its
 * number on x86-64, i386, arm64 and arm. How its details are found is in
 * describe.h.
 */
#define NONE 0xffff
/* clang-format off */
#define SYSCALLS(ROW)					\
	ROW(open,	2,	5,	NONE,	5)	\
	ROW(openat,	257,	295,	56,	322)	\
	ROW(openat2,	437,	437,	437,	437)	\
	ROW(creat,	85,	8,	NONE,	8)	\
	ROW(accept,	43,	NONE,	202,	285)	\
	ROW(accept4,	288,	364,	242,	366)	\
	ROW(connect,	42,	362,	203,	283)	\
	ROW(close,	3,	6,	57,	6)	\
	ROW(close_range, 436,	436,	436,	436)	\
	ROW(dup2,	33,	63,	NONE,	63)	\
	ROW(dup3,	292,	330,	24,	358)
/* clang-format on */

#define SYSCALL_ENUM(name, ...) SYS_##name,
enum syscall {
	SYSCALLS(SYSCALL_ENUM) SYS_COUNT,
};

/* What socketcall(2) can be; include/uapi/linux/net.h. */
enum socketcall {
	SOCKETCALL_CONNECT = 3,
	SOCKETCALL_ACCEPT = 5,
	SOCKETCALL_ACCEPT4 = 18,
};

#endif
