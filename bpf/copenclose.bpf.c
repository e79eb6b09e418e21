//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// SPDX-FileCopyrightText: The copenclose authors

#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "record.h"
#include "syscalls.h"
#include "maps.h"
#include "cpu.h"
#include "task.h"
#include "arch.h"
#include "call.h"
#include "filter.h"
#include "path.h"
#include "socket.h"
#include "describe.h"
#include "slots.h"
#include "emit.h"
#include "closing.h"
#include "interrupted.h"
#include "connecting.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Keep the contract's types in the object's BTF, which record_test.go reads. */
const struct event *const event_in_btf SEC(".rodata");
const struct details *const details_in_btf SEC(".rodata");
const enum abi abi_in_btf SEC(".rodata");
const enum syscall syscall_in_btf SEC(".rodata");
const enum target target_in_btf SEC(".rodata");
const enum remark remark_in_btf SEC(".rodata");
const enum id_kind id_kind_in_btf SEC(".rodata");
const enum kind kind_in_btf SEC(".rodata");
const enum flag flag_in_btf SEC(".rodata");
const enum part part_in_btf SEC(".rodata");
const enum verdict verdict_in_btf SEC(".rodata");

#define WATCHES_CONNECTS (cfg.want_details && !cfg.only_paths && cfg.traced & BIT(connect))

/* A record with details, or one whose path decides whether it is sent. */
static __always_inline void send_with_slot(void *ctx, const struct call *call, struct slot *slot,
					   __u64 entry_time)
{
	if (!slot)
		slot = take_slot();
	if (!slot) {
		count(lost);
		return;
	}
	if (!describe_call(slot, call)) {
		count(filtered);
	} else {
		fill(&slot->event, call);
		slot->details.ppid = task_read(call->task, real_parent, tgid);
		if (entry_time)
			slot->details.latency = slot->event.time - entry_time;
		if (send_slot(ctx, slot, cfg.want_details))
			count(lost);
	}
	give_back_slot(slot);
}

