/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_COUNT_H
#define COPENCLOSE_COUNT_H

#include "maps.h"
#include "owner.h"

/*
 * Counts in this CPU's counters. A program of a socket's state runs in a softirq
 * and can interrupt another one that counts, and programs on functions can be
 * preempted since 5.12 (ca06f55b9002, "bpf: Add per-program recursion prevention
 * mechanism"), so the addition is atomic.
 */
#define count_many(counter, n)                                              \
	({                                                                  \
		__u32 zero = 0;                                             \
		struct counters *c = bpf_map_lookup_elem(&counters, &zero); \
		if (c)                                                      \
			__sync_fetch_and_add(&c->counter, n);               \
	})
#define count(counter) count_many(counter, 1)

/* NULL where they are not counted by owner. */
static __always_inline struct cgroup_counts *counts_of(__u64 owner)
{
	struct cgroup_counts none = {}, *c;

	if (!cfg.by_container)
		return NULL;
	c = bpf_map_lookup_elem(&cgroup_counts, &owner);
	if (c)
		return c;
	bpf_map_update_elem(&cgroup_counts, &owner, &none, BPF_NOEXIST);
	c = bpf_map_lookup_elem(&cgroup_counts, &owner);
	if (c)
		return c;
	owner = 0;
	return bpf_map_lookup_elem(&cgroup_counts, &owner);
}

/* Functions of their own, for they are seldom called and from many places. */
static __noinline void count_many_lost(__u64 owner, __u32 n)
{
	struct cgroup_counts *c = counts_of(owner);

	count_many(lost, n);
	if (c)
		__sync_fetch_and_add(&c->lost, n);
}

static __always_inline void count_lost(__u64 owner)
{
	count_many_lost(owner, 1);
}

/*
 * Counts a record of the caller's. A function that the verifier looks at once, and not in
 * each round of a loop, which is too much for that of 5.10 and 6.1.
 */
__noinline int count_callers_lost(void)
{
	count_lost(owner_of_caller());
	return 0;
}

static __noinline void count_limited(__u64 owner)
{
	struct cgroup_counts *c = counts_of(owner);

	count(limited);
	if (c)
		__sync_fetch_and_add(&c->limited, 1);
}

#endif
