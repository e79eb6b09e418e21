/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_BIRTHS_H
#define COPENCLOSE_BIRTHS_H

#include "call.h"
#include "control.h"
#include "creation.h"
#include "descriptor.h"
#include "fdtable.h"
#include "file.h"
#include "ledger.h"
#include "stacks.h"

/* Whether it is counted what each process makes. */
const volatile bool counts_makers;

/* How many descriptors each process has made, by call. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 14);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct maker);
	__type(value, struct made);
} made SEC(".maps");

static const struct made nothing_made;

struct birth_counts birth_counts SEC(".data.births");

/* 1 + enum creator by number, as in call.h. */
#define CREATOR_OF_NR_64(name, ...) AT(NR_64(__VA_ARGS__)) = 1 + MADE_BY_##name,
#define CREATOR_OF_NR_32(name, ...) AT(NR_32(__VA_ARGS__)) = 1 + MADE_BY_##name,
#define CREATION_OF(name, x86_64, i386, arm64, arm, makes, ...) [MADE_BY_##name] = makes,

static const __u8 creator_64[NUMBERS + 1] = {CREATORS(CREATOR_OF_NR_64)};
static const __u8 creator_32[NUMBERS + 1] = {CREATORS(CREATOR_OF_NR_32) AT(NR_SOCKETCALL) =
						     1 + MADE_BY_COUNT};
/* A power of two, so that a mask keeps an index below it. */
#define CREATORS_MAX 64
_Static_assert(MADE_BY_COUNT <= CREATORS_MAX, "more creators than creation_of has room for");
static const __u8 creation_of[CREATORS_MAX] = {CREATORS(CREATION_OF)};

#define ENFILE 23 /* include/uapi/asm-generic/errno-base.h */

/* NULL if there is no room, or nobody asks. */
static __always_inline struct made *made_by(const struct call *call, __u32 creator)
{
	struct maker maker = {.creator = creator};
	struct made *counts;

	if (!counts_makers)
		return NULL;
	maker.pid = task_read(call->task, tgid);
	counts = bpf_map_lookup_elem(&made, &maker);
	if (counts)
		return counts;
	bpf_map_update_elem(&made, &maker, &nothing_made, BPF_NOEXIST);
	return bpf_map_lookup_elem(&made, &maker);
}

static __always_inline void count_made(const struct call *call, __u32 creator)
{
	struct made *counts = made_by(call, creator);

	if (counts)
		__sync_fetch_and_add(&counts->made, 1);
}

static __always_inline void count_refused(const struct call *call, __u32 creator)
{
	struct made *counts = made_by(call, creator);

	if (counts)
		__sync_fetch_and_add(&counts->refused, 1);
}

/* Notes that a call has made a descriptor, of a new file or of one that there was. */
static __always_inline void note_birth(const struct call *call, __u32 creator, __u32 fd,
				       bool is_new_file)
{
	struct files_struct *files = task_walk(call->task, files);
	struct file *file = file_of(call->task, fd);
	struct birth_key key = {.address = is_new_file ? (__u64)file : (__u64)files,
				.fd = is_new_file ? OF_FILE : fd};
	struct birth birth = {
		.time = bpf_ktime_get_ns(),
		.table = (__u64)files,
		.pid = task_read(call->task, tgid),
		.fd = fd,
		.creator = creator,
	};

	if (!file)
		return;
	birth.identity = is_new_file ? identity_of(file) : (__u64)file;
	if (bpf_map_update_elem(&births, &key, &birth, BPF_ANY)) {
		/* Better nothing than what was there before. */
		bpf_map_delete_elem(&births, &key);
		__sync_fetch_and_add(&birth_counts.lost, 1);
	}
	__sync_fetch_and_add(&birth_counts.noted, 1);
	count_made(call, creator);
	if (has_stacks)
		take_stack(birth.time, (__u64)file, fd, creator);
}

/* Two descriptors that the kernel has put into the caller's memory. */
static __always_inline void note_pair(const struct call *call, __u32 creator, __u64 user_pointer)
{
	__u32 fds[2];

	if (bpf_probe_read_user(fds, sizeof(fds), (void *)(long)user_pointer))
		return;
	note_birth(call, creator, fds[0], true);
	note_birth(call, creator, fds[1], true);
}

/*
 * Descriptors that came with messages, as control.h has them. Functions of their own, so
 * that the verifier looks at them once, not in each round of a loop.
 */
__noinline int note_received(__u32 fd, __u32 creator)
{
	struct call call = {.task = current_task()};

	note_birth(&call, creator, fd, false);
	return 0;
}

__noinline int note_message(__u64 message, __u32 abi, __u32 creator)
{
	for (__u32 n = 0; n < RECEIVED_MAX; n++) {
		__u64 fd = received_fd(message, abi, n);

		if (fd == NOT_RECEIVED)
			break;
		note_received(fd, creator);
	}
	return 0;
}

