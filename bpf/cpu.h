/* SPDX-License-Identifier: GPL-2.0 */
#ifndef COPENCLOSE_CPU_H
#define COPENCLOSE_CPU_H

/*
 * While a program is preempted, the kernel does not run it for others on that
 * CPU: they are missed. On kernels that preempt themselves that would be many;
 * from 6.10 (fc7566ad0a82, "bpf: Introduce bpf_preempt_[disable,enable] kfuncs")
 * only the moments remain before and after this.
 */
extern void bpf_preempt_disable(void) __weak __ksym;
extern void bpf_preempt_enable(void) __weak __ksym;

#define CAN_HOLD_CPU bpf_ksym_exists(bpf_preempt_disable)

static __always_inline void hold_cpu(void)
{
	if (CAN_HOLD_CPU)
		bpf_preempt_disable();
}

static __always_inline void release_cpu(void)
{
	if (CAN_HOLD_CPU)
		bpf_preempt_enable();
}

/*
 * Counts in this CPU's counters, with the CPU held. Where it cannot be, programs
 * on functions can be preempted since 5.12 (ca06f55b9002, "bpf: Add per-program
 * recursion prevention mechanism"), and two of them count on one CPU.
 */
#define count(counter)                                                      \
	({                                                                  \
		__u32 zero = 0;                                             \
		struct counters *c = bpf_map_lookup_elem(&counters, &zero); \
		if (c && CAN_HOLD_CPU)                                      \
			c->counter++;                                       \
		else if (c)                                                 \
			__sync_fetch_and_add(&c->counter, 1);               \
	})

#endif
