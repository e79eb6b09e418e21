/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_ARCH_H
#define COPENCLOSE_ARCH_H

#include "syscalls.h"
#include "task.h"

/*
 * What differs between architectures: the columns of SYSCALLS, where a
 * syscall's number and arguments are, and how a 32-bit call is told apart.
 */

/*
 * Some kernels, like Debian's 5.10, know a handler's struct pt_regs by name only
 * in their BTF, and the verifier lets no program read such an argument. Before
 * 5.15 (dd6e10fbd9fb, "bpf: Add bpf_task_pt_regs() helper", the mark of newer
 * ones) the registers are taken from where they were saved: at the top of the
 * stack.
 */
#define HAVE_TYPED_REGS bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs)
#define THREAD_SIZE (4 * 4096) /* arch/x86/include/asm/page_64_types.h */

/* The registers with which the current task entered the kernel. */
static __always_inline const struct pt_regs *user_regs(struct task_struct *task)
{
	if (HAVE_TYPED_REGS)
		return (const struct pt_regs *)bpf_task_pt_regs(task);
	return (struct pt_regs *)(task_walk(task, stack) + THREAD_SIZE) - 1;
}

static __always_inline const struct pt_regs *handler_regs(const __u64 *ctx,
							  struct task_struct *task)
{
	if (HAVE_TYPED_REGS)
		return (const struct pt_regs *)ctx[0];
	return user_regs(task);
}

#define REG(from, name)                                                                    \
	({                                                                                 \
		const struct pt_regs *saved = (from);                                      \
		HAVE_TYPED_REGS ? (unsigned long)saved->name : BPF_CORE_READ(saved, name); \
	})

#if defined(__TARGET_ARCH_x86)

#define NR_64(x86_64, i386, arm64, arm, ...) x86_64
#define NR_32(x86_64, i386, arm64, arm, ...) i386
#define NR_SOCKETCALL 102
#define O_LARGEFILE 0100000

/*
 * Set while a task is in a 32-bit call, also when a 64-bit program makes one
 * with int 0x80; arch/x86/include/asm/thread_info.h.
 */
#define TS_COMPAT 0x0002

static __always_inline enum abi abi_of(struct task_struct *task)
{
	return task_read(task, thread_info.status) & TS_COMPAT ? ABI_32 : ABI_64;
}

static __always_inline __u32 syscall_nr(const struct pt_regs *regs)
{
	return REG(regs, orig_ax);
}

/* What syscall_rollback() leaves as the result. */
#define ROLLED_BACK(regs, abi) ((long)REG(regs, orig_ax))
/* execve(2) returns with its number in the new ABI: set_personality_64bit(). */
#define IS_END_OF_EXEC(regs, abi, ret) false
#define STACK_POINTER(regs, abi) REG(regs, sp)
#define INSTRUCTION_POINTER(regs) REG(regs, ip)

/* ARG(regs, abi, n) is the nth argument, from 0. */
#define ARG_0(regs, abi) ((abi) == ABI_32 ? (__u32)REG(regs, bx) : REG(regs, di))
#define ARG_1(regs, abi) ((abi) == ABI_32 ? (__u32)REG(regs, cx) : REG(regs, si))
#define ARG_2(regs, abi) ((abi) == ABI_32 ? (__u32)REG(regs, dx) : REG(regs, dx))
#define ARG_3(regs, abi) ((abi) == ABI_32 ? (__u32)REG(regs, si) : REG(regs, r10))

#elif defined(__TARGET_ARCH_arm64)

#define NR_64(x86_64, i386, arm64, arm, ...) arm64
#define NR_32(x86_64, i386, arm64, arm, ...) arm
#define NR_SOCKETCALL NO_NUMBER
#define O_LARGEFILE 0400000

#define TIF_32BIT 22 /* arch/arm64/include/asm/thread_info.h */

static __always_inline enum abi abi_of(struct task_struct *task)
{
	return task_read(task, thread_info.flags) & (1UL << TIF_32BIT) ? ABI_32 : ABI_64;
}

static __always_inline __u32 syscall_nr(const struct pt_regs *regs)
{
	return REG(regs, syscallno);
}

/*
 * The result of a 32-bit call is sign-extended, its arguments are not, and its stack
 * pointer is r13: regs_return_value() and compat_sp in arch/arm64/include/asm/ptrace.h.
 */
#define ROLLED_BACK(regs, abi) \
	((abi) == ABI_32 ? (long)(__s32)REG(regs, orig_x0) : (long)REG(regs, orig_x0))
#define INSTRUCTION_POINTER(regs) REG(regs, pc)
#define STACK_POINTER(from, abi) ((abi) == ABI_32 ? REG(from, regs[13]) : REG(from, sp))

/*
 * execve(2) and execveat(2) of a 64-bit program that execute a 32-bit one return to that
 * with their 64-bit numbers, and with registers that are 0: start_thread_common() in
 * arch/arm64/include/asm/processor.h. They are the numbers of fcntl64(2) and socket(2)
 * there, which do not return 0 with these arguments.
 */
#define NR_EXECVE 221
#define NR_EXECVEAT 281
#define IS_END_OF_EXEC(regs, abi, ret)                       \
	((abi) == ABI_32 && !(ret) && !REG(regs, orig_x0) && \
	 (syscall_nr(regs) == NR_EXECVE || syscall_nr(regs) == NR_EXECVEAT))

/* regs[0] holds the result once the call returned. The field is called regs, no parameter is. */
#define ARG_N(value, abi) ((abi) == ABI_32 ? (__u32)(value) : (value))
#define ARG_0(from, abi) ARG_N(REG(from, orig_x0), abi)
#define ARG_1(from, abi) ARG_N(REG(from, regs[1]), abi)
#define ARG_2(from, abi) ARG_N(REG(from, regs[2]), abi)
#define ARG_3(from, abi) ARG_N(REG(from, regs[3]), abi)

#else
#error "no such architecture: give the kernel contract its registers here"
#endif

#endif
