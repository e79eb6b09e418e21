/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_CGROUPS_H
#define COPENCLOSE_CGROUPS_H

#include "emit.h"
#include "maps.h"
#include "slots.h"

/*
 * Records of cgroups go through the same buffer as those of calls, so that the tool
 * knows a cgroup before the first call from there. What is lost is looked up later.
 */
static __always_inline int send_cgroup(void *ctx, struct cgroup *cgroup, const char *path,
				       enum kind kind)
{
	struct slot *slot;
	long len;

	/* The v2 hierarchy is the first that the kernel sets up. */
	if (cgroup->root->hierarchy_id)
		return 0;
	slot = take_slot();
	if (!slot)
		return 0;
	__builtin_memset(&slot->event, 0, sizeof(slot->event));
	slot->event.time = bpf_ktime_get_ns();
	slot->event.cgroup_id = cgroup->kn->id;
	slot->event.kind = kind;
	len = bpf_probe_read_kernel_str(slot->text, TEXT_MAX, path);
	if (len > 0)
		slot->details.text_len = len - 1;
	send_slot(ctx, slot, true);
	give_back_slot(slot);
	return 0;
}

#endif
