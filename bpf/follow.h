/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_FOLLOW_H
#define COPENCLOSE_FOLLOW_H

#include "config.h"
#include "count.h"
#include "filter.h"
#include "maps.h"

/* Processes that the map ids lists because of what others are. */

/* --follow: what is said of a process is said of its children, for as long as they live. */
static __always_inline int follow_child(struct task_struct *parent, struct task_struct *child)
{
	struct id id = {.kind = ID_PID, .value = parent->tgid};
	__u8 listing;

	if (parent->tgid == child->tgid)
		return 0;
	listing = listing_of(bpf_map_lookup_elem(&ids, &id));
	if (listing == LISTING_NONE)
		return 0;
	id.value = child->tgid;
	if (bpf_map_update_elem(&ids, &id, &listing, BPF_ANY))
		count(unfollowed);
	return 0;
}

/*
 * copenclose -- COMMAND: what the tool runs is listed when it has become the command,
 * so that what happens between fork and exec is not attributed to it.
 */
static __always_inline int follow_command(struct task_struct *task)
{
	struct id id = {.kind = ID_PID, .value = task->tgid};
	__u8 listing = LISTING_ONLY;

	if (shared.tool && task_walk(task, real_parent, tgid) == shared.tool)
		bpf_map_update_elem(&ids, &id, &listing, BPF_ANY);
	return 0;
}

static __always_inline int unfollow(struct task_struct *task)
{
	struct id id = {.kind = ID_PID, .value = task->tgid};

	bpf_map_delete_elem(&ids, &id);
	return 0;
}

#endif
