/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_SYSCALLS_H
#define COPENCLOSE_SYSCALLS_H

/*
 * Generated from syscalls.go by go generate ./bpf; do not edit.
 *
 * One row per traced syscall: name, then its number on x86-64, i386, arm64 and arm,
 * the flags that it implies, and the roles of its arguments.
 */
/* clang-format off */
#define NO_NUMBER 0xffff
#define SYSCALLS(ROW) \
	ROW(open, 2, 5, NO_NUMBER, 5, 0, PATH, FLAGS, MODE, UNUSED) \
	ROW(openat, 257, 295, 56, 322, 0, DIRFD, PATH, FLAGS, MODE) \
	ROW(openat2, 437, 437, 437, 437, 0, DIRFD, PATH, HOW, UNUSED) \
	ROW(creat, 85, 8, NO_NUMBER, 8, 01101, PATH, MODE, UNUSED, UNUSED) \
	ROW(accept, 43, NO_NUMBER, 202, 285, 0, FD, UNUSED, UNUSED, UNUSED) \
	ROW(accept4, 288, 364, 242, 366, 0, FD, UNUSED, UNUSED, FLAGS) \
	ROW(connect, 42, 362, 203, 283, 0, FD, ADDRESS, ADDRESS_LEN, UNUSED) \
	ROW(close, 3, 6, 57, 6, 0, FD, UNUSED, UNUSED, UNUSED) \
	ROW(close_range, 436, 436, 436, 436, 0, FD, LAST_FD, FLAGS, UNUSED) \
	ROW(dup2, 33, 63, NO_NUMBER, 63, 0, UNUSED, FD, UNUSED, UNUSED) \
	ROW(dup3, 292, 330, 24, 358, 0, UNUSED, FD, FLAGS, UNUSED)

/* Those that socketcall(2) has, by their number there. */
#define SOCKETCALLS(ROW) \
	ROW(5, accept) \
	ROW(18, accept4) \
	ROW(3, connect)

#define SYSCALL_ENUM(name, ...) SYS_##name,
enum syscall {
	SYSCALLS(SYSCALL_ENUM) SYS_COUNT,
};

/* Sets of syscalls, a bit for each. */
#define BIT(name) (1ULL << SYS_##name)
#define MAKES_FD \
	(BIT(open) | BIT(openat) | BIT(openat2) | BIT(creat) | BIT(accept) | BIT(accept4))
#define CLOSES \
	(BIT(close) | BIT(close_range) | BIT(dup2) | BIT(dup3))
#define IF_CLOSES \
	(BIT(dup2) | BIT(dup3))
#define HAS_PATH \
	(BIT(open) | BIT(openat) | BIT(openat2) | BIT(creat))
#define HAS_ADDRESS \
	(BIT(connect))
/* clang-format on */

#endif
