/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_CLOSING_H
#define COPENCLOSE_CLOSING_H

#include "call.h"
#include "count.h"
#include "describe.h"
#include "fdtable.h"
#include "implied.h"
#include "lifetime.h"
#include "slots.h"

/* What a call is going to close, noted when it is entered: later the files are gone. */

#define CLOSE_RANGE_UNSHARE 2 /* include/uapi/linux/close_range.h */

#define LISTED_FROM_FDS 64 /* files of a close_range are listed among so many fds */

/*
 * Appends an open file to the list of those that a close_range closes, as long as there
 * is room; it is described in slot. A function of its own, so that the verifier looks
 * at it once and not for each of the files.
 */
__noinline int list_open_file(__u32 list_number, __u32 slot_number, __u32 fd)
{
	struct slot *list = slot_of(list_number);
	struct slot *slot = slot_of(slot_number);
	struct file *file = file_of(current_task(), fd);
	__u32 at, size;

	if (!list || !slot || !file)
		return 0;
	__builtin_memset(&slot->details, 0, sizeof(slot->details));
	slot->details.fd = fd;
	describe_open_file(slot_number, (__u64)file);
	if (cfg.want_lifetime)
		describe_lifetime(slot, current_task(), fd, file);
	at = list->details.text_len;
	size = (put_parts(slot) + 7) & ~7U;
	if (at > TEXT_MAX || size >= TEXT_MAX)
		return 0;
	barrier_var(at);
	barrier_var(size);
	bpf_probe_read_kernel(&list->text[at & (2 * TEXT_MAX - 1)], size & (TEXT_MAX - 1),
			      &slot->details);
	list->details.text_len = at + size;
	return 0;
}

/*
 * Whether a close_range is going to close what is open there: what follows is what the
 * kernel checks first. Where it must copy a table that is shared it may fail for want of
 * memory, and closes nothing of the one that there was.
 */
static __always_inline bool closes_range(const struct call *call)
{
	__u32 first = call->arg[0], last = call->arg[1], flags = call->arg[2];
	struct files_struct *files = task_walk(call->task, files);

	return call->syscall == SYS_close_range && first <= last &&
	       !(flags & ~CLOSE_RANGE_UNSHARE) && !(flags && kernel_read(files, count.counter) > 1);
}

/* The files that a close_range is going to close. */
static __always_inline void describe_close_range(struct slot *list, const struct call *call)
{
	__u32 first = call->arg[0], last = call->arg[1];
	struct slot *slot;

	list->details.num_closed = count_open_files(first, last);
	slot = list->details.num_closed ? take_slot() : NULL;
	if (!slot)
		return;
	for (__u32 i = 0; i < LISTED_FROM_FDS && i <= last - first; i++)
		list_open_file(list->number, slot->number, first + i);
	give_back_slot(slot);
}

/* Of dup2 and dup3 that replace nothing, nothing is noted. */
static __always_inline struct file *closed_file(const struct call *call)
{
	if (!is_in(call, MAKES_FD))
		return file_of(call->task, call->arg[0]);
	return (__u32)call->arg[0] == (__u32)call->arg[1] ? NULL
							  : file_of(call->task, call->arg[1]);
}

static __always_inline void note_lifetime(struct slot *slot, const struct call *call,
					  struct file *file)
{
	bool is_close = call->syscall == SYS_close;
	__u32 fd = is_close ? call->arg[0] : call->arg[1];

	describe_lifetime(slot, call->task, fd, file);
	if (is_close)
		forget_birth(slot, call->task, fd, file);
}

static __always_inline void note_closing(void *ctx, struct call *call, __u32 tid)
{
	struct file *file = NULL;
	struct slot *slot;

	/* Of a call that was missed when it returned. */
	slot = claim_closing(tid, &(__u64){0});
	if (slot)
		give_back_slot(slot);
	decode_arguments(call);
	if (call->syscall != SYS_close_range)
		file = closed_file(call);
	if (is_in(call, cfg.only_closes) && !file)
		return;
	if (cfg.all_closes && result_passes(0) && closes_range(call))
		send_implied(ctx, call->arg[0], call->arg[1], CLOSED_BY_RANGE);
	slot = take_closing_slot(call, tid);
	if (!slot) {
		if (is_in(call, cfg.only_closes))
			count_lost(owner_of_caller());
		return;
	}
	if (file) {
		describe_file(slot, file);
		if (cfg.want_lifetime)
			note_lifetime(slot, call, file);
	} else if (closes_range(call))
		describe_close_range(slot, call);
}

#endif
