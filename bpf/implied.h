/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_IMPLIED_H
#define COPENCLOSE_IMPLIED_H

#include "count.h"
#include "describe.h"
#include "emit.h"
#include "fdtable.h"
#include "filter.h"
#include "ledger.h"
#include "lifetime.h"
#include "maps.h"
#include "rate.h"
#include "slots.h"

/*
 * Closes that no call is for: by exit, by exec, and each of those of a close_range. They
 * are recorded while the files are still there, as closes that say what implied them.
 *
 * Of one table the first IMPLIED_ROWS have a record each, and one more has how many others
 * there were: who makes a million descriptors and exits holds nobody up.
 */
#define IMPLIED_ROWS 128

/*
 * Bits are looked at in blocks, by a function that the verifier looks at once, for
 * iterators come with 6.4, see path.h. Together they are more fds than fs.nr_open allows,
 * unless somebody has raised it.
 */
#define BLOCK_WORDS 512
#define BLOCK_FDS (64 * BLOCK_WORDS)
#define BLOCKS 256

/* Word at of the bits of fds that are closed. */
static __always_inline unsigned long implied_word(struct fdtable *table, __u32 first, __u32 last,
						  __u32 at, enum closer closer)
{
	unsigned long word = open_word(table, first, last, at), cloexec = 0;

	if (closer != CLOSED_BY_EXEC)
		return word;
	bpf_probe_read_kernel(&cloexec, sizeof(cloexec), &kernel_read(table, close_on_exec)[at]);
	return word & cloexec;
}

/* The last fd up to this one that the current task's table has room for. */
static __always_inline __u32 last_in_table(__u32 last)
{
	__u32 end = task_walk(current_task(), files, fdt, max_fds);

	return last < end ? last : end - 1;
}

/* Returns the next fd from first to last that is closed, negative if this block has none. */
__noinline int next_in_block(__u32 first, __u32 last, __u32 closer)
{
	struct fdtable *table = task_walk(current_task(), files, fdt);

	if (!cfg.all_closes)
		return -1;
	for (__u32 at = first / 64, i = 0; i < BLOCK_WORDS && at <= last / 64; at++, i++) {
		unsigned long word = implied_word(table, first, last, at, closer);

		if (word) /* the position of its lowest bit */
			return 64 * at + __builtin_popcountl((word & -word) - 1);
	}
	return -1;
}

/* The same of the whole table. */
__noinline int next_implied(__u32 first, __u32 last, __u32 closer)
{
	if (!cfg.all_closes)
		return -1;
	for (int i = 0; i < BLOCKS && first <= last; i++) {
		int fd = next_in_block(first, last, closer);

		if (fd >= 0)
			return fd;
		first = (first & ~63U) + BLOCK_FDS;
	}
	return -1;
}

__noinline int count_block(__u32 first, __u32 last, __u32 closer)
{
	struct fdtable *table = task_walk(current_task(), files, fdt);
	__u32 n = 0;

	if (!cfg.all_closes)
		return 0;
	for (__u32 at = first / 64, i = 0; i < BLOCK_WORDS && at <= last / 64; at++, i++)
		n += __builtin_popcountl(implied_word(table, first, last, at, closer));
	return n;
}

/* How many fds from first to last are closed. */
__noinline int count_implied(__u32 first, __u32 last, __u32 closer)
{
	__u32 n = 0;

	if (!cfg.all_closes)
		return 0;
	for (int i = 0; i < BLOCKS && first <= last; i++) {
		n += count_block(first, last, closer);
		first = (first & ~63U) + BLOCK_FDS;
	}
	return n;
}

static __always_inline void begin_implied(struct slot *slot, __u32 fd, enum closer closer)
{
	struct details *d = &slot->details;

	__builtin_memset(d, 0, sizeof(*d));
	fill_process(d, current_task());
	d->fd = fd;
	d->by = closer;
}

/*
 * Describes a file that is closed. Returns how long its details are, 0 if there is to be
 * no record of it.
 */
__noinline int describe_implied(__u32 slot_number, __u32 fd, __u32 closer)
{
	struct task_struct *task = current_task();
	struct slot *slot = slot_of(slot_number);
	struct file *file;

	if (!cfg.all_closes || !slot)
		return 0;
	begin_implied(slot, fd, closer);
	file = file_of(task, fd);
	if (!file)
		return 0;
	describe_open_file(slot_number, (__u64)file);
	if (cfg.want_lifetime)
		describe_lifetime(slot, task, fd, file);
	if (cfg.only_paths && !listing_passes(file_listing(slot), cfg.other_paths)) {
		count(filtered);
		return 0;
	}
	return within_rate() ? put_parts(slot) : 0;
}

