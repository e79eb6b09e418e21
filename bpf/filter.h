/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_FILTER_H
#define COPENCLOSE_FILTER_H

#include "maps.h"
#include "task.h"
#include "verdict.h"

/*
 * Filters decide before a record is reserved. Each holds when one entry of its
 * list does and no exception, and an event passes when all of them hold. That of
 * paths is in describe.h, where the path is.
 */

/* entry is the value that a map of a filter has, or NULL. */
static __always_inline enum listing listing_of(const __u8 *entry)
{
	return entry ? *entry : LISTING_NONE;
}

static __always_inline bool listing_passes(enum listing listing, bool other)
{
	return listing == LISTING_NONE ? other : listing == LISTING_ONLY;
}

static __always_inline bool id_passes(enum id_kind kind, __u32 value)
{
	struct id id = {.kind = kind, .value = value};

	if (!cfg.only_ids[kind])
		return true;
	if (cfg.has_one_id[kind])
		return (value == cfg.one_id[kind]) != cfg.other_ids[kind];
	return listing_passes(listing_of(bpf_map_lookup_elem(&ids, &id)), cfg.other_ids[kind]);
}

/*
 * Level 0 is the initial PID namespace, whatever its inode number. This is
 * where the task is, not where its next child will be (nsproxy).
 */
static __always_inline bool in_initial_pid_namespace(struct task_struct *task)
{
	return task_walk(task, thread_pid, level) == 0;
}

/* What copy_comm() does from 5.11 on. A function of its own, as 5.10 has little stack. */
static __noinline void name_by_process(char comm[COMM_LEN])
{
	struct task_struct *task = current_task();

	if (BPF_CORE_READ(task, flags) & PF_IO_WORKER)
		bpf_probe_read_kernel(comm, COMM_LEN, BPF_CORE_READ(task, group_leader)->comm);
}

static __always_inline bool comm_passes(struct task_struct *task)
{
	struct comm_prefix key = {.bits = 8 * COMM_LEN};

	copy_comm(key.comm, task);
	if (!HAVE_CURRENT_TASK_BTF)
		name_by_process(key.comm);
	return listing_passes(listing_of(bpf_map_lookup_elem(&comms, &key)), cfg.other_comms);
}

/* In one of them or below it. */
static __always_inline bool in_cgroup(__u32 first, __u32 end)
{
	for (__u32 i = first; i < CGROUPS_MAX && i < end; i++)
		if (bpf_current_task_under_cgroup(&cgroups, i) == 1)
			return true;
	return false;
}

static __always_inline bool cgroup_passes(void)
{
	if (in_cgroup(cfg.only_cgroups, cfg.only_cgroups + cfg.except_cgroups))
		return false;
	return !cfg.only_cgroups || in_cgroup(0, cfg.only_cgroups);
}

/*
 * The host is the initial PID namespace and no container's cgroup. A cgroup that
 * the tool does not know yet passes: the tool decides when it has the event.
 */
static __always_inline bool container_passes(struct task_struct *task)
{
	enum verdict verdict;

	if (!cfg.only_chosen && !in_initial_pid_namespace(task))
		return true;
	verdict = verdict_of(cgroup_id_of(task));
	if (verdict == VERDICT_UNKNOWN)
		return cfg.only_chosen || shared.verdicts_complete;
	return verdict >= (cfg.only_chosen ? VERDICT_CHOSEN : VERDICT_CONTAINER);
}

/* What is known of the caller: the same when a call is entered and returns. */
static __always_inline bool caller_passes(struct task_struct *task, __u64 pid_tgid)
{
	if ((cfg.ignore_host || cfg.only_chosen) && !container_passes(task))
		return false;
	if (!id_passes(ID_PID, pid_tgid >> 32) || !id_passes(ID_TID, pid_tgid))
		return false;
	if (cfg.only_ids[ID_UID] || cfg.only_ids[ID_GID]) {
		__u64 uid_gid = uid_gid_of(task);

		if (!id_passes(ID_UID, uid_gid) || !id_passes(ID_GID, uid_gid >> 32))
			return false;
	}
	if (cfg.only_comms && !comm_passes(task))
		return false;
	return cgroup_passes();
}

static __always_inline bool result_passes(long ret)
{
	if (cfg.only_failed && ret >= 0)
		return false;
	if (ret >= 0)
		return !cfg.only_ids[ID_ERRNO] || cfg.other_ids[ID_ERRNO];
	return id_passes(ID_ERRNO, -ret);
}

/* Whether what succeeds in the current task without a call of its own is recorded. */
static __always_inline bool event_passes(struct task_struct *task)
{
	__u64 pid_tgid = pid_tgid_of(task);
	__u32 tool = shared.tool;

	return tool && pid_tgid >> 32 != tool && result_passes(0) && caller_passes(task, pid_tgid);
}

#endif
