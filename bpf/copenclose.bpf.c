//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// SPDX-FileCopyrightText: The copenclose authors

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "call.h"
#include "cgroups.h"
#include "connecting.h"
#include "follow.h"
#include "implied.h"
#include "opening.h"
#include "process.h"
#include "trace.h"
#include "uring.h"

/* Where the programs are attached. What they do is in the headers. */

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Keep the contract's types in the object's BTF, which record_test.go reads. */
const struct event *const event_in_btf SEC(".rodata");
const struct details *const details_in_btf SEC(".rodata");
const enum abi abi_in_btf SEC(".rodata");
const enum syscall syscall_in_btf SEC(".rodata");
const enum target target_in_btf SEC(".rodata");
const enum remark remark_in_btf SEC(".rodata");
const enum id_kind id_kind_in_btf SEC(".rodata");
const enum listing listing_in_btf SEC(".rodata");
const enum kind kind_in_btf SEC(".rodata");
const enum flag flag_in_btf SEC(".rodata");
const enum part part_in_btf SEC(".rodata");
const enum closer closer_in_btf SEC(".rodata");
const enum verdict verdict_in_btf SEC(".rodata");
const struct lifetime_part *const lifetime_in_btf SEC(".rodata");
const struct total *const total_in_btf SEC(".rodata");
const struct sampled *const sampled_in_btf SEC(".rodata");

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

	return (struct call){.task = task,
			     .regs = handler_regs(ctx, task),
			     .ret = ret,
			     .syscall = syscall,
			     .abi = abi_of(task)};
}