static __always_inline void output_implied(void *ctx, struct slot *slot, __u32 size)
{
	if (size)
		output_described(ctx, slot, size);
}

/* A frame of its own, and code that is there once. */
static __noinline void send_implied(void *ctx, __u32 first, __u32 last, enum closer closer)
{
	struct call call = {
		.task = current_task(),
		.syscall = SYS_close,
		.abi = abi_of(current_task()),
	};
	struct slot *slot;
	__u32 rest;
	int fd;

	last = last_in_table(last);
	fd = next_implied(first, last, closer);
	if (fd < 0)
		return;
	slot = take_slot();
	if (!slot) {
		count_many_lost(owner_of_caller(), count_implied(first, last, closer));
		return;
	}
	fill(&slot->event, &call);
	slot->event.flags |= FLAG_DETAILS;
	for (int i = 0; i < IMPLIED_ROWS && fd >= 0; i++) {
		output_implied(ctx, slot, describe_implied(slot->number, fd, closer));
		first = fd + 1;
		fd = next_implied(first, last, closer);
	}
	rest = fd < 0 ? 0 : count_implied(first, last, closer);
	if (rest && within_rate()) {
		begin_implied(slot, -1, closer);
		slot->details.num_closed = rest;
		output_implied(ctx, slot, sizeof(slot->details));
	}
	give_back_slot(slot);
	if (cfg.use_ring_buffer)
		ring_doorbell();
}

/* Of those whose last threads end at once: whether their closes are recorded. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct ended_process);
	__type(value, __u8);
} ended_tables SEC(".maps");

#define THREADS_WALKED 256
#define MANY_THREADS 0x7fffffff

#define word_of(base, type, field) \
	word_at((void *)(base) + bpf_core_field_offset(struct type, field))

/*
 * Whether a thread has a table, or leaves it: exit_files() takes it from the thread first,
 * and then the thread from files_struct.count. A function of its own, so that the verifier
 * does not go all ways through the loop below.
 */
__noinline int has_table(__u64 thread, __u64 files)
{
	__u64 its = word_of(thread, task_struct, files);

	return its == files || (!its && !(__u32)word_of(thread, task_struct, exit_state));
}

/*
 * How many threads of this process have its table, those that end among them; MANY_THREADS
 * if it has more than are walked. Pointers are read as numbers, because a function takes
 * no others.
 */
__noinline int count_holders(void)
{
	__u64 files = word_of(current_task(), task_struct, files);
	__u64 signal = word_of(current_task(), task_struct, signal);
	__u64 head = signal + bpf_core_field_offset(struct signal_struct, thread_head);
	__u64 at = word_of(head, list_head, next);
	__u32 n = 0;

	if (!cfg.all_closes)
		return 0;
	for (int i = 0; i < THREADS_WALKED && at != head; i++) {
		n += has_table(at - bpf_core_field_offset(struct task_struct, thread_node), files);
		at = word_of(at, list_head, next);
	}
	return at == head ? n : MANY_THREADS;
}

/*
 * Whether the current task, which ends, is the one to record what becomes of its table.
 * All threads of the process have ended but for what is left to do, and no other process
 * has the table (CLONE_FILES). Where threads end at once, more than one may see that, and
 * the first is the one. Threads are counted before who has the table, because they leave
 * it meanwhile.
 */
static __always_inline bool ends_table(struct task_struct *task)
{
	struct files_struct *files = task_walk(task, files);
	struct ended_process process = {
		.started = task_walk(task, group_leader, start_time),
		.pid = task_read(task, tgid),
	};
	__u32 holders;

	if (!files || !is_last_thread(task))
		return false;
	holders = kernel_read(files, count.counter) > 1 ? count_holders() : 1;
	if (kernel_read(files, count.counter) > holders)
		return false;
	if (holders == 1)
		return !bpf_map_lookup_elem(&ended_tables, &process);
	return !bpf_map_update_elem(&ended_tables, &process, &(__u8){1}, BPF_NOEXIST);
}

static __always_inline int closes_by_exit(void *ctx)
{
	struct task_struct *task = current_task();

	if (cfg.all_closes && event_passes(task) && ends_table(task))
		send_implied(ctx, 0, 0xffffffff, CLOSED_BY_EXIT);
	return 0;
}

static __always_inline int closes_by_exec(void *ctx)
{
	if (cfg.all_closes && event_passes(current_task()))
		send_implied(ctx, 0, 0xffffffff, CLOSED_BY_EXEC);
	return 0;
}

#endif
