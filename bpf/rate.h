/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_RATE_H
#define COPENCLOSE_RATE_H

#include "config.h"
#include "count.h"
#include "maps.h"
#include "owner.h"

/*
 * An owner pays rate_interval ns for a record, and owes at most what rate_burst ns can
 * pay. It is a token bucket that needs one number: the time at which all is paid. CPUs
 * that add to it at once do not lose what the other adds; that both find it in the past
 * lets at most a record for each CPU pass too many.
 */
static __always_inline bool take_token(__u64 owner)
{
	/* Soon after the machine started, begin is before that. */
	__s64 now = bpf_ktime_get_ns(), begin = now - cfg.rate_burst;
	__s64 *paid = bpf_map_lookup_elem(&rates, &owner);

	if (!paid) {
		begin += cfg.rate_interval;
		bpf_map_update_elem(&rates, &owner, &begin, BPF_NOEXIST);
		return true;
	}
	if (*paid < begin)
		*paid = begin;
	if (*paid > now)
		return false;
	__sync_fetch_and_add(paid, cfg.rate_interval);
	return true;
}

/* Whether there may be another record of an owner now; counts what may not. */
static __always_inline bool owner_within_rate(__u64 owner)
{
	if (!cfg.rate_interval || take_token(owner))
		return true;
	count_limited(owner);
	return false;
}

/* The same of who makes a call. */
static __always_inline bool within_rate(void)
{
	return !cfg.rate_interval || owner_within_rate(owner_of_caller());
}

#endif
