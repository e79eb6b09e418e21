/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_TASK_H
#define COPENCLOSE_TASK_H

#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include "record.h"

/*
 * The kernel's own data. Fields are loaded, not read with helpers, wherever the
 * kernel lets us: where returns are expensive (retbleed, SRSO), each call of a
 * helper costs more than the rest of what is done for a field.
 *
 * task_read(task, a) is task->a of the current task, a number, and task_walk(task, a, b)
 * is task->a->b, or a pointer task->a, a null pointer on the way giving 0. From 5.11
 * (3ca1032ab7ab, "bpf: Implement get_current_task_btf and RET_PTR_TO_BTF_ID") these are
 * plain loads; before, each arrow is a bpf_probe_read_kernel().
 *
 * A walk does not begin at a pointer that the verifier trusts: from 6.3 on (6fcd486b3a0a,
 * "bpf: Refactor RCU enforcement in the verifier") it searches all types of the kernel by
 * name, four times, whenever it sees that a pointer is loaded through such a one. On 6.18
 * these searches took 200 ms of the 480 that -o wide needed to start.
 */
#define HAVE_CURRENT_TASK_BTF \
	bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)

static __always_inline struct task_struct *current_task(void)
{
	if (HAVE_CURRENT_TASK_BTF)
		return bpf_get_current_task_btf();
	return (struct task_struct *)bpf_get_current_task();
}

#define task_read(task, ...)                                              \
	({                                                                \
		struct task_struct *from = (task);                        \
		HAVE_CURRENT_TASK_BTF ? ___arrow(from, __VA_ARGS__)       \
				      : BPF_CORE_READ(from, __VA_ARGS__); \
	})

#define task_walk(task, ...)                                               \
	({                                                                 \
		struct task_struct *start = (task);                        \
		HAVE_CURRENT_TASK_BTF && !bpf_ksym_exists(bpf_rdonly_cast) \
			? ___arrow(start, __VA_ARGS__)                     \
			: kernel_read(start, __VA_ARGS__);                 \
	})

/*
 * kernel_read(p, a, b) is p->a->b of any pointer, in the same way from 6.2 on
 * (a35b9af4ec2c, "bpf: Add a kfunc for generic type cast").
 */
#define kernel_read(p, ...)                                                         \
	({                                                                          \
		typeof(*(p)) *from = (p);                                           \
		bpf_ksym_exists(bpf_rdonly_cast)                                    \
			? ___arrow(bpf_core_cast(from, typeof(*from)), __VA_ARGS__) \
			: BPF_CORE_READ(from, __VA_ARGS__);                         \
	})

static __always_inline __u64 cgroup_id_of(struct task_struct *task)
{
	if (HAVE_CURRENT_TASK_BTF)
		return task_walk(task, cgroups, dfl_cgrp, kn, id);
	return bpf_get_current_cgroup_id();
}

/* Like the helper, the gid in the upper half. */
static __always_inline __u64 uid_gid_of(struct task_struct *task)
{
	const struct cred *cred;

	if (!HAVE_CURRENT_TASK_BTF)
		return bpf_get_current_uid_gid();
	cred = task_walk(task, cred);
	return cred->uid.val | (__u64)cred->gid.val << 32;
}

static __always_inline __u64 pid_tgid_of(struct task_struct *task)
{
	if (HAVE_CURRENT_TASK_BTF)
		return (__u32)task->pid | (__u64)task->tgid << 32;
	return bpf_get_current_pid_tgid();
}

/*
 * Tells apart all programs that are ever run under a pid: when the process was forked, in
 * ns, and how often it, or who forked it, had executed a program. So it grows with time.
 * The count has 64 bits since 5.7 (d1e7fd6462ca, "signal: Extend exec_id to 64bits").
 */
static __always_inline __u64 program_id_of(struct task_struct *task)
{
	return task_walk(task, group_leader, start_time) + (__u32)task_walk(task, self_exec_id);
}

/* Of one that ends, which do_exit() has counted out before. */
static __always_inline bool is_last_thread(struct task_struct *task)
{
	return !task_walk(task, signal, live.counter);
}

/* Copies by words what a plain memcpy() would by bytes, its alignment unknown. */
#define copy_words(word, to, from, size)                               \
	do {                                                           \
		for (__u32 i = 0; i < (size) / sizeof(word); i++)      \
			((word *)(to))[i] = ((const word *)(from))[i]; \
	} while (0)

#define PF_IO_WORKER 0x10 /* include/linux/sched.h: a thread that io_uring has made */

/*
 * As a filter's key it is aligned to 4 bytes only. A thread that io_uring has made in a
 * process goes by the name of that; before 5.11 only with name_by_process().
 */
static __always_inline void copy_comm(char *to, struct task_struct *task)
{
	if (!HAVE_CURRENT_TASK_BTF)
		bpf_get_current_comm(to, COMM_LEN);
	else if (task->flags & PF_IO_WORKER)
		bpf_probe_read_kernel(to, COMM_LEN, task_walk(task, group_leader)->comm);
	else
		copy_words(__u32, to, task->comm, COMM_LEN);
}

static __always_inline void copy_hostname(char *to, struct task_struct *task)
{
	struct uts_namespace *uts = task_walk(task, nsproxy, uts_ns);

	if (HAVE_CURRENT_TASK_BTF)
		copy_words(__u64, to, uts->name.nodename, HOSTNAME_LEN);
	else
		bpf_probe_read_kernel(to, HOSTNAME_LEN, uts->name.nodename);
}

#endif
