/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_PROCESS_H
#define COPENCLOSE_PROCESS_H

#include "totals.h"
#include "trace.h"

/*
 * What happens to a process: it is forked, it executes a program, and it ends. That is
 * recorded in two ways. A row of exec or exit is one as of a call, and passes the filters
 * as a call does. Where the tool is to know what every process runs (cfg.want_programs),
 * there is a record of its own of all that happens to any process, from when the programs
 * are attached. They come through the same buffer as the rows, so that the tool knows a
 * program before the first call that it makes.
 */

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

static __always_inline void describe_program(struct slot *slot, struct task_struct *task)
{
	struct file *file = BPF_CORE_READ(task, mm, exe_file);

	describe_args(slot, task);
	if (file)
		describe_file(slot, file);
}

/* Returns whether the filter of paths lets it pass. */
static __always_inline bool describe_event(struct slot *slot, const struct call *call)
{
	struct task_struct *task = call->task;

	take_word(&slot->details, task_walk(task, group_leader, start_time));
	if (call->syscall == SYS_exec)
		describe_program(slot, task);
	else
		slot->details.flags = wait_status(task);
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
#define EEXIST 17 /* asm-generic/errno-base.h */

/* Whether no other thread has been the last one of its process. */
static __always_inline bool is_first_end(struct task_struct *task)
{
	struct ended_process process = {
		.started = task_walk(task, group_leader, start_time),
		.pid = task->tgid,
	};
	__u8 nothing = 0;

	return bpf_map_update_elem(&ended_processes, &process, &nothing, BPF_NOEXIST) != -EEXIST;
}

static __always_inline int process_exits(void *ctx, struct task_struct *task)
{
	if (!(cfg.traced & BIT(exit)) || !is_first_end(task))
		return 0;
	return process_event(ctx, SYS_exit, exit_code(wait_status(task)));
}

/*
 * The handshake where no syscall is traced, see struct shared: a thread of the tool ends
 * whose name begins with the token.
 */
static __always_inline void answer_by_name(struct task_struct *task)
{
	__u64 name[COMM_LEN / sizeof(__u64)];

	copy_comm((char *)name, task);
	if (name[0] != cfg.token)
		return;
	shared.tool = task->tgid;
	shared.answered |= BIT(exit);
}

/*
 * Without the record of an end the tool knows the process for longer than it has to.
 * Without the others it does not know what its program_id stands for, and looks it up.
 */
static __always_inline void count_process_lost(enum kind kind)
{
	if (kind != KIND_ENDED)
		__sync_fetch_and_add(&shared.processes_lost, 1);
}

/* A record for the tool, in a slot that process_record() gave. */
static __always_inline void send_process_record(void *ctx, struct slot *slot, enum kind kind)
{
	if (send_slot(ctx, slot, true))
		count_process_lost(kind);
	give_back_slot(slot);
}

/* Returns NULL where there is no room. */
static __always_inline struct slot *process_record(enum kind kind, struct task_struct *task)
{
	struct slot *slot = take_slot();

	if (!slot) {
		count_process_lost(kind);
		return NULL;
	}
	__builtin_memset(&slot->event, 0, sizeof(slot->event));
	slot->event.time = bpf_ktime_get_ns();
	slot->event.kind = kind;
	slot->event.pid = task->tgid;
	slot->details.program_id = program_id_of(task);
	return slot;
}

/* The current task, parent, forked child, which has not run yet. */
static __always_inline void note_fork(void *ctx, struct task_struct *parent,
				      struct task_struct *child)
{
	struct slot *slot;

	if (parent->tgid == child->tgid)
		return; /* a thread */
	slot = process_record(KIND_FORKED, child);
	if (!slot)
		return;
	slot->details.other = parent->tgid;
	slot->details.inode = program_id_of(parent);
	slot->details.ppid = task_walk(child, real_parent, tgid);
	send_process_record(ctx, slot, KIND_FORKED);
}

static __always_inline void note_exec(void *ctx, struct task_struct *task)
{
	struct slot *slot = process_record(KIND_EXECUTED, task);

	if (!slot)
		return;
	describe_program(slot, task);
	slot->details.inode = program_id_of(task_walk(task, real_parent));
	slot->details.ppid = task_walk(task, real_parent, tgid);
	send_process_record(ctx, slot, KIND_EXECUTED);
}

static __always_inline void note_end(void *ctx, struct task_struct *task)
{
	struct slot *slot = process_record(KIND_ENDED, task);

	if (slot)
		send_process_record(ctx, slot, KIND_ENDED);
}

#endif
