/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_INTERRUPTED_H
#define COPENCLOSE_INTERRUPTED_H

#include "call.h"
#include "count.h"
#include "maps.h"

/*
 * A call that a signal interrupts returns one of these inside the kernel. The program
 * gets EINTR, or the call is made again and gets what it returns then, or the thread
 * ends. Until that is known the call is noted, and there is one record of it.
 */
#define ERESTARTSYS 512 /* include/linux/errno.h */
#define ERESTARTNOINTR 513
#define ERESTARTNOHAND 514

static __always_inline bool is_interrupted(long ret)
{
	return ret <= -ERESTARTSYS && ret >= -ERESTARTNOHAND;
}

static __always_inline void forget_interrupted(__u32 tid)
{
	if (!bpf_map_delete_elem(&interrupted, &tid))
		__sync_fetch_and_add(&shared.interrupted, -1);
}

/* Whether a call is the one that was noted, made again. */
static __always_inline bool is_same_call(const struct interrupted *noted, const struct call *call)
{
	return noted->syscall == call->syscall && noted->sp == stack_pointer(call) &&
	       noted->first == first_argument(call);
}

/*
 * Whether the thread went on without the noted call: it makes another one, not from
 * a handler, whose stack would be longer. So the handler left it, as by longjmp(3),
 * or, where the delivery of the signal was missed (7.0, see way.go), it got EINTR. A
 * handler that has a stack of its own shows nothing. Such a call has its record when
 * its thread ends; when another one takes its place here before, it is lost.
 */
static __always_inline bool was_left(const struct interrupted *noted, const struct call *call)
{
	return !is_same_call(noted, call) && stack_pointer(call) >= noted->sp &&
	       !task_read(call->task, sas_ss_size);
}

/*
 * Notes a call. Its first entry was at time, unless it was interrupted before. False
 * if there is no room: then it is shown as it is.
 */
static __always_inline bool note_interrupted(const struct call *call, __u32 tid, __u64 time)
{
	struct interrupted noted = {
		.time = time,
		.sp = stack_pointer(call),
		.first = first_argument(call),
		.ret = call->ret,
		.syscall = call->syscall,
		.abi = call->abi,
		.socketcall = call->socketcall,
	};
	struct interrupted *before = NULL;

	if (shared.interrupted)
		before = bpf_map_lookup_elem(&interrupted, &tid);
	if (!before) {
		if (bpf_map_update_elem(&interrupted, &tid, &noted, BPF_NOEXIST))
			return false;
		__sync_fetch_and_add(&shared.interrupted, 1);
		return true;
	}
	if (is_same_call(before, call))
		noted.time = before->time;
	else if (was_left(before, call))
		count_lost(owner_of_caller());
	*before = noted;
	return true;
}

/*
 * Ends the note of a call that was interrupted before and returns now, and returns
 * when it was entered first; 0 for any other call, as one that a handler made.
 */
static __always_inline __u64 end_interrupted(const struct call *call, __u32 tid)
{
	struct interrupted *noted = bpf_map_lookup_elem(&interrupted, &tid);
	__u64 time;

	if (!noted || !is_same_call(noted, call))
		return 0;
	time = noted->time;
	forget_interrupted(tid);
	return time;
}

/* include/linux/signal.h: what happens where there is no handler. */
#define SIGNAL_BIT(n) (1ULL << ((n)-1))
#define SIGKILL 9
#define SIGSTOP 19
#define IGNORED_BY_DEFAULT                                  \
	(SIGNAL_BIT(17) | SIGNAL_BIT(18) | SIGNAL_BIT(23) | \
	 SIGNAL_BIT(28)) /* CHLD CONT URG WINCH */
#define STOPPED_BY_DEFAULT                                       \
	(SIGNAL_BIT(SIGSTOP) | SIGNAL_BIT(20) | SIGNAL_BIT(21) | \
	 SIGNAL_BIT(22)) /* TSTP TTIN TTOU */

#define SIGNAL_UNKILLABLE 0x40 /* include/linux/sched/signal.h: init of a PID namespace */

#define SA_RESTART 0x10000000 /* asm-generic/signal-defs.h */

/* What a signal that is delivered makes of an interrupted call. */
enum delivery {
	DELIVERY_NOTHING,
	DELIVERY_RESTARTS,
	DELIVERY_ENDS, /* with EINTR */
	DELIVERY_KILLS,
};

static __always_inline enum delivery delivery_of(int signal, const struct k_sigaction *action,
						 const struct interrupted *noted)
{
	unsigned long handler = (unsigned long)kernel_read(action, sa.sa_handler);
	struct task_struct *task = current_task();

	if (handler > 1) /* neither SIG_DFL nor SIG_IGN */
		return noted->ret == -ERESTARTNOINTR ||
				       (noted->ret == -ERESTARTSYS &&
					kernel_read(action, sa.sa_flags) & SA_RESTART)
			       ? DELIVERY_RESTARTS
			       : DELIVERY_ENDS;
	if (handler == 1 || signal < 1 || signal > 64 ||
	    SIGNAL_BIT(signal) & (IGNORED_BY_DEFAULT | STOPPED_BY_DEFAULT))
		return DELIVERY_NOTHING;
	if (signal != SIGKILL && task_walk(task, signal, flags) & SIGNAL_UNKILLABLE)
		return DELIVERY_NOTHING;
	return DELIVERY_KILLS;
}

/* The call that was noted; ret is how it ended. */
static __always_inline struct call call_from_note(const struct interrupted *noted, long ret)
{
	return current_call(ret, noted->syscall, noted->abi, noted->socketcall);
}

#endif