__noinline int note_messages(__u64 messages, __u32 abi, __u32 num, __u32 creator)
{
	for (__u32 i = 0; i < MESSAGES_MAX && i < num; i++)
		note_message(messages + i * MESSAGE_SIZE(abi), abi, creator);
	return 0;
}

static __always_inline void note_births(struct call *call, __u32 creator)
{
	__u32 index = creator;

	/* 5.10 has forgotten the bound of creator here, and the compiler would know it. */
	barrier_var(index);
	index &= CREATORS_MAX - 1;
	decode_arguments(call);
	if (!makes_descriptors(call, creation_of[index]))
		return;
	switch (creation_of[index]) {
	case COPIES_ONE:
	case COPIES_ONTO:
	case COPIES_BY_COMMAND:
		note_birth(call, creator, call->ret, false);
		return;
	case MAKES_PAIR:
		note_pair(call, creator,
			  creator == MADE_BY_socketpair ? call->arg[3] : call->arg[0]);
		return;
	case RECEIVES:
		note_messages(call->arg[1], call->abi, creator == MADE_BY_recvmsg ? 1 : call->ret,
			      creator);
		return;
	}
	note_birth(call, creator, call->ret, true);
}

static __always_inline __u32 creator_of_socketcall(const struct pt_regs *regs)
{
	switch (ARG_0(regs, ABI_32)) { /* include/uapi/linux/net.h */
	case 1:
		return MADE_BY_socket;
	case 5:
		return MADE_BY_accept;
	case 8:
		return MADE_BY_socketpair;
	case 17:
		return MADE_BY_recvmsg;
	case 18:
		return MADE_BY_accept4;
	case 19:
		return MADE_BY_recvmmsg;
	}
	return MADE_BY_COUNT;
}

/* Every syscall of the machine comes here, so what makes nothing must leave at once. */
static __always_inline int call_returned(const struct pt_regs *regs, long ret)
{
	__u32 nr = syscall_nr(regs), creator;
	struct call call;

	if ((ret < 0 && ret != -EMFILE && ret != -ENFILE) || nr >= NUMBERS ||
	    !(creator_64[nr] | creator_32[nr]))
		return 0;
	call = current_call(ret, SYS_COUNT, abi_of(current_task()), false);
	call.regs = regs;
	creator = (call.abi == ABI_64 ? creator_64[nr] : creator_32[nr]) - 1;
	if (creator == MADE_BY_COUNT) {
		call.socketcall = true;
		creator = creator_of_socketcall(regs);
	}
	if (creator >= MADE_BY_COUNT)
		return 0;
	if (ret < 0)
		count_refused(&call, creator);
	else if (!was_not_made(&call))
		note_births(&call, creator);
	return 0;
}

/*
 * A descriptor that close(2) is about to close. Its record stays: another descriptor
 * can be of the same file.
 */
static __always_inline void count_closed(const struct call *call)
{
	__u32 fd = first_argument(call);
	struct file *file = file_of(call->task, fd);
	struct birth_key key = {.address = (__u64)task_walk(call->task, files), .fd = fd};
	const struct birth *birth;
	struct made *counts;
	__u64 lived;

	if (!file)
		return;
	birth = bpf_map_lookup_elem(&births, &key);
	if (!birth || birth->identity != (__u64)file) {
		__u64 table = key.address;

		key.address = (__u64)file;
		key.fd = OF_FILE;
		birth = bpf_map_lookup_elem(&births, &key);
		if (!birth || birth->identity != identity_of(file) || birth->table != table ||
		    birth->fd != fd)
			return; /* inherited, or from before */
	}
	if (birth->creator >= BEFORE)
		return;
	counts = made_by(call, birth->creator);
	if (!counts)
		return;
	lived = bpf_ktime_get_ns() - birth->time;
	__sync_fetch_and_add(&counts->closed, 1);
	__sync_fetch_and_add(&counts->lived, lived);
	/* Two at once may lose the longer one: it is one of the longest all the same. */
	if (lived > counts->longest)
		counts->longest = lived;
}

static __always_inline int call_entered(const struct pt_regs *regs)
{
	struct call call;

	if (call_from_registers(&call, regs, 0) && call.syscall == SYS_close)
		count_closed(&call);
	return 0;
}

static __always_inline void join_births(struct descriptor *d, struct file *file)
{
	struct origin o = {};

	find_births(&o, d->table, d->fd, file, d->started);
	d->file_time = o.file_time;
	d->opener_table = o.opener_table;
	d->opener_pid = o.opener_pid;
	d->opener_fd = o.opener_fd;
	d->file_creator = o.file_creator;
	d->time = o.time;
	d->creator = o.creator;
}

#endif
