//go:build ignore

// SPDX-License-Identifier: GPL-2.0
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "event.h"
#include "syscalls.h"
#include "maps.h"
#include "cpu.h"
#include "task.h"
#include "arch.h"
#include "filter.h"
#include "describe.h"

char LICENSE[] SEC("license") = "GPL";

/* Keep the contract's types in the object's BTF, which event_test.go reads. */
const struct event *const event_in_btf SEC(".rodata");
const struct details *const details_in_btf SEC(".rodata");
const enum abi abi_in_btf SEC(".rodata");
const enum syscall syscall_in_btf SEC(".rodata");
const enum target target_in_btf SEC(".rodata");
const enum id_kind id_kind_in_btf SEC(".rodata");
const enum cgroup_news cgroup_news_in_btf SEC(".rodata");
const enum verdict verdict_in_btf SEC(".rodata");

static __always_inline void fill(struct event *e, const struct call *call, __u64 pid_tgid)
{
	__u64 uid_gid = uid_gid_of(call->task);

	e->time = bpf_ktime_get_ns();
	e->cgroup_id = cgroup_id_of(call->task);
	e->pid = pid_tgid >> 32;
	e->tid = pid_tgid;
	e->uid = uid_gid;
	e->gid = uid_gid >> 32;
	e->ret = call->ret;
	e->syscall = call->syscall;
	e->abi = call->abi;
	e->in_initial_pid_ns = ignore_host && in_initial_pid_namespace(call->task);
	e->reserved = 0;
	copy_comm(e->comm, call->task);
	e->hostname[0] = '\0';
	if (want_hostname)
		copy_hostname(e->hostname, call->task);
}

/*
 * Wakes the reader if it waits, which it does when it has set reader_waits and
 * then found the ring empty. This comes behind a record, whose submission is a
 * full barrier: either the reader saw that record, or this sees that it waits.
 * Only a record can wake it, so there is one that is discarded.
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

/* A record of fixed size, the event alone. */
static __always_inline void send_event(void *ctx, const struct call *call, __u64 pid_tgid)
{
	if (use_ring_buffer) {
		struct event *e = bpf_ringbuf_reserve(&ring, sizeof(*e), 0);

		if (!e) {
			count(lost);
			return;
		}
		fill(e, call, pid_tgid);
		bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
		ring_doorbell();
	} else {
		struct event e;

		__builtin_memset(&e, 0, sizeof(e));
		fill(&e, call, pid_tgid);
		if (bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, &e, sizeof(e)))
			count(lost);
	}
}

static __always_inline struct slot *take_slot(__u32 *number)
{
	struct slot *slot;

	if (bpf_map_pop_elem(&free_slots, number))
		return NULL;
	slot = bpf_map_lookup_elem(&slots, number);
	if (slot)
		__builtin_memset(&slot->details, 0, sizeof(slot->details));
	return slot;
}

static __always_inline void give_back_slot(__u32 number)
{
	bpf_map_push_elem(&free_slots, &number, 0);
}

static __always_inline long output_slot(void *ctx, struct slot *slot, bool with_details)
{
	__u32 size = sizeof(struct event);

	if (with_details) {
		__u32 text_len = slot->details.text_len;

		if (text_len > TEXT_MAX)
			text_len = TEXT_MAX;
		size += sizeof(struct details) + text_len;
	}
	if (use_ring_buffer) {
		long err = bpf_ringbuf_output(&ring, slot, size, BPF_RB_NO_WAKEUP);

		ring_doorbell();
		return err;
	}
	return bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, slot, size);
}

/* Fills what describe() left, and sends the slot. */
static __always_inline void send_slot(void *ctx, struct slot *slot, const struct call *call,
				      __u64 pid_tgid, __u64 entry_time)
{
	describe(slot, call);
	if (only_paths && !path_passes(slot)) {
		count(filtered);
		return;
	}
	fill(&slot->event, call, pid_tgid);
	slot->details.ppid = task_read(call->task, real_parent, tgid);
	if (entry_time)
		slot->details.latency = slot->event.time - entry_time;
	if (output_slot(ctx, slot, want_details))
		count(lost);
}

/* Whether something is noted when the call is entered. */
static __always_inline bool has_entry(const struct call *call)
{
	return want_latency || call->syscall == SYS_close;
}

