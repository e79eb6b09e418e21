/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_USAGE_H
#define COPENCLOSE_USAGE_H

#include "descriptor.h"
#include "fdtable.h"

/*
 * How many descriptors processes have and may have, without a look at any: one run counts
 * the bits of every table. It takes a process by its first thread; one whose first thread
 * has ended while others run is not there.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 16);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64); /* the files_struct, which processes can share, too */
	__type(value, struct usage);
} usages SEC(".maps");

#define WALKED_MAX (1 << 17)

static __always_inline __u32 count_bits(struct fdtable *table)
{
	unsigned long *words = kernel_read(table, open_fds), word;
	__u32 end = kernel_read(table, max_fds) / 64, n = 0;
	int i;

	if (bpf_ksym_exists(bpf_iter_num_new)) {
		bpf_for (i, 0, COUNTED_WORDS) {
			if (i >= end)
				break;
			word = 0;
			bpf_probe_read_kernel(&word, sizeof(word), &words[i]);
			n += __builtin_popcountl(word);
		}
		return n;
	}
	for (i = 0; i < COUNTED_WORDS && i < end; i++) {
		word = 0;
		bpf_probe_read_kernel(&word, sizeof(word), &words[i]);
		n += __builtin_popcountl(word);
	}
	return n;
}

static __always_inline void take_usage(struct task_struct *task)
{
	struct files_struct *files = kernel_read(task, files);
	__u64 table = (__u64)files;
	struct usage u = {};

	if (!files)
		return;
	u.open = count_bits(kernel_read(files, fdt));
	if (!u.open) /* a thread of the kernel */
		return;
	u.pid = kernel_read(task, tgid);
	u.limit = kernel_read(task, signal, rlim[RLIMIT_NOFILE].rlim_cur);
	u.cgroup_id = kernel_read(task, cgroups, dfl_cgrp, kn, id);
	bpf_map_update_elem(&usages, &table, &u, BPF_NOEXIST);
}

/*
 * The kernel's list of processes is a ring, and from our own on leads through all of
 * them, in whatever PID namespace; an iterator has those of its reader's only. What leaves
 * it meanwhile leads on until we are through, because a program runs under RCU.
 */
static __always_inline void walk_processes(void)
{
	struct task_struct *first = kernel_read((struct task_struct *)bpf_get_current_task(),
						group_leader),
			   *task = first;
	int i;

	bpf_for (i, 0, WALKED_MAX) {
		take_usage(task);
		task = (void *)kernel_read(task, tasks.next) -
		       bpf_core_field_offset(struct task_struct, tasks);
		if (task == first)
			return;
	}
}

#endif