/* A call whose result is known: filters it and sends it. Its slot, if it has one, is given back. */
static __always_inline void ended(void *ctx, const struct call *call, struct slot *slot,
				  __u64 entry_time)
{
	const struct connecting *outcome = NULL;

	if (WATCHES_CONNECTS && call->syscall == SYS_connect)
		outcome = connect_returns(call);
	if (!caller_passes(call->task, pid_tgid_of(call->task)) || !result_passes(call->ret)) {
		count(filtered);
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

static __always_inline void send_left(void *ctx, const struct call *call,
				      const struct interrupted *noted)
{
	struct slot *slot;

	if (!cfg.want_details) {
		send_event(ctx, call);
		return;
	}
	slot = take_slot();
	if (!slot) {
		count(lost);
		return;
	}
	fill(&slot->event, call);
	slot->details.fd = noted->first;
	slot->details.ppid = task_read(call->task, real_parent, tgid);
	if (noted->time)
		slot->details.latency = slot->event.time - noted->time;
	if (send_slot(ctx, slot, true))
		count(lost);
	give_back_slot(slot);
}

/*
 * A call that was to be made again, but its handler never returned, or its thread
 * ends. The caller's memory may be gone, or have changed: what the call was about is
 * not told.
 */
static __always_inline void left_interrupted(void *ctx, __u32 tid, const struct interrupted *noted)
{
	struct call call = call_from_note(noted, noted->ret);

	if (cfg.only_paths || !caller_passes(call.task, pid_tgid_of(call.task)) ||
	    !result_passes(call.ret))
		count(filtered);
	else
		send_left(ctx, &call, noted);
	forget_interrupted(tid);
}

static __always_inline void answer_handshake(const struct call *call, __u32 pid)
{
	if (ARG_0(call->regs, call->abi) != cfg.token)
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
static __always_inline int returned(void *ctx, const struct call *call)
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
	if (USES_SLOTS && closes(call))
		slot = claim_closing(tid, &entry_time);
	else if (cfg.want_latency)
		entry_time = end_entered(tid);
	if (is_in(call, IF_CLOSES) && (!slot || call->ret < 0)) {
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
static __always_inline int called(const struct call *call)
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
		note_closing(call, tid);
	} else if (cfg.want_latency) {
		time = bpf_ktime_get_ns();
		bpf_map_update_elem(&entered, &tid, &time, BPF_ANY);
	}
	return 0;
}

/*
 * fentry: a program on each handler. Handlers of 32-bit programs are functions of
 * their own (arm64: some), so each syscall has a second program; the tool names the
 * function, and loads only what is needed and there.
 */
#define HANDLER_RESULT(ctx) ((long)(ctx)[1])

static __always_inline struct call call_from_handler(const __u64 *ctx, long ret,
						     enum syscall syscall)
{
	struct task_struct *task = current_task();

	return (struct call){task, handler_regs(ctx, task), ret, syscall, abi_of(task)};
}

/* Which call the one through socketcall(2) is. */
static __always_inline void resolve_socketcall(struct call *call)
{
	call->syscall = syscall_of_socketcall(call->regs);
	call->socketcall = true;
}

#define ON_HANDLER(program, name)                                                           \
	SEC("fentry")                                                                       \
	int enter_##program(__u64 *ctx)                                                     \
	{                                                                                   \
		struct call call = call_from_handler(ctx, 0, SYS_##name);                   \
                                                                                            \
		return called(&call);                                                       \
	}                                                                                   \
	SEC("fexit")                                                                        \
	int exit_##program(__u64 *ctx)                                                      \
	{                                                                                   \
		struct call call = call_from_handler(ctx, HANDLER_RESULT(ctx), SYS_##name); \
                                                                                            \
		return returned(ctx, &call);                                                \
	}
#define ON_HANDLERS(name, ...) ON_HANDLER(name, name) ON_HANDLER(name##_32, name)

SYSCALLS(ON_HANDLERS)

SEC("fentry")
int enter_socketcall_32(__u64 *ctx)
{
	struct call call = call_from_handler(ctx, 0, SYS_COUNT);

	resolve_socketcall(&call);
	return called(&call);
}

SEC("fexit")
int exit_socketcall_32(__u64 *ctx)
{
	struct call call = call_from_handler(ctx, HANDLER_RESULT(ctx), SYS_COUNT);

	resolve_socketcall(&call);
	return returned(ctx, &call);
}

/*
 * kprobe: one program on all handlers, which a cookie tells apart; SYS_COUNT is
 * socketcall(2)'s. It cannot be preempted, and so misses no call.
 */
static __always_inline struct call call_from_probe(struct pt_regs *ctx, long ret)
{
	struct task_struct *task = current_task();
	struct call call = {task, user_regs(task), ret, bpf_get_attach_cookie(ctx), abi_of(task)};

	if (call.syscall == SYS_COUNT)
		resolve_socketcall(&call);
	return call;
}

SEC("kprobe.multi")
int handlers_enter(struct pt_regs *ctx)
{
	struct call call = call_from_probe(ctx, 0);

	return called(&call);
}

SEC("kretprobe.multi")
int handlers_return(struct pt_regs *ctx)
{
	struct call call = call_from_probe(ctx, PT_REGS_RC(ctx));

	return returned(ctx, &call);
}

/*
 * tracepoint and perf: every syscall of the machine comes here, so what is not traced
 * must leave at once.
 */
static __always_inline int syscall_enters(const struct pt_regs *regs)
{
	struct call call;

	return call_from_registers(&call, regs, 0) ? called(&call) : 0;
}

static __always_inline int syscall_exits(void *ctx, const struct pt_regs *regs, long ret)
{
	struct call call;

	if (!call_from_registers(&call, regs, ret) || was_refused(&call))
		return 0;
	return returned(ctx, &call);
}

SEC("tp_btf/sys_enter")
int BPF_PROG(sys_enter, const struct pt_regs *regs)
{
	return syscall_enters(regs);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(sys_exit, const struct pt_regs *regs, long ret)
{
	return syscall_exits(ctx, regs, ret);
}

/* Through a perf event the tracepoint's programs cannot be preempted on any kernel. */
SEC("tracepoint")
int perf_sys_enter(struct trace_event_raw_sys_enter *ctx)
{
	return syscall_enters(user_regs(current_task()));
}

SEC("tracepoint")
int perf_sys_exit(struct trace_event_raw_sys_exit *ctx)
{
	return syscall_exits(ctx, user_regs(current_task()), ctx->ret);
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

SEC("tp_btf/signal_deliver")
int BPF_PROG(signal_deliver, int signal, struct kernel_siginfo *info, struct k_sigaction *action)
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

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(inet_sock_set_state, struct sock *sk, int before, int state)
{
	if (before == STATE_CLOSE && state == STATE_SYN_SENT)
		connect_begins(sk);
	else if (before == STATE_SYN_SENT && (state == STATE_ESTABLISHED || state == STATE_CLOSE))
		connect_ends(ctx, sk, state);
	return 0;
}

/* --follow: a listed process lists its children, for as long as they live. */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(sched_process_fork, struct task_struct *parent, struct task_struct *child)
{
	struct id id = {.kind = ID_PID, .value = parent->tgid};
	__u8 yes = 1;

	if (parent->tgid == child->tgid || !bpf_map_lookup_elem(&ids, &id))
		return 0;
	id.value = child->tgid;
	if (bpf_map_update_elem(&ids, &id, &yes, BPF_ANY))
		count(unfollowed);
	return 0;
}

/*
 * copenclose -- COMMAND: what the tool runs is listed when it has become the
 * command, so that what happens between fork and exec is not taken for its.
 */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(sched_process_exec, struct task_struct *task)
{
	struct id id = {.kind = ID_PID, .value = task->tgid};
	__u8 yes = 1;

	if (shared.tool && task->real_parent->tgid == shared.tool)
		bpf_map_update_elem(&ids, &id, &yes, BPF_ANY);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(sched_process_exit, struct task_struct *task)
{
	struct id id = {.kind = ID_PID, .value = task->tgid};

	if (shared.interrupted) {
		__u32 tid = task->pid;
		struct interrupted *noted = bpf_map_lookup_elem(&interrupted, &tid);

		if (noted)
			left_interrupted(ctx, tid, noted);
	}
	/* The last thread; do_exit() has counted it out before. */
	if (cfg.follow && task->signal->live.counter == 0)
		bpf_map_delete_elem(&ids, &id);
	return 0;
}

/*
 * Records of cgroups go through the same buffer as those of calls, so that the tool
 * knows a cgroup before the first call from there. What is lost is looked up later.
 */
static __always_inline int send_cgroup(void *ctx, struct cgroup *cgroup, const char *path,
				       enum kind kind)
{
	struct slot *slot;
	long len;

	/* The v2 hierarchy is the first that the kernel sets up. */
	if (cgroup->root->hierarchy_id)
		return 0;
	slot = take_slot();
	if (!slot)
		return 0;
	__builtin_memset(&slot->event, 0, sizeof(slot->event));
	slot->event.time = bpf_ktime_get_ns();
	slot->event.cgroup_id = cgroup->kn->id;
	slot->event.kind = kind;
	len = bpf_probe_read_kernel_str(slot->text, TEXT_MAX, path);
	if (len > 0)
		slot->details.text_len = len - 1;
	send_slot(ctx, slot, true);
	give_back_slot(slot);
	return 0;
}

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(cgroup_mkdir, struct cgroup *cgroup, const char *path)
{
	return send_cgroup(ctx, cgroup, path, KIND_CGROUP_CREATED);
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(cgroup_rmdir, struct cgroup *cgroup, const char *path)
{
	return send_cgroup(ctx, cgroup, path, KIND_CGROUP_REMOVED);
}
