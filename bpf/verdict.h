/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_VERDICT_H
#define COPENCLOSE_VERDICT_H

#include "maps.h"

/* What the tool knows of a cgroup: a verdict and flags, 0 for nothing. */
static __always_inline __u32 known_of(__u64 cgroup_id)
{
	__u32 number = cgroup_id % VERDICT_SETS;
	struct verdict_set *set = bpf_map_lookup_elem(&verdicts, &number);

	if (!set)
		return 0;
	for (int i = 0; i < VERDICT_WAYS; i++) {
		__u64 way = set->ways[i];

		if (way >> KNOWN_BITS == cgroup_id)
			return way & ((1 << KNOWN_BITS) - 1);
	}
	return 0;
}

static __always_inline enum verdict verdict_of(__u64 cgroup_id)
{
	return known_of(cgroup_id) & ~VERDICT_OWN_CGROUP;
}

#endif
