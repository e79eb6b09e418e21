/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_FDTABLE_H
#define COPENCLOSE_FDTABLE_H

#include "call.h"

/* How many fds the current task has open, and may have. */

#define COUNTED_WORDS 16384 /* of 64 fds, as far as open ones are counted */
#define COUNTED_UNROLLED 64 /* before 6.4, see path.h */

/* Word at of the bits of open fds, those from first to last. */
static __always_inline unsigned long open_word(struct fdtable *table, __u32 first, __u32 last,
					       __u32 at)
{
	unsigned long *words = kernel_read(table, open_fds), word = 0;

	bpf_probe_read_kernel(&word, sizeof(word), &words[at]);
	if (at == first / 64)
		word &= ~0UL << (first & 63);
	if (at == last / 64)
		word &= ~0UL >> (63 - (last & 63));
	return word;
}

/* How many fds of this task are open from first to last. */
__noinline int count_open_files(__u32 first, __u32 last)
{
	struct fdtable *table = task_walk(current_task(), files, fdt);
	__u32 end = kernel_read(table, max_fds) / 64, n = 0;
	int i;

	if (end > last / 64)
		end = last / 64 + 1;
	if (bpf_ksym_exists(bpf_iter_num_new)) {
		bpf_for (i, 0, COUNTED_WORDS) {
			if (first / 64 + i >= end)
				break;
			n += __builtin_popcountl(open_word(table, first, last, first / 64 + i));
		}
		return n;
	}
	for (i = 0; i < COUNTED_UNROLLED && first / 64 + i < end; i++)
		n += __builtin_popcountl(open_word(table, first, last, first / 64 + i));
	return n;
}

#define EMFILE 24	/* include/uapi/asm-generic/errno-base.h */
#define RLIMIT_NOFILE 7 /* include/uapi/asm-generic/resource.h */

/*
 * Of a call that found no room for its fd. The kernel takes the lowest that is free, so
 * where all that are counted are open, all below the limit are.
 */
static __always_inline void describe_limit(struct details *d, const struct call *call)
{
	__u64 limit = task_walk(call->task, signal, rlim[RLIMIT_NOFILE].rlim_cur);
	__u32 counted = bpf_ksym_exists(bpf_iter_num_new) ? COUNTED_WORDS : COUNTED_UNROLLED;

	if (limit > 0xffffffff)
		limit = 0xffffffff;
	d->last_fd = limit;
	d->num_closed = count_open_files(0, 0xffffffff);
	if (d->num_closed == counted * 64)
		d->num_closed = limit;
}

#endif
