/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_CALL_H
#define COPENCLOSE_CALL_H

/* A call, however it was caught: who makes it, which it is, and its arguments. */

struct call {
	struct task_struct *task;
	const struct pt_regs *regs;
	long ret;
	enum syscall syscall;
	enum abi abi;
	bool socketcall; /* the arguments are an array in the caller's memory */
};

struct arguments {
	__u64 arg[4];
};

static __always_inline void read_arguments(struct arguments *a, const struct call *call)
{
	if (call->socketcall) {
		__u32 array[4] = {};

		bpf_probe_read_user(array, sizeof(array),
				    (void *)(long)ARG_1(call->regs, call->abi));
		for (int i = 0; i < 4; i++)
			a->arg[i] = array[i];
		return;
	}
	a->arg[0] = ARG_0(call->regs, call->abi);
	a->arg[1] = ARG_1(call->regs, call->abi);
	a->arg[2] = ARG_2(call->regs, call->abi);
	a->arg[3] = ARG_3(call->regs, call->abi);
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

/*
 * 1 + enum syscall by number, 0 for a call that is not traced. Syscalls that an ABI
 * lacks share the last element.
 */
#define NUMBERS 512
#define AT(nr) [(nr) == NONE ? NUMBERS : (nr)]
#define OF_NR_64(name, ...) AT(NR_64(__VA_ARGS__)) = 1 + SYS_##name,
#define OF_NR_32(name, ...) AT(NR_32(__VA_ARGS__)) = 1 + SYS_##name,

static const __u8 of_number_64[NUMBERS + 1] = {SYSCALLS(OF_NR_64)};
static const __u8 of_number_32[NUMBERS + 1] = {SYSCALLS(OF_NR_32) AT(NR_SOCKETCALL) =
						       1 + SYS_COUNT};

/* Returns false if the call is not traced. */
static __always_inline bool call_from_registers(struct call *call, const struct pt_regs *regs,
						long ret)
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
		call->syscall = syscall_of_socketcall(regs);
	else
		call->syscall = (call->abi == ABI_64 ? of_number_64[nr] : of_number_32[nr]) - 1;
	return true;
}

static __always_inline bool is_traced(const struct call *call)
{
	return call->syscall < SYS_COUNT && cfg.traced & (1ULL << call->syscall);
}

/* set is one of those in syscalls.h. */
static __always_inline bool is_in(const struct call *call, __u64 set)
{
	return set & (1ULL << call->syscall);
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
	return call->ret == ROLLED_BACK(call->regs) && task_read(call->task, seccomp.mode) &&
	       task_read(call->task, pending.signal.sig[0]) & SIGSYS_BIT;
}

#endif
