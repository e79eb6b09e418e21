//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// SPDX-FileCopyrightText: The copenclose authors
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "births.h"
#include "descriptor.h"
#include "fdtable.h"
#include "file.h"
#include "usage.h"

/*
 * What is open: an object of its own, which only the subcommands load that show
 * descriptors, so that tracing does not pay for it.
 */

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Keep the contract's types in the object's BTF, which descriptor_test.go reads. */
const struct descriptor *const descriptor_in_btf SEC(".rodata");
const struct birth_key *const birth_key_in_btf SEC(".rodata");
const struct maker *const maker_in_btf SEC(".rodata");
const struct made *const made_in_btf SEC(".rodata");
const struct suspect *const suspect_in_btf SEC(".rodata");
const struct call_stack *const call_stack_in_btf SEC(".rodata");
const struct usage *const usage_in_btf SEC(".rodata");
const enum creator creator_in_btf SEC(".rodata");

/* Whether births are noted. */
const volatile bool has_births;

#define OVERLAYFS_MAGIC 0x794c7630 /* include/uapi/linux/magic.h */
#define BITS_PER_LONG 64

static __always_inline bool is_cloexec(struct files_struct *files, __u32 fd)
{
	struct fdtable *table = kernel_read(files, fdt);
	unsigned long *bits, word = 0;

	if (fd >= kernel_read(table, max_fds))
		return false;
	bits = kernel_read(table, close_on_exec);
	bpf_probe_read_kernel(&word, sizeof(word), &bits[fd / BITS_PER_LONG]);
	return word >> (fd % BITS_PER_LONG) & 1;
}

/*
 * A file whose name was removed, which d_path() calls "(deleted)": d_unlinked() in
 * include/linux/dcache.h.
 */
static __always_inline bool is_deleted(struct dentry *dentry)
{
	return !kernel_read(dentry, d_hash.pprev) && kernel_read(dentry, d_parent) != dentry;
}

/*
 * What a file takes on its file system. An inode of an overlay has the size of the
 * real one, but not its blocks.
 */
static __always_inline __u64 allocated(struct inode *inode)
{
	if (kernel_read(inode, i_sb, s_magic) == OVERLAYFS_MAGIC)
		return kernel_read(inode, i_size);
	return (kernel_read(inode, i_blocks) << 9) + kernel_read(inode, i_bytes);
}

static __always_inline void take_process(struct descriptor *d, struct task_struct *task)
{
	struct task_struct *leader = kernel_read(task, group_leader);
	struct rlimit limit = {};

	d->pid = kernel_read(task, tgid);
	d->tid = kernel_read(task, pid);
	d->ppid = kernel_read(task, real_parent, tgid);
	d->uid = kernel_read(task, real_cred, uid.val);
	d->cgroup_id = kernel_read(task, cgroups, dfl_cgrp, kn, id);
	d->started = kernel_read(leader, start_time);
	bpf_probe_read_kernel(d->comm, sizeof(d->comm), &leader->comm);
	bpf_probe_read_kernel(&limit, sizeof(limit),
			      &kernel_read(task, signal)->rlim[RLIMIT_NOFILE]);
	d->limit = limit.rlim_cur;
	d->hard_limit = limit.rlim_max;
}

/* Element which of an array of counts, which were int until 5.14 and 6.0, now long. */
#define read_count(base, type, field, which)                                                       \
	({                                                                                         \
		__u32 size = bpf_core_field_size(((struct type *)0)->field[0]);                    \
		__u64 value = 0;                                                                   \
		const void *at =                                                                   \
			(void *)(base) + bpf_core_field_offset(struct type, field) + (which)*size; \
		if (size == sizeof(__u32))                                                         \
			bpf_probe_read_kernel(&value, sizeof(__u32), at);                          \
		else                                                                               \
			bpf_probe_read_kernel(&value, sizeof(value), at);                          \
		value > 0xffffffff ? 0xffffffff : value;                                           \
	})

static __always_inline void take_inotify(struct descriptor *d, struct file *file)
{
	struct fsnotify_group *group = kernel_read(file, private_data);
	struct ucounts *counts = kernel_read(group, inotify_data.ucounts);
	struct user_namespace *ns = kernel_read(counts, ns);
	__u32 instances = bpf_core_enum_value(enum ucount_type, UCOUNT_INOTIFY_INSTANCES);
	__u32 watches = bpf_core_enum_value(enum ucount_type, UCOUNT_INOTIFY_WATCHES);

	d->owner = kernel_read(counts, uid.val);
	d->instances = read_count(counts, ucounts, ucount, instances);
	d->watches = read_count(counts, ucounts, ucount, watches);
	d->instances_max = read_count(ns, user_namespace, ucount_max, instances);
	d->watches_max = read_count(ns, user_namespace, ucount_max, watches);
}

