/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_STACKS_H
#define COPENCLOSE_STACKS_H

#include "arch.h"
#include "descriptor.h"

/*
 * Where in its program a call was made. The kernel can follow frame pointers, which few
 * programs have; for the others the tool gets a copy of the registers and of the top of the
 * stack. That costs microseconds, so it is done for what the tool suspects, and not often.
 */

/* Whether stacks are taken. */
const volatile bool has_stacks;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20); /* room for 60 */
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct maker);
	__type(value, struct suspect);
} suspects SEC(".maps");

__u64 stacks_lost SEC(".data.stacks"); /* those that found no room */

#define SUSPECT_WINDOW 1000000000ULL /* ns */
#define SUSPECT_SURELY 16	     /* so many of a window, and then one in 16, so that */
#define SUSPECT_MAX 64		     /* a call that always comes late is there, too */

static __always_inline bool is_turn_of(struct suspect *s, __u64 now)
{
	if (now - s->since > SUSPECT_WINDOW) {
		s->since = now;
		s->copied = 0;
	}
	if (s->copied >= SUSPECT_MAX || (s->copied >= SUSPECT_SURELY && bpf_get_prandom_u32() & 15))
		return false;
	__sync_fetch_and_add(&s->copied, 1); /* two at once may be one more */
	return true;
}

/* Those that a function must keep, and what unwinding begins with. */
static __always_inline void copy_registers(__u64 *to, const struct pt_regs *regs)
{
#if defined(__TARGET_ARCH_x86)
	to[3] = REG(regs, bx);
	to[6] = REG(regs, bp);
	to[7] = REG(regs, sp);
	to[12] = REG(regs, r12);
	to[13] = REG(regs, r13);
	to[14] = REG(regs, r14);
	to[15] = REG(regs, r15);
	to[16] = REG(regs, ip);
#elif defined(__TARGET_ARCH_arm64)
	to[19] = REG(regs, regs[19]);
	to[20] = REG(regs, regs[20]);
	to[21] = REG(regs, regs[21]);
	to[22] = REG(regs, regs[22]);
	to[23] = REG(regs, regs[23]);
	to[24] = REG(regs, regs[24]);
	to[25] = REG(regs, regs[25]);
	to[26] = REG(regs, regs[26]);
	to[27] = REG(regs, regs[27]);
	to[28] = REG(regs, regs[28]);
	to[29] = REG(regs, regs[29]);
	to[30] = REG(regs, regs[30]);
	to[31] = REG(regs, sp);
	to[32] = REG(regs, pc);
#endif
}

/* Whole pieces: below the stack pointer they have what nobody needs. */
static __always_inline void copy_stack(struct call_stack *s, __u64 stack_pointer)
{
	s->stack_len = 0;
	s->stack_at = stack_pointer & ~(__u64)(STACK_PIECE - 1);
	for (__u32 at = 0; at < STACK_MAX; at += STACK_PIECE) {
		if (bpf_probe_read_user(&s->stack[at], STACK_PIECE,
					(void *)(long)(s->stack_at + at)))
			break;
		s->stack_len = at + STACK_PIECE;
	}
}

static __always_inline void copy_frames(struct call_stack *s)
{
	long size = 0;

	s->frames_num = 0;
	if (!HAVE_CURRENT_TASK_BTF)
		return;
	size = bpf_get_task_stack(bpf_get_current_task_btf(), s->frames, sizeof(s->frames),
				  BPF_F_USER_STACK);
	if (size > 0)
		s->frames_num = size / sizeof(s->frames[0]);
}

/*
 * Of the call that made fd. A function of its own, so that the verifier looks at it once;
 * its stack is not that of the caller then, either.
 */
__noinline int take_stack(__u64 time, __u64 file, __u32 fd, __u32 creator)
{
	struct task_struct *task = current_task();
	struct maker maker = {.pid = task_read(task, tgid), .creator = creator};
	const struct pt_regs *regs;
	struct suspect *suspect;
	struct call_stack *s;
	enum abi abi;

	if (!has_stacks)
		return 0;
	suspect = bpf_map_lookup_elem(&suspects, &maker);
	if (!suspect || !is_turn_of(suspect, time))
		return 0;
	s = bpf_ringbuf_reserve(&stacks, sizeof(*s), 0);
	if (!s) {
		__sync_fetch_and_add(&stacks_lost, 1);
		return 0;
	}
	abi = abi_of(task);
	regs = user_regs(task);
	s->time = time;
	s->table = (__u64)task_walk(task, files);
	s->file = file;
	s->pid = maker.pid;
	s->fd = fd;
	s->creator = creator;
	s->is_32_bit = abi == ABI_32;
	s->start_stack = task_walk(task, mm, start_stack);
	s->start_code = task_walk(task, mm, start_code);
	for (int i = 0; i < REGISTERS_MAX; i++)
		s->registers[i] = 0;
	copy_registers(s->registers, regs);
	copy_stack(s, STACK_POINTER(regs, abi));
	copy_frames(s);
	bpf_ringbuf_submit(s, 0);
	return 0;
}

#endif