#define ON_HANDLER(name, ...)                                                               \
	SEC("fentry")                                                                       \
	int enter_##name(__u64 *ctx)                                                        \
	{                                                                                   \
		struct call call = call_from_handler(ctx, 0, SYS_##name);                   \
                                                                                            \
		return called(ctx, &call);                                                  \
	}                                                                                   \
	SEC("fexit")                                                                        \
	int exit_##name(__u64 *ctx)                                                         \
	{                                                                                   \
		struct call call = call_from_handler(ctx, HANDLER_RESULT(ctx), SYS_##name); \
                                                                                            \
		return returned(ctx, &call);                                                \
	}

/*
 * The programs for 32-bit programs and for syscalls that few ask for share their code, for
 * there are many, and few are ever loaded.
 */
static __noinline int handler_enters(__u64 *ctx, enum syscall syscall)
{
	struct call call = call_from_handler(ctx, 0, syscall);

	resolve_shared(&call);
	barrier_var(call.syscall);
	return called(ctx, &call);
}

static __noinline int handler_returns(__u64 *ctx, enum syscall syscall)
{
	struct call call = call_from_handler(ctx, HANDLER_RESULT(ctx), syscall);

	resolve_shared(&call);
	barrier_var(call.syscall);
	return returned(ctx, &call);
}

#define ON_HANDLER_OF_FEW(program, name)                 \
	SEC("fentry")                                    \
	int enter_##program(__u64 *ctx)                  \
	{                                                \
		return handler_enters(ctx, SYS_##name);  \
	}                                                \
	SEC("fexit")                                     \
	int exit_##program(__u64 *ctx)                   \
	{                                                \
		return handler_returns(ctx, SYS_##name); \
	}
#define ON_HANDLER_OF_32_BIT(name, ...) ON_HANDLER_OF_FEW(name##_32, name)
#define ON_HANDLERS_OF_FEW(name, ...) ON_HANDLER_OF_FEW(name, name) ON_HANDLER_OF_32_BIT(name)

DEFAULT_SYSCALLS(ON_HANDLER)
DEFAULT_SYSCALLS(ON_HANDLER_OF_32_BIT)
OTHER_SYSCALLS(ON_HANDLERS_OF_FEW)

SEC("fentry")
int enter_socketcall_32(__u64 *ctx)
{
	struct call call = call_from_handler(ctx, 0, SYS_COUNT);

	resolve_socketcall(&call);
	return called(ctx, &call);
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
	struct call call =
		current_call(ret, bpf_get_attach_cookie(ctx), abi_of(current_task()), false);

	if (call.syscall == SYS_COUNT)
		resolve_socketcall(&call);
	else
		resolve_shared(&call);
	return call;
}

SEC("kprobe.multi")
int handlers_enter(struct pt_regs *ctx)
{
	struct call call = call_from_probe(ctx, 0);

	return called(ctx, &call);
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
static __always_inline int syscall_enters(void *ctx, const struct pt_regs *regs)
{
	struct call call;

	return call_from_registers(&call, regs, 0) ? called(ctx, &call) : 0;
}

static __always_inline int syscall_exits(void *ctx, const struct pt_regs *regs, long ret)
{
	struct call call;

	if (!call_from_registers(&call, regs, ret) || was_not_made(&call))
		return 0;
	return returned(ctx, &call);
}

SEC("tp_btf/sys_enter")
int BPF_PROG(sys_enter, const struct pt_regs *regs)
{
	return syscall_enters(ctx, regs);
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
	return syscall_enters(ctx, user_regs(current_task()));
}

SEC("tracepoint")
int perf_sys_exit(struct trace_event_raw_sys_exit *ctx)
{
	return syscall_exits(ctx, user_regs(current_task()), ctx->ret);
}

SEC("tp_btf/signal_deliver")
int BPF_PROG(signal_deliver, int signal, struct kernel_siginfo *info, struct k_sigaction *action)
{
	return signal_delivered(ctx, signal, action);
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

SEC("tp_btf/sched_process_fork")
int BPF_PROG(sched_process_fork, struct task_struct *parent, struct task_struct *child)
{
	if (cfg.want_programs)
		note_fork(ctx, parent, child);
	return cfg.follow ? follow_child(parent, child) : 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(sched_process_exec, struct task_struct *task)
{
	if (cfg.want_programs)
		note_exec(ctx, task);
	if (cfg.follow)
		follow_command(task);
	return process_executes(ctx);
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(sched_process_exit, struct task_struct *task)
{
	end_interrupted_calls(ctx, task);
	if (!shared.tool)
		answer_by_name(task);
	if (!is_last_thread(task))
		return 0;
	process_exits(ctx, task);
	if (cfg.want_programs)
		note_end(ctx, task);
	return cfg.follow ? unfollow(task) : 0;
}

/* After the program above, so that whose exec it is is known. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(exec_opens, struct task_struct *task, pid_t before, struct linux_binprm *bprm)
{
	if (!cfg.all_opens || !event_passes(task))
		return 0;
	return opened_by_exec(ctx, bprm, file_mapped_at(task, start_of_interpreter(task)));
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(exec_opens_listed, struct task_struct *task, pid_t before, struct linux_binprm *bprm)
{
	if (!cfg.all_opens || !event_passes(task))
		return 0;
	return opened_by_exec(ctx, bprm, file_listed_at(task, start_of_interpreter(task)));
}

/*
 * What a process has open when it ends. A program by itself, which another one on the same
 * tracepoint does not have to wait for where it is preempted.
 */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(exit_closes, struct task_struct *task)
{
	return closes_by_exit(ctx);
}

SEC("tracepoint")
int perf_exit_closes(void *ctx)
{
	return closes_by_exit(ctx);
}

/*
 * What an exec closes: sched_process_exec comes after that, sched_prepare_exec before, but
 * there is none until 6.10, and do_close_on_exec() is the function that does it.
 */
SEC("tp_btf/sched_prepare_exec")
int BPF_PROG(exec_closes, struct task_struct *task)
{
	return closes_by_exec(ctx);
}

SEC("tracepoint")
int perf_exec_closes(void *ctx)
{
	return closes_by_exec(ctx);
}

SEC("fentry/do_close_on_exec")
int fentry_exec_closes(void *ctx)
{
	return closes_by_exec(ctx);
}

/* The tool names the tracepoint that this kernel has, see uring.h. */
SEC("tp_btf/io_uring_submit_req")
int uring_submit(__u64 *ctx)
{
	if (cfg.submit_arguments <= 2)
		return request_submitted(ctx, (struct io_kiocb *)ARGUMENT(ctx, 0));
	return request_submitted(ctx, (struct io_kiocb *)ARGUMENT(ctx, 1));
}

SEC("tp_btf/io_uring_complete")
int uring_complete(__u64 *ctx)
{
	return completed(ctx);
}

SEC("tp_btf/io_uring_cqe_overflow")
int uring_overflow(__u64 *ctx)
{
	return named_request_completed(ctx, ARGUMENT(ctx, 0), ARGUMENT(ctx, 1), ARGUMENT(ctx, 2),
				       ARGUMENT(ctx, 3), false);
}

SEC("tp_btf/io_uring_req_failed")
int uring_refuse(__u64 *ctx)
{
	struct io_uring_sqe *sqe = (struct io_uring_sqe *)ARGUMENT(ctx, 0);

	if (cfg.refuse_arguments <= 2)
		return request_refused(ctx, sqe, NULL, (__s32)ARGUMENT(ctx, 1));
	return request_refused(ctx, sqe, (struct io_kiocb *)ARGUMENT(ctx, 1),
			       (__s32)ARGUMENT(ctx, 2));
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
