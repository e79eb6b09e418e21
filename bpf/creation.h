/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_CREATION_H
#define COPENCLOSE_CREATION_H

#include "call.h"

/* Which calls make descriptors, of syscalls that do it for some arguments only. */

/* Commands of bpf(2) that return a descriptor; include/uapi/linux/bpf.h. */
#define BPF_COMMANDS                                                                             \
	(1ULL << BPF_MAP_CREATE | 1ULL << BPF_PROG_LOAD | 1ULL << BPF_OBJ_GET |                  \
	 1ULL << BPF_PROG_GET_FD_BY_ID | 1ULL << BPF_MAP_GET_FD_BY_ID |                          \
	 1ULL << BPF_RAW_TRACEPOINT_OPEN | 1ULL << BPF_BTF_LOAD | 1ULL << BPF_BTF_GET_FD_BY_ID | \
	 1ULL << BPF_LINK_CREATE | 1ULL << BPF_LINK_GET_FD_BY_ID | 1ULL << BPF_ENABLE_STATS |    \
	 1ULL << BPF_ITER_CREATE | 1ULL << BPF_TOKEN_CREATE)

#define F_DUPFD 0 /* asm-generic/fcntl.h, linux/fcntl.h */
#define F_DUPFD_CLOEXEC 1030

/* Whether a call that does not fail makes some. */
static __always_inline bool makes_descriptors(const struct call *call, enum creation creation)
{
	const __u64 *arg = call->arg;

	switch (creation) {
	case MAKES_SIGNALFD: /* else it changes the one that it was given */
		return (__s32)arg[0] == -1;
	case MAKES_BY_COMMAND:
		return (__u32)arg[0] < 64 && BPF_COMMANDS >> (arg[0] & 63) & 1;
	case MAKES_WITHOUT_FLAGS: /* with one, landlock_create_ruleset(2) returns a version */
		return !(__u32)arg[2];
	case COPIES_ONTO:
		return (__u32)arg[0] != (__u32)arg[1];
	case COPIES_BY_COMMAND:
		return (__u32)arg[1] == F_DUPFD || (__u32)arg[1] == F_DUPFD_CLOEXEC;
	default:
		return true;
	}
}

#define CREATION_OF_SYSCALL(name, x86_64, i386, arm64, arm, makes, ...) [SYS_##name] = makes,

static const __u8 creation_of_syscall[64] = {SYSCALLS(CREATION_OF_SYSCALL)};

/* A call that makes no descriptor, of a syscall that is traced because others do. */
static __always_inline bool makes_nothing(struct call *call)
{
	if (!is_in(call, MAKES_SOMETIMES))
		return false;
	decode_arguments(call);
	return !makes_descriptors(call, creation_of_syscall[call->syscall & 63]);
}

#endif
