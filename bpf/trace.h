/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_TRACE_H
#define COPENCLOSE_TRACE_H

#include "call.h"
#include "closing.h"
#include "connecting.h"
#include "count.h"
#include "creation.h"
#include "describe.h"
#include "emit.h"
#include "filter.h"
#include "interrupted.h"
#include "rate.h"
#include "receipts.h"
#include "slots.h"
#include "totals.h"

/* What is done with a call when it is entered, when it returns, and when it ends. */

#define WATCHES_CONNECTS \
	(cfg.want_details && (!cfg.only_paths || cfg.other_paths) && cfg.traced & BIT(connect))

/* A record of a call, whose details are in the slot. */
static __always_inline void send_described(void *ctx, struct slot *slot, const struct call *call,
					   __u64 entry_time)
{
	fill(&slot->event, call);
	fill_process(&slot->details, call->task);
	if (entry_time)
		slot->details.latency = slot->event.time - entry_time;
	if (send_slot(ctx, slot, SENDS_DETAILS))
		count_lost(owner_of_caller());
}

/* A record with details, or one whose path decides whether it is sent. */
static __always_inline void send_with_slot(void *ctx, struct call *call, struct slot *slot,
					   __u64 entry_time)
{
	if (!slot)
		slot = take_slot();
	if (!slot) {
		count_lost(owner_of_caller());
		return;
	}
	if (!describe_call(slot, call)) {
		count(filtered);
	} else if (!cfg.only_paths || within_rate()) {
		send_described(ctx, slot, call, entry_time);
	}
	give_back_slot(slot);
}

/* A call whose result is known: filters it and sends it. Its slot, if it has one, is given back. */
static __always_inline void ended(void *ctx, struct call *call, struct slot *slot, __u64 entry_time)
{
	const struct connecting *outcome = NULL;

	if (WATCHES_CONNECTS && call->syscall == SYS_connect)
		outcome = connect_returns(call);
	if (!caller_passes(call->task, pid_tgid_of(call->task)) || !result_passes(call->ret)) {
		count(filtered);
		if (slot)
			give_back_slot(slot);
	} else if (cfg.counting) {
		count_call(ctx, call, slot, entry_time);
	} else if (!cfg.only_paths && !within_rate()) {
		if (slot)
			give_back_slot(slot);
	} else if (USES_SLOTS) {
		send_with_slot(ctx, call, slot, entry_time);
	} else {
		send_event(ctx, call);
	}
	if (outcome)
		send_outcome(ctx, outcome);
}

static __always_inline void send_left(void *ctx, struct call *call, const struct interrupted *noted)
{
	struct slot *slot;

	if (cfg.counting) {
		count_call(ctx, call, NULL, noted->time);
		return;
	}
	if (!cfg.want_details) {
		send_event(ctx, call);
		return;
	}
	slot = take_slot();
	if (!slot) {
		count_lost(owner_of_caller());
		return;
	}
	slot->details.fd = noted->first;
	send_described(ctx, slot, call, noted->time);
	give_back_slot(slot);
}

/*
 * A call that was to be made again, but its handler never returned, or its thread
 * ends. The caller's memory may be gone, or have changed: what the call was about is
 * not recorded.
 */
static __always_inline void left_interrupted(void *ctx, __u32 tid, const struct interrupted *noted)
{
	struct call call = call_from_note(noted, noted->ret);

	if ((cfg.only_paths && !cfg.other_paths) ||
	    !caller_passes(call.task, pid_tgid_of(call.task)) || !result_passes(call.ret))
		count(filtered);
	else if (within_rate())
		send_left(ctx, &call, noted);
	forget_interrupted(tid);
}

static __always_inline void answer_handshake(const struct call *call, __u32 pid)
{
	if (first_argument(call) != cfg.token)
		return;
	shared.tool = pid;
	shared.answered |= 1ULL << call->syscall;
}