/* A record with details, or one whose path decides whether it is sent. */
static __always_inline void send_details(void *ctx, const struct call *call, __u64 pid_tgid)
{
	__u32 tid = pid_tgid, number = NO_SLOT;
	struct entered *at_entry = NULL;
	struct slot *slot = NULL;
	__u64 entry_time = 0;

	if (has_entry(call))
		at_entry = bpf_map_lookup_elem(&entered, &tid);
	if (at_entry) {
		entry_time = at_entry->time;
		number = at_entry->slot;
		bpf_map_delete_elem(&entered, &tid);
	}
	if (number != NO_SLOT)
		slot = bpf_map_lookup_elem(&slots, &number);
	else
		slot = take_slot(&number);
	if (!slot) {
		count(lost);
		return;
	}
	send_slot(ctx, slot, call, pid_tgid, entry_time);
	give_back_slot(number);
}

/* A call that was noted when it was entered is not shown after all. */
static __always_inline void forget_entry(__u64 pid_tgid)
{
	__u32 tid = pid_tgid;
	struct entered *at_entry = bpf_map_lookup_elem(&entered, &tid);

	if (!at_entry)
		return;
	if (at_entry->slot != NO_SLOT)
		give_back_slot(at_entry->slot);
	bpf_map_delete_elem(&entered, &tid);
}

static __always_inline bool is_traced(const struct call *call)
{
	return call->syscall < SYS_COUNT && traced & (1 << call->syscall);
}

static __always_inline void hear_knock(const struct call *call, __u32 pid)
{
	if (ARG_0(call->regs, call->abi) != knock)
		return;
	shared.tool = pid;
	shared.heard |= 1 << call->syscall;
}

#define use_slots (want_details || only_paths)

static __always_inline void record_return(void *ctx, const struct call *call)
{
	__u64 pid_tgid;
	__u32 pid, tool;

	pid_tgid = pid_tgid_of(call->task);
	pid = pid_tgid >> 32;
	tool = shared.tool;
	if (!tool || pid == tool) {
		hear_knock(call, pid);
		return;
	}
	if (!caller_passes(call->task, pid_tgid) || !result_passes(call->ret)) {
		count(filtered);
		if (use_slots && has_entry(call))
			forget_entry(pid_tgid);
		return;
	}
	if (use_slots)
		send_details(ctx, call, pid_tgid);
	else
		send_event(ctx, call, pid_tgid);
}

/* Every event comes through here, however its syscall was caught. */
static __always_inline int returned(void *ctx, const struct call *call)
{
	if (!is_traced(call))
		return 0;
	hold_cpu();
	record_return(ctx, call);
	release_cpu();
	return 0;
}

/* Notes what is gone or unknown when the call returns. */
static __always_inline void record_entry(const struct call *call)
{
	struct entered e = {.slot = NO_SLOT};
	__u64 pid_tgid;
	__u32 tid, tool;

	pid_tgid = pid_tgid_of(call->task);
	tid = pid_tgid;
	tool = shared.tool;
	if (!tool || pid_tgid >> 32 == tool || !caller_passes(call->task, pid_tgid))
		return;

	/* What a task left that ended inside a call. */
	forget_entry(pid_tgid);
	if (call->syscall == SYS_close) {
		struct slot *slot = take_slot(&e.slot);

		if (slot)
			describe_closed(slot, call);
		else
			e.slot = NO_SLOT;
	}
	if (want_latency)
		e.time = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&entered, &tid, &e, BPF_ANY) && e.slot != NO_SLOT)
		give_back_slot(e.slot);
}

static __always_inline int called(const struct call *call)
{
	if (!is_traced(call) || !has_entry(call))
		return 0;
	hold_cpu();
	record_entry(call);
	release_cpu();
	return 0;
}

/* i386 has one number for all socket calls, and its first argument says which. */
static __always_inline enum syscall of_socketcall(const struct pt_regs *regs)
{
	switch (ARG_0(regs, ABI_32)) {
	case SOCKETCALL_CONNECT:
		return SYS_connect;
	case SOCKETCALL_ACCEPT:
		return SYS_accept;
	case SOCKETCALL_ACCEPT4:
		return SYS_accept4;
	}
	return SYS_COUNT;
}

/*
 * The function way: a program on each handler. Handlers of 32-bit programs are
 * functions of their own (arm64: some), so each syscall has a second program;
 * the tool names the function, and loads only what is needed and there.
 */
#define HANDLER_RESULT(ctx) ((long)(ctx)[1])

static __always_inline struct call of_handler(const __u64 *ctx, long ret, enum syscall syscall)
{
	struct task_struct *task = current_task();

	return (struct call){task, handler_regs(ctx, task), ret, syscall, abi_of(task)};
}

