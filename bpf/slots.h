/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_SLOTS_H
#define COPENCLOSE_SLOTS_H

#include "call.h"
#include "count.h"
#include "maps.h"

/* Who has which slot, see maps.h. */

static __always_inline struct slot *clear_slot(__u32 number)
{
	struct slot *slot = bpf_map_lookup_elem(&slots, &number);

	if (!slot)
		return NULL;
	__builtin_memset(&slot->details, 0, sizeof(slot->details));
	slot->number = number;
	return slot;
}

/* A slot for an instant. */
static __always_inline struct slot *take_slot(void)
{
	__u32 number;

	if (bpf_map_pop_elem(&free_slots, &number))
		return NULL;
	return clear_slot(number);
}

static __always_inline void give_back_slot(struct slot *slot)
{
	__u32 number = slot->number;

	if (USES_SLOTS && number < CLOSING_SLOTS)
		bpf_map_push_elem(&closing_slots, &number, 0);
	else
		bpf_map_push_elem(&free_slots, &number, 0);
}

/*
 * Ends what was noted of a call that closes something, and returns since when it was
 * under way. Returns its slot, or NULL if it has none, or not any more.
 */
static __always_inline struct slot *claim_closing(__u32 tid, __u64 *time)
{
	struct closing *noted = bpf_map_lookup_elem(&closing, &tid);
	struct slot *slot;
	__u32 number;

	if (!noted)
		return NULL;
	number = noted->slot;
	*time = noted->time;
	if (bpf_map_delete_elem(&closing, &tid))
		return NULL;
	slot = bpf_map_lookup_elem(&slots, &number);
	if (slot)
		slot->since = 0;
	return slot;
}

#define CANDIDATES 8
#define NO_SLOT 0xffffffff

/*
 * When all slots for calls under way are taken, the one that has been under way for
 * longest among some loses its own, and is shown without what it closed. So who
 * keeps many closes waiting takes nothing from others, whose closes take no time.
 *
 * A slot whose call returned and was entered again since we looked is not taken:
 * since is 0 or another then.
 */
static __always_inline struct slot *take_over_slot(void)
{
	static __u32 hand;
	__u64 longest = bpf_jiffies64();
	__u32 number = NO_SLOT, tid = 0, from = hand;
	struct closing *noted;
	struct slot *slot;

	hand = from + CANDIDATES;
	for (__u32 i = 0; i < CANDIDATES; i++) {
		__u32 candidate = (from + i) % CLOSING_SLOTS;

		slot = bpf_map_lookup_elem(&slots, &candidate);
		if (!slot || !slot->since || slot->since >= longest)
			continue;
		longest = slot->since;
		tid = slot->tid;
		number = candidate;
	}
	noted = bpf_map_lookup_elem(&closing, &tid);
	if (number == NO_SLOT || !noted || noted->slot != number ||
	    bpf_map_delete_elem(&closing, &tid))
		return NULL;
	slot = clear_slot(number);
	if (!slot || slot->since != longest)
		return NULL;
	/* Without its note this one is not shown at all. */
	if (cfg.only_closes & (1ULL << slot->event.syscall))
		count_lost(slot->owner);
	return slot;
}

/* A slot for a call that closes something, which is noted with it. */
static __always_inline struct slot *take_closing_slot(const struct call *call, __u32 tid)
{
	struct closing noted = {};
	struct slot *slot;
	__u32 number;

	if (bpf_map_pop_elem(&closing_slots, &number))
		slot = take_over_slot();
	else
		slot = clear_slot(number);
	if (!slot)
		return NULL;
	slot->tid = tid;
	slot->since = bpf_jiffies64();
	slot->event.syscall = call->syscall;
	if (is_in(call, cfg.only_closes))
		slot->owner = owner_of_caller();
	noted.slot = slot->number;
	if (cfg.want_latency)
		noted.time = bpf_ktime_get_ns();
	if (!bpf_map_update_elem(&closing, &tid, &noted, BPF_ANY))
		return slot;
	slot->since = 0;
	give_back_slot(slot);
	return NULL;
}

/* Puts the socket behind at most three unix addresses; returns where it ends in the text. */
static __noinline __u32 put_socket(struct slot *slot, __u32 text_len)
{
	__u32 at = (text_len + 7) & 0x1f8; /* the mask is for the verifier */
	__u64 *to = (void *)&slot->text[at];

	/* So that the compiler believes that it is aligned, and copies words. */
	barrier_var(to);
	copy_words(__u64, to, &slot->socket, sizeof(slot->socket));
	return at + sizeof(slot->socket);
}

static __noinline __u32 put_lifetime(struct slot *slot, __u32 size)
{
	__u32 at = (size + 7) & (2 * TEXT_MAX - 8); /* the mask is for the verifier */
	__u64 *to = (void *)&slot->text[at];

	barrier_var(to); /* as in put_socket() */
	copy_words(__u64, to, &slot->lifetime, sizeof(slot->lifetime));
	return at + sizeof(slot->lifetime);
}

/*
 * Puts the parts of what is described behind its text, and returns how long all of it
 * is, from the details on.
 */
static __always_inline __u32 put_parts(struct slot *slot)
{
	__u32 size = slot->details.text_len;

	if (size > 2 * TEXT_MAX)
		size = 2 * TEXT_MAX;
	if (slot->details.parts & PART_SOCKET)
		size = put_socket(slot, size);
	if (cfg.want_lifetime && slot->details.parts & PART_LIFETIME)
		size = put_lifetime(slot, size);
	return sizeof(slot->details) + size;
}

#endif
