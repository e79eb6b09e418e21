/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_OWNER_H
#define COPENCLOSE_OWNER_H

#include "config.h"
#include "task.h"
#include "verdict.h"

/*
 * Whose a call is where calls are counted by container: the id of the container's own
 * cgroup, whatever cgroups it makes inside. On the host it is the cgroup that stands for
 * a service or a user, which is at HOST_LEVEL where systemd made it, for users make
 * cgroups of their own below. What is deeper than OWNER_DEPTH is the root's together.
 */
#define HOST_LEVEL 2
#define OWNER_DEPTH 32
#define ROOT_CGROUP 1

/* Of the current task. A function of its own, so that the verifier looks at it once a program. */
__noinline __u64 owner_of_current(void)
{
	struct cgroup *cgroup;
	__u64 host = 0;

	if (!cfg.by_container)
		return 0;
	cgroup = task_walk(current_task(), cgroups, dfl_cgrp);
	for (int i = 0; i < OWNER_DEPTH; i++) {
		__u64 id = kernel_read(cgroup, kn, id);
		__u32 level = kernel_read(cgroup, level);

		if (known_of(id) & VERDICT_OWN_CGROUP)
			return id;
		if (level <= HOST_LEVEL && !host)
			host = id;
		if (!level)
			return host;
		cgroup = (struct cgroup *)kernel_read(cgroup, self.parent);
	}
	return ROOT_CGROUP;
}

static __always_inline __u64 owner_of_caller(void)
{
	return cfg.by_container ? owner_of_current() : 0;
}

#endif