static __always_inline __u64 end_entered(__u32 tid)
{
	__u64 *noted = bpf_map_lookup_elem(&entered, &tid);
	__u64 time = noted ? *noted : 0;

	if (noted)
		bpf_map_delete_elem(&entered, &tid);
	return time;
}

/* Every call comes through here when it returns, however it was caught. */
static __always_inline int returned(void *ctx, struct call *call)
{
	__u64 pid_tgid, first, entry_time = 0;
	struct slot *slot = NULL;
	__u32 tid, tool;

	if (!is_traced(call))
		return 0;
	pid_tgid = pid_tgid_of(call->task);
	tid = pid_tgid;
	tool = shared.tool;
	if (!tool || pid_tgid >> 32 == tool) {
		answer_handshake(call, pid_tgid >> 32);
		return 0;
	}
	if (cfg.receives && is_in(call, RECEIVES_FDS)) {
		receives(ctx, call, cfg.want_latency ? end_entered(tid) : 0);
		return 0;
	}
	if (makes_nothing(call))
		return 0;
	if (USES_SLOTS && closes(call))
		slot = claim_closing(tid, &entry_time);
	else if (cfg.want_latency)
		entry_time = end_entered(tid);
	if (is_in(call, cfg.only_closes) && (!slot || call->ret < 0)) {
		if (slot)
			give_back_slot(slot);
		return 0;
	}
	if (!slot && is_interrupted(call->ret) && note_interrupted(call, tid, entry_time))
		return 0;
	if (shared.interrupted && (first = end_interrupted(call, tid)))
		entry_time = first;
	ended(ctx, call, slot, entry_time);
	return 0;
}

/* Notes what is gone or unknown when the call returns. */
static __always_inline int called(void *ctx, struct call *call)
{
	__u64 pid_tgid, time;
	__u32 tid, tool;

	if (!is_traced(call) || !(cfg.want_latency || (USES_SLOTS && closes(call))))
		return 0;
	pid_tgid = pid_tgid_of(call->task);
	tid = pid_tgid;
	tool = shared.tool;
	if (!tool || pid_tgid >> 32 == tool || !caller_passes(call->task, pid_tgid))
		return 0;
	if (USES_SLOTS && closes(call)) {
		note_closing(ctx, call, tid);
	} else if (cfg.want_latency) {
		time = bpf_ktime_get_ns();
		bpf_map_update_elem(&entered, &tid, &time, BPF_ANY);
	}
	return 0;
}

/* The end of a call that was noted by note_interrupted(). */
static __always_inline void interrupted_ends(void *ctx, __u32 tid, const struct interrupted *noted,
					     long ret)
{
	struct call call = call_from_note(noted, ret);
	__u64 time = noted->time;

	forget_interrupted(tid);
	ended(ctx, &call, NULL, time);
}

/* When a signal is delivered to the current task. */
static __always_inline int signal_delivered(void *ctx, int signal, struct k_sigaction *action)
{
	struct interrupted *noted;
	enum delivery delivery;
	__u32 tid;

	if (!shared.interrupted)
		return 0;
	tid = pid_tgid_of(current_task());
	noted = bpf_map_lookup_elem(&interrupted, &tid);
	if (!noted || noted->restarts)
		return 0;
	delivery = delivery_of(signal, action, noted);
	if (delivery == DELIVERY_RESTARTS)
		noted->restarts = true;
	else if (delivery != DELIVERY_NOTHING)
		interrupted_ends(ctx, tid, noted, delivery == DELIVERY_ENDS ? -EINTR : noted->ret);
	return 0;
}

/* When a thread ends. */
static __always_inline void end_interrupted_calls(void *ctx, struct task_struct *task)
{
	__u32 tid = task->pid;
	struct interrupted *noted;

	if (!shared.interrupted)
		return;
	noted = bpf_map_lookup_elem(&interrupted, &tid);
	if (noted)
		left_interrupted(ctx, tid, noted);
}

#endif