#define ON_HANDLER(program, name)                                                    \
	SEC("fentry")                                                                \
	int enter_##program(__u64 *ctx)                                              \
	{                                                                            \
		struct call call = of_handler(ctx, 0, SYS_##name);                   \
                                                                                     \
		return called(&call);                                                \
	}                                                                            \
	SEC("fexit")                                                                 \
	int exit_##program(__u64 *ctx)                                               \
	{                                                                            \
		struct call call = of_handler(ctx, HANDLER_RESULT(ctx), SYS_##name); \
                                                                                     \
		return returned(ctx, &call);                                         \
	}
#define ON_HANDLERS(name, ...) ON_HANDLER(name, name) ON_HANDLER(name##_32, name)

SYSCALLS(ON_HANDLERS)

static __always_inline struct call of_socketcall_handler(const __u64 *ctx, long ret)
{
	struct call call = of_handler(ctx, ret, SYS_COUNT);

	call.syscall = of_socketcall(call.regs);
	call.socketcall = true;
	return call;
}

SEC("fentry")
int enter_socketcall_32(__u64 *ctx)
{
	struct call call = of_socketcall_handler(ctx, 0);

	return called(&call);
}

SEC("fexit")
int exit_socketcall_32(__u64 *ctx)
{
	struct call call = of_socketcall_handler(ctx, HANDLER_RESULT(ctx));

	return returned(ctx, &call);
}

/*
 * The tracepoint way: every syscall of the machine comes here, so what is not
 * traced must leave at once. These have 1 + enum syscall by number; the last
 * element is for those that there are not.
 */
#define NUMBERS 512
#define AT(nr) [(nr) == NONE ? NUMBERS : (nr)]
#define OF_NR_64(name, ...) AT(NR_64(__VA_ARGS__)) = 1 + SYS_##name,
#define OF_NR_32(name, ...) AT(NR_32(__VA_ARGS__)) = 1 + SYS_##name,

static const __u8 of_number_64[NUMBERS + 1] = {SYSCALLS(OF_NR_64)};
static const __u8 of_number_32[NUMBERS + 1] = {SYSCALLS(OF_NR_32) AT(NR_SOCKETCALL) =
						       1 + SYS_COUNT};

/* False for what is none of ours. */
static __always_inline bool of_registers(struct call *call, const struct pt_regs *regs, long ret)
{
	__u32 nr = syscall_nr(regs);

	if (nr >= NUMBERS || !(of_number_64[nr] | of_number_32[nr]))
		return false;
	call->task = current_task();
	call->regs = regs;
	call->ret = ret;
	call->abi = abi_of(call->task);
	call->socketcall = call->abi == ABI_32 && nr == NR_SOCKETCALL;
	if (call->socketcall)
		call->syscall = of_socketcall(regs);
	else
		call->syscall = (call->abi == ABI_64 ? of_number_64[nr] : of_number_32[nr]) - 1;
	return true;
}

SEC("tp_btf/sys_enter")
int BPF_PROG(sys_enter, const struct pt_regs *regs)
{
	struct call call;

	return of_registers(&call, regs, 0) ? called(&call) : 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(sys_exit, const struct pt_regs *regs, long ret)
{
	struct call call;

	return of_registers(&call, regs, ret) ? returned(ctx, &call) : 0;
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
	bpf_map_update_elem(&ids, &id, &yes, BPF_ANY);
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

	/* The last thread; do_exit() has counted it out before. */
	if (task->signal->live.counter == 0)
		bpf_map_delete_elem(&ids, &id);
	return 0;
}

/*
 * News of a cgroup goes through the same buffer as events, so that the tool has
 * it before the first event from there. What is lost is looked up later.
 */
static __always_inline int send_cgroup_news(void *ctx, struct cgroup *cgroup, const char *path,
					    enum cgroup_news news)
{
	struct slot *slot;
	__u32 number;
	long len;

	/* The v2 hierarchy is the first that the kernel sets up. */
	if (cgroup->root->hierarchy_id)
		return 0;
	slot = take_slot(&number);
	if (!slot)
		return 0;
	__builtin_memset(&slot->event, 0, sizeof(slot->event));
	slot->event.time = bpf_ktime_get_ns();
	slot->event.cgroup_id = cgroup->kn->id;
	slot->event.syscall = news;
	len = bpf_probe_read_kernel_str(slot->text, TEXT_MAX, path);
	if (len > 0)
		slot->details.text_len = len - 1;
	output_slot(ctx, slot, true);
	give_back_slot(number);
	return 0;
}

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(cgroup_mkdir, struct cgroup *cgroup, const char *path)
{
	return send_cgroup_news(ctx, cgroup, path, CGROUP_MADE);
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(cgroup_rmdir, struct cgroup *cgroup, const char *path)
{
	return send_cgroup_news(ctx, cgroup, path, CGROUP_REMOVED);
}
