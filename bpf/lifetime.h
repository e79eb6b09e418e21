/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_LIFETIME_H
#define COPENCLOSE_LIFETIME_H

#include "call.h"
#include "ledger.h"
#include "maps.h"

/*
 * How long what is closed was open. The map births is that of the object that notes them,
 * which is another one.
 */

/*
 * How many references a file has: f_count until 6.13, from 1 on; then f_ref (90ee6ed776c0,
 * "fs: port files to file_ref"), from 0 on.
 */
struct file___before_6_13 {
	atomic_long_t f_count;
} __attribute__((preserve_access_index));

struct file___since_6_13 {
	struct {
		atomic_long_t refcnt;
	} f_ref;
} __attribute__((preserve_access_index));

static __always_inline bool is_last_reference(struct file *file)
{
	struct file___before_6_13 *counted = (void *)file;
	struct file___since_6_13 *referred = (void *)file;
	__u64 count = 0;

	if (bpf_core_field_exists(struct file___before_6_13, f_count)) {
		bpf_probe_read_kernel(&count, sizeof(count), &counted->f_count);
		return count == 1;
	}
	bpf_probe_read_kernel(&count, sizeof(count), &referred->f_ref);
	return count == 0;
}

/*
 * What has no record of its own, and is not what its file was opened as, was inherited: at
 * the fork, if the file is older than the process.
 */
static __always_inline void describe_lifetime(struct slot *slot, struct task_struct *task, __u32 fd,
					      struct file *file)
{
	__u64 table = (__u64)task_walk(task, files);
	__u64 started = task_walk(task, group_leader, start_time);
	struct lifetime_part *l = &slot->lifetime;
	__u64 now = bpf_ktime_get_ns(), since = 0;
	struct origin o = {};

	find_births(&o, table, fd, file, started);
	__builtin_memset(l, 0, sizeof(*l));
	if (o.time && o.creator != 1 + BEFORE) {
		since = o.time;
		l->how = o.creator;
	} else if (o.file_time && o.file_time < started) {
		since = started;
		l->how = HOW_INHERITED;
	} else if (o.file_time && o.opener_table == table && o.opener_fd == fd) {
		since = o.file_time;
		l->how = o.file_creator;
	}
	if (since)
		l->lived = now - since;
	if (o.file_time) {
		l->file_lived = now - o.file_time;
		l->opener_pid = o.opener_pid;
		l->opener_fd = o.opener_fd;
		l->file_how = o.file_creator;
	}
	l->is_last = is_last_reference(file);
	slot->details.parts |= PART_LIFETIME;
}

/* What close(2) closes needs no record any more, so that there is room for others. */
static __always_inline void forget_birth(struct slot *slot, struct task_struct *task, __u32 fd,
					 struct file *file)
{
	struct birth_key own = {.address = (__u64)task_walk(task, files), .fd = fd};
	struct birth_key of_file = {.address = (__u64)file, .fd = OF_FILE};

	if (slot->lifetime.how != slot->lifetime.file_how)
		bpf_map_delete_elem(&births, &own);
	if (slot->lifetime.is_last)
		bpf_map_delete_elem(&births, &of_file);
}

#endif