static __always_inline bool is_inotify(struct slot *slot)
{
	const char inotify[] = "inotify";

	if (slot->details.target != TARGET_ANONYMOUS ||
	    slot->details.text_len != sizeof(inotify) - 1)
		return false;
	for (__u32 i = 0; i < sizeof(inotify) - 1; i++)
		if (slot->text[i] != inotify[i])
			return false;
	return true;
}

static __always_inline void take_file(struct descriptor *d, struct slot *slot, struct file *file)
{
	struct inode *inode = kernel_read(file, f_inode);
	struct sock *sk = (struct sock *)slot->sk;

	d->file = (__u64)file;
	d->object = (__u64)inode;
	d->inode = kernel_read(inode, i_ino);
	d->device = kernel_read(inode, i_sb, s_dev);
	d->open_flags = kernel_read(file, f_flags);
	if (slot->details.target == TARGET_SOCKET) {
		d->object = (__u64)sk;
		d->net_ns = kernel_read(sk, __sk_common.skc_net.net, ns.inum);
		if (slot->socket.family == AF_UNIX)
			d->peer = (__u64)kernel_read((struct unix_sock *)sk, peer);
		else if (slot->socket.family == AF_INET || slot->socket.family == AF_INET6)
			d->state = kernel_read(sk, __sk_common.skc_state);
		return;
	}
	if (is_inotify(slot)) {
		take_inotify(d, file);
		return;
	}
	d->size = kernel_read(inode, i_size);
	if (slot->details.target != TARGET_FILE)
		return;
	d->is_deleted = is_deleted(kernel_read(file, f_path.dentry));
	if (d->is_deleted && !kernel_read(inode, i_nlink))
		d->held = allocated(inode);
}

/*
 * One open descriptor. The kernel runs this again for the same one where the reader's
 * buffer was full, and drops what was written then.
 */
SEC("iter/task_file")
int descriptors(struct bpf_iter__task_file *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct descriptor d = {};
	struct slot *slot = slot_of(0);
	struct files_struct *files;
	__u32 len;

	if (!task || !file || !slot)
		return 0;
	/* The reader's own descriptors are those that it reads with. */
	if (kernel_read(task, tgid) == bpf_get_current_pid_tgid() >> 32)
		return 0;
	__builtin_memset(&slot->details, 0, sizeof(slot->details));
	slot->number = 0;
	slot->sk = 0;
	describe_file_in(slot, task, file);

	files = kernel_read(task, files);
	d.table = (__u64)files;
	d.fd = ctx->fd;
	d.is_cloexec = is_cloexec(files, ctx->fd);
	take_process(&d, task);
	take_file(&d, slot, file);

	if (has_births)
		join_births(&d, file);

	len = slot->details.text_len;
	if (len > 2 * TEXT_MAX)
		len = 2 * TEXT_MAX;
	slot->details.text_len = len;
	bpf_seq_write(seq, &d, sizeof(d));
	/* Filled up to 8 bytes, so that what follows is aligned. */
	bpf_seq_write(seq, &slot->details, sizeof(slot->details) + ((len + 7) & ~7));
	if (slot->details.parts & PART_SOCKET)
		bpf_seq_write(seq, &slot->socket, sizeof(slot->socket));
	return 0;
}

/*
 * What every process has open, once a read. From 6.4 on, the first task leads to all of
 * them; before, those of the reader's PID namespace are looked at.
 */
SEC("iter/task")
int count_usage(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (!task)
		return 0;
	if (bpf_ksym_exists(bpf_iter_num_new)) {
		if (!ctx->meta->seq_num)
			walk_processes();
	} else if (kernel_read(task, pid) == kernel_read(task, tgid)) {
		take_usage(task);
	}
	return 0;
}

/* Calls that make descriptors, when they return; see the ways to attach in way.go. */
SEC("tp_btf/sys_exit")
int BPF_PROG(birth_sys_exit, const struct pt_regs *regs, long ret)
{
	return call_returned(regs, ret);
}

SEC("tracepoint")
int birth_perf_sys_exit(struct trace_event_raw_sys_exit *ctx)
{
	return call_returned(user_regs(current_task()), ctx->ret);
}

/* And close(2), when it is called. */
SEC("tp_btf/sys_enter")
int BPF_PROG(birth_sys_enter, const struct pt_regs *regs)
{
	return call_entered(regs);
}

SEC("tracepoint")
int birth_perf_sys_enter(struct trace_event_raw_sys_enter *ctx)
{
	return call_entered(user_regs(current_task()));
}
