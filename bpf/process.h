/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_PROCESS_H
#define COPENCLOSE_PROCESS_H

#include "totals.h"
#include "trace.h"

/* What happens to a process: it executes a program, and it ends. */

/* The arguments that a program was executed with, as they are in its memory. */
static __always_inline void describe_args(struct slot *slot, struct task_struct *task)
{
	__u64 start = BPF_CORE_READ(task, mm, arg_start);
	__u64 size = BPF_CORE_READ(task, mm, arg_end) - start;

	if (size > ARGS_MAX) {
		slot->details.remarks |= REMARK_ARGS_CUT;
		size = ARGS_MAX;
	}
	barrier_var(size);
	if (!size || bpf_probe_read_user(slot->text, size & (2 * ARGS_MAX - 1), (void *)start))
		return;
	slot->details.text_len = slot->details.given_len = size;
}

#define SIGNAL_GROUP_EXIT 0x4 /* include/linux/sched/signal.h */

/* What wait(2) will return of the process of the last thread. */
static __always_inline __u32 wait_status(struct task_struct *task)
{
	if (task_walk(task, signal, flags) & SIGNAL_GROUP_EXIT)
		return task_walk(task, signal, group_exit_code);
	return task_read(task, exit_code);
}

/* As shells have it: of a signal, 128 more than its number. */
static __always_inline long exit_code(__u32 status)
{
	return status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff;
}

/* Returns whether the filter of paths lets it pass. */
static __always_inline bool describe_event(struct slot *slot, const struct call *call)
{
	struct task_struct *task = call->task;
	struct file *file;

	take_word(&slot->details, task_walk(task, group_leader, start_time));
	if (call->syscall == SYS_exec) {
		describe_args(slot, task);
		file = BPF_CORE_READ(task, mm, exe_file);
		if (file)
			describe_file(slot, file);
	} else {
		slot->details.flags = wait_status(task);
	}
	return !cfg.only_paths || listing_passes(file_listing(slot), cfg.other_paths);
}

static __always_inline void send_process_event(void *ctx, const struct call *call)
{
	struct slot *slot = take_slot();

	if (!slot) {
		count_lost(owner_of_caller());
		return;
	}
	if (!describe_event(slot, call))
		count(filtered);
	else if (!cfg.only_paths || within_rate())
		send_described(ctx, slot, call, 0);
	give_back_slot(slot);
}

static __always_inline int process_event(void *ctx, enum syscall syscall, long ret)
{
	struct task_struct *task = current_task();
	__u32 tool = shared.tool;
	struct call call = {
		.task = task,
		.ret = ret,
		.syscall = syscall,
		.abi = abi_of(task),
		.decoded = true,
	};

	if (!is_traced(&call) || !tool || pid_tgid_of(task) >> 32 == tool)
		return 0;
	if (!caller_passes(task, pid_tgid_of(task)) || !result_passes(ret))
		count(filtered);
	else if (cfg.counting)
		count_call(ctx, &call, NULL, 0);
	else if (!cfg.only_paths && !within_rate())
		return 0;
	else if (USES_SLOTS)
		send_process_event(ctx, &call);
	else
		send_event(ctx, &call);
	return 0;
}

static __always_inline int process_executes(void *ctx)
{
	return process_event(ctx, SYS_exec, 0);
}

/*
 * The last thread of a process; do_exit() has counted it out before. Where two end at
 * once, both may see that.
 */
static __always_inline int process_exits(void *ctx)
{
	if (task_walk(current_task(), signal, live.counter))
		return 0;
	return process_event(ctx, SYS_exit, exit_code(wait_status(current_task())));
}

#endif
