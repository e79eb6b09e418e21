/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_CALL_H
#define COPENCLOSE_CALL_H

#include "arch.h"
#include "config.h"
#include "syscalls.h"
#include "task.h"

/*
 * A call, however it was caught: who makes it, which it is, and its arguments. Those
 * are read when they are wanted, by decode_arguments(). Nothing outside of this header
 * looks at registers, so that a call can be without any.
 */
#define ARGUMENTS 4

struct call {
	struct task_struct *task;
	long ret;
	enum syscall syscall;
	enum abi abi;
	bool socketcall; /* the arguments are an array in the caller's memory */
	bool decoded;	 /* arg has them; there may be no registers */
	__u8 flags;	 /* enum flag */
	const struct pt_regs *regs;
	__u64 arg[ARGUMENTS];
};

static __always_inline void decode_arguments(struct call *call)
{
	if (call->decoded)
		return;
	if (call->socketcall) {
		__u32 array[ARGUMENTS] = {};

		bpf_probe_read_user(array, sizeof(array),
				    (void *)(long)ARG_1(call->regs, call->abi));
		for (int i = 0; i < ARGUMENTS; i++)
			call->arg[i] = array[i];
	} else {
		call->arg[0] = ARG_0(call->regs, call->abi);
		call->arg[1] = ARG_1(call->regs, call->abi);
		call->arg[2] = ARG_2(call->regs, call->abi);
		call->arg[3] = ARG_3(call->regs, call->abi);
	}
	call->decoded = true;
}

/* Without decoding; of socketcall(2) the number of the call. */
static __always_inline __u64 first_argument(const struct call *call)
{
	return ARG_0(call->regs, call->abi);
}

static __always_inline __u64 stack_pointer(const struct call *call)
{
	return STACK_POINTER(call->regs, call->abi);
}

/* i386 has one number for all socket calls, and its first argument says which. */
static __always_inline enum syscall syscall_of_socketcall(const struct pt_regs *regs)
{
	switch (ARG_0(regs, ABI_32)) {
#define CASE(number, name) \
	case number:       \
		return SYS_##name;
		SOCKETCALLS(CASE)
#undef CASE
	}
	return SYS_COUNT;
}

static __always_inline void resolve_socketcall(struct call *call)
{
	call->syscall = syscall_of_socketcall(call->regs);
	call->socketcall = true;
}

/*
 * 1 + enum syscall by number, 0 for a call that is not traced: the tool takes out those
 * that nobody asked for. Syscalls that an ABI lacks share the last element.
 */
#define NUMBERS 512
#define AT(nr) [(nr) == NO_NUMBER ? NUMBERS : (nr)]
#define OF_NR_64(name, ...) AT(NR_64(__VA_ARGS__)) = 1 + SYS_##name,
#define OF_NR_32(name, ...) AT(NR_32(__VA_ARGS__)) = 1 + SYS_##name,

const volatile __u8 of_number_64[NUMBERS + 1] = {SYSCALLS(OF_NR_64)};
const volatile __u8 of_number_32[NUMBERS + 1] = {SYSCALLS(OF_NR_32) AT(NR_SOCKETCALL) =
							 1 + SYS_COUNT};

/* The call that the current task is in. Returns false if it is not traced. */
static __always_inline bool call_from_registers(struct call *call, const struct pt_regs *regs,
						long ret)
{
	__u32 nr = syscall_nr(regs);

	if (nr >= NUMBERS || !(of_number_64[nr] | of_number_32[nr]))
		return false;
	call->task = current_task();
	call->regs = regs;
	call->ret = ret;
	call->decoded = false;
	call->flags = 0;
	call->abi = abi_of(call->task);
	call->socketcall = call->abi == ABI_32 && nr == NR_SOCKETCALL;
	if (call->socketcall)
		call->syscall = syscall_of_socketcall(regs);
	else
		call->syscall = (call->abi == ABI_64 ? of_number_64[nr] : of_number_32[nr]) - 1;
	return true;
}

/* The current task's call, of which is known what it is. */
static __always_inline struct call current_call(long ret, enum syscall syscall, enum abi abi,
						bool socketcall)
{
	struct task_struct *task = current_task();

	return (struct call){.task = task,
			     .regs = user_regs(task),
			     .ret = ret,
			     .syscall = syscall,
			     .abi = abi,
			     .socketcall = socketcall};
}

static __always_inline bool is_traced(const struct call *call)
{
	return call->syscall < SYS_COUNT && cfg.traced & (1ULL << call->syscall);
}

/* set is one of those in syscalls.h. One of which nothing is traced costs nothing. */
static __always_inline bool is_in(const struct call *call, __u64 set)
{
	return cfg.traced & set && set & (1ULL << call->syscall);
}

/* Where 32-bit calls share a handler, their number says which this is. */
static __always_inline void resolve_shared(struct call *call)
{
	__u32 nr;

	if (!is_in(call, SHARES_HANDLER) || call->abi != ABI_32)
		return;
	nr = syscall_nr(call->regs);
	call->syscall = (nr < NUMBERS ? of_number_32[nr] : 0) - 1;
}

/* Calls that close what an fd was; it is gone when they return. */
static __always_inline bool closes(const struct call *call)
{
	return is_in(call, CLOSES);
}

/*
 * Where seccomp(2) refuses a call with a SIGSYS (SECCOMP_RET_TRAP, _KILL_THREAD,
 * _KILL_PROCESS), the kernel rolls the registers back, and the tracepoint has the
 * number, or on arm64 the first argument, as the result of a call that was never
 * made: syscall_rollback() in include/asm-generic/syscall.h.
 */
#define SIGSYS_BIT (1UL << (31 - 1))

static __always_inline bool was_refused(const struct call *call)
{
	return call->ret == ROLLED_BACK(call->regs, call->abi) &&
	       task_read(call->task, seccomp.mode) &&
	       task_read(call->task, pending.signal.sig[0]) & SIGSYS_BIT;
}

/* Whether what the tracepoint has as the end of a call is none of that call. */
static __always_inline bool was_not_made(const struct call *call)
{
	return was_refused(call) || IS_END_OF_EXEC(call->regs, call->abi, call->ret);
}

#endif
