/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_COUNT_H
#define COPENCLOSE_COUNT_H

#include "maps.h"

/*
 * Counts in this CPU's counters. A program of a socket's state runs in a softirq
 * and can interrupt another one that counts, and programs on functions can be
 * preempted since 5.12 (ca06f55b9002, "bpf: Add per-program recursion prevention
 * mechanism"), so the addition is atomic.
 */
#define count(counter)                                                      \
	({                                                                  \
		__u32 zero = 0;                                             \
		struct counters *c = bpf_map_lookup_elem(&counters, &zero); \
		if (c)                                                      \
			__sync_fetch_and_add(&c->counter, 1);               \
	})

#endif
