/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_RECEIPTS_H
#define COPENCLOSE_RECEIPTS_H

#include "control.h"
#include "count.h"
#include "describe.h"
#include "emit.h"
#include "filter.h"
#include "rate.h"
#include "slots.h"
#include "totals.h"

/*
 * Calls that received descriptors. Each of these has a record, as many as can come with one
 * message; of a call that received more, one says how many the others are.
 */

/* What there is to say of a descriptor besides what it is. Frames: see below. */
__noinline int begin_receipt(__u32 slot_number, __u32 fd, __u32 socket, __u32 flags, __u64 latency)
{
	struct slot *slot = slot_of(slot_number);
	struct details *d;
	__u8 remarks;

	if (!cfg.receives || !slot)
		return 0;
	d = &slot->details;
	remarks = d->remarks & REMARK_FURTHER;
	__builtin_memset(d, 0, sizeof(*d));
	d->remarks = remarks;
	d->fd = fd;
	d->other = socket;
	d->flags = flags;
	d->latency = latency;
	fill_process(d, current_task());
	return 0;
}

/*
 * Describes a descriptor. Returns whether there is to be a record of it, and if there is,
 * how long its details are; where there are none, any length.
 */
__noinline int describe_receipt(__u32 slot_number)
{
	struct slot *slot = slot_of(slot_number);
	struct file *file;

	if (!cfg.receives || !slot)
		return 0;
	file = file_of(current_task(), slot->details.fd);
	if (!file)
		return 0;
	if (USES_SLOTS || cfg.counting)
		describe_open_file(slot->number, (__u64)file);
	if (cfg.only_paths && !listing_passes(file_listing(slot), cfg.other_paths)) {
		count(filtered);
		return 0;
	}
	return within_rate() ? put_parts(slot) : 0;
}

/*
 * The ring buffer does not need what only the program itself has, and so the verifier can
 * look at this once, not in each round of a loop.
 */
__noinline int put_on_ring(__u32 slot_number, __u32 size)
{
	struct slot *slot = slot_of(slot_number);

	if (cfg.receives && cfg.use_ring_buffer && slot)
		output_described(NULL, slot, size);
	return 0;
}

static __always_inline void output_receipt(void *ctx, struct slot *slot, __u32 size)
{
	if (!size)
		return;
	if (!SENDS_DETAILS)
		size = 0;
	if (cfg.use_ring_buffer)
		put_on_ring(slot->number, size);
	else
		output_described(ctx, slot, size);
	slot->details.remarks = REMARK_FURTHER;
}

/*
 * How many of a call have a record each. For perf buffers they are fewer, because the
 * verifier looks at what puts each into one, which took that of 5.10 a million instructions
 * for 254.
 */
#define RECEIPT_ROWS (cfg.use_ring_buffer ? RECEIVED_MAX : 32)

/*
 * The functions that follow have frames of their own, and call each other as little as
 * they can, for what describes a file needs much of the 512 bytes that there are.
 */
static __noinline void send_receipts(void *ctx, const struct call *call, __u64 entry_time)
{
	__u32 num = num_messages(call), at = 0, rest, flags;
	__u64 found = 0, latency;
	struct slot *slot;

	slot = take_slot();
	if (!slot) {
		count_many_lost(owner_of_caller(), count_received(call->arg[1], call->abi, num, 0));
		return;
	}
	fill(&slot->event, call);
	if (SENDS_DETAILS)
		slot->event.flags |= FLAG_DETAILS;
	flags = call->syscall == SYS_recvmsg ? call->arg[2] : call->arg[3];
	latency = entry_time ? slot->event.time - entry_time : 0;
	for (int i = 0; i < RECEIPT_ROWS; i++) {
		found = next_received(call->arg[1], call->abi, num, at);
		if (!found)
			break;
		at = found >> 32;
		begin_receipt(slot->number, found, call->arg[0], flags, latency);
		output_receipt(ctx, slot, describe_receipt(slot->number));
	}
	rest = found ? count_received(call->arg[1], call->abi, num, at) : 0;
	if (rest && within_rate()) {
		begin_receipt(slot->number, -1, call->arg[0], flags, latency);
		slot->details.num_closed = rest;
		output_receipt(ctx, slot, sizeof(slot->details));
	}
	give_back_slot(slot);
	if (cfg.use_ring_buffer)
		ring_doorbell();
}

/*
 * How many descriptors are counted, and below these 32 bits one of them, each as likely as
 * any other.
 */
__noinline __u64 choose_receipt(__u32 slot_number, __u64 messages, __u32 abi, __u32 num)
{
	__u32 at = 0, n = 0, chosen = 0;
	__u64 found = 0;

	if (!cfg.receives || !cfg.counting)
		return 0;
	for (int i = 0; i < RECEIVED_MAX; i++) {
		found = next_received(messages, abi, num, at);
		if (!found)
			break;
		at = found >> 32;
		if (cfg.only_paths) {
			begin_receipt(slot_number, found, 0, 0, 0);
			if (!describe_receipt(slot_number))
				continue;
		} else if (!file_of(current_task(), found)) {
			continue;
		}
		n++;
		if (bpf_get_prandom_u32() % n == 0)
			chosen = found;
	}
	if (found && !cfg.only_paths)
		n += count_received(messages, abi, num, at);
	return (__u64)n << 32 | chosen;
}

/* Counts n descriptors. Returns for how many like it one of them is to stand, 0 for none. */
static __noinline __u32 count_receipts(const struct call *call, __u64 entry_time, __u32 n)
{
	struct total_key key = key_of(call);

	add_calls(&key, call, entry_time, n);
	return cfg.samples_max ? n * sample_weight(key.cgroup_id) : 0;
}

static __noinline void sample_receipt(void *ctx, const struct call *call, struct slot *slot,
				      __u32 fd, __u32 weight)
{
	struct total_key key = {.executable = executable_of(executable_file(call->task))};

	begin_receipt(slot->number, fd, call->arg[0], 0, 0);
	if (!describe_receipt(slot->number))
		return;
	fill(&slot->event, call);
	send_sample(ctx, slot, &key, weight);
}

/* Counted is each descriptor that would have a record. */
static __always_inline void choose_and_count(void *ctx, const struct call *call, __u64 entry_time)
{
	struct slot *slot = take_slot();
	__u64 choice;
	__u32 weight;

	if (!slot) {
		count_lost(owner_of_caller());
		return;
	}
	choice = choose_receipt(slot->number, call->arg[1], call->abi, num_messages(call));
	if (choice >> 32) {
		weight = count_receipts(call, entry_time, choice >> 32);
		if (weight)
			sample_receipt(ctx, call, slot, choice, weight);
	}
	give_back_slot(slot);
}

static __noinline bool receiver_passes(const struct call *call)
{
	return caller_passes(call->task, pid_tgid_of(call->task)) && result_passes(call->ret);
}

/* When such a call returns, of which most have received none. */
static __always_inline void receives(void *ctx, struct call *call, __u64 entry_time)
{
	if (received_none(call))
		return;
	if (!receiver_passes(call))
		count(filtered);
	else if (cfg.counting)
		choose_and_count(ctx, call, entry_time);
	else
		send_receipts(ctx, call, entry_time);
}

#endif
