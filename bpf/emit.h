/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_EMIT_H
#define COPENCLOSE_EMIT_H

#include "call.h"
#include "count.h"
#include "filter.h"
#include "slots.h"

/* Records on their way to the reader. */

static __always_inline void fill(struct event *e, const struct call *call)
{
	__u64 uid_gid = uid_gid_of(call->task);
	__u64 pid_tgid = pid_tgid_of(call->task);

	e->time = bpf_ktime_get_ns();
	e->cgroup_id = cgroup_id_of(call->task);
	e->pid = pid_tgid >> 32;
	e->tid = pid_tgid;
	e->uid = uid_gid;
	e->gid = uid_gid >> 32;
	e->ret = call->ret;
	e->kind = KIND_CALL;
	e->flags = call->flags;
	if (cfg.ignore_host && in_initial_pid_namespace(call->task))
		e->flags |= FLAG_INITIAL_PID_NS;
	e->syscall = call->syscall;
	e->abi = call->abi;
	copy_comm(e->comm, call->task);
	e->hostname[0] = '\0';
	if (cfg.want_hostname)
		copy_hostname(e->hostname, call->task);
}

/* The same of details. */
static __always_inline void fill_process(struct details *d, struct task_struct *task)
{
	d->ppid = task_walk(task, real_parent, tgid);
	if (cfg.want_programs)
		d->program_id = program_id_of(task);
}

/*
 * Wakes the reader if it waits, which it does when it has set reader_waits and
 * then found the ring empty. Called after a submit, which is a full barrier:
 * either the reader has seen the record, or we see that it waits. Only a record
 * can wake it, so there is one that is discarded.
 */
static __always_inline void ring_doorbell(void)
{
	__u64 *nothing;

	if (!shared.reader_waits)
		return;
	nothing = bpf_ringbuf_reserve(&ring, sizeof(*nothing), 0);
	if (!nothing)
		return; /* a full ring is not being waited for */
	shared.reader_waits = 0;
	bpf_ringbuf_discard(nothing, BPF_RB_FORCE_WAKEUP);
}

/* The first bytes of a slot; who waits for a record is not woken yet. */
static __always_inline long output_slot(void *ctx, struct slot *slot, __u32 size)
{
	if (cfg.use_ring_buffer)
		return bpf_ringbuf_output(&ring, slot, size, BPF_RB_NO_WAKEUP);
	return bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, slot, size);
}

/* The same of one whose details have this size, with their text and parts. */
static __always_inline void output_described(void *ctx, struct slot *slot, __u32 size)
{
	if (size >= 2 * TEXT_MAX)
		return;
	barrier_var(size); /* so that the mask stays, for the verifier */
	if (output_slot(ctx, slot, sizeof(slot->event) + (size & (2 * TEXT_MAX - 1))))
		count_callers_lost();
}

static __always_inline long send_slot(void *ctx, struct slot *slot, bool with_details)
{
	__u32 size = sizeof(struct event);
	long err;

	if (with_details) {
		slot->event.flags |= FLAG_DETAILS;
		size += put_parts(slot);
	}
	err = output_slot(ctx, slot, size);
	if (cfg.use_ring_buffer)
		ring_doorbell();
	return err;
}

/*
 * Where nothing else is known of a call, there are details because of its program alone.
 * Returns false if that is lost.
 */
static __always_inline bool send_event_and_program(void *ctx, struct slot *slot, __u64 program_id)
{
	long err;

	if (!slot)
		return false;
	slot->details.program_id = program_id;
	err = send_slot(ctx, slot, true);
	give_back_slot(slot);
	return !err;
}

/* A frame of its own, for there are many callers. */
static __noinline void send_call_and_program(void *ctx, const struct call *call)
{
	struct slot *slot = take_slot();

	if (slot)
		fill(&slot->event, call);
	if (!send_event_and_program(ctx, slot, program_id_of(call->task)))
		count_lost(owner_of_caller());
}

/* An event that is filled in, without details. */
static __always_inline void send_filled(void *ctx, const struct event *event, __u64 owner)
{
	long err;

	if (cfg.use_ring_buffer) {
		err = bpf_ringbuf_output(&ring, (void *)event, sizeof(*event), BPF_RB_NO_WAKEUP);
		ring_doorbell();
	} else {
		err = bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, (void *)event,
					    sizeof(*event));
	}
	if (err)
		count_lost(owner);
}

/* A frame of its own, so that the event is not on the stack under other functions. */
static __noinline void perf_event(void *ctx, const struct call *call)
{
	struct event e;

	__builtin_memset(&e, 0, sizeof(e));
	fill(&e, call);
	if (bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, &e, sizeof(e)))
		count_lost(owner_of_caller());
}

/* A record without a description: the event alone, where its program is not asked for. */
static __always_inline void send_event(void *ctx, const struct call *call)
{
	if (cfg.want_programs) {
		send_call_and_program(ctx, call);
	} else if (cfg.use_ring_buffer) {
		struct event *e = bpf_ringbuf_reserve(&ring, sizeof(*e), 0);

		if (!e) {
			count_lost(owner_of_caller());
			return;
		}
		fill(e, call);
		bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
		ring_doorbell();
	} else {
		perf_event(ctx, call);
	}
}

#endif
