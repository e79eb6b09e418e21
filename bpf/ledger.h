/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_LEDGER_H
#define COPENCLOSE_LEDGER_H

#include "descriptor.h"
#include "task.h"

/*
 * What was noted of descriptors when they were made, for who looks at them later: births.h
 * writes it, and another object can have the same map.
 */

/*
 * When and by which call descriptors were made. A file has a record of its first
 * descriptor, and each further descriptor one of its own; those that fork makes have
 * none. Nothing is removed when something is closed: a record is believed only where it
 * still fits the file that is in the table, so that one that is left over is harmless.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 18);
	__uint(map_flags, BPF_F_NO_PREALLOC); /* pays for what is open */
	__type(key, struct birth_key);
	__type(value, struct birth);
} births SEC(".maps");

static __always_inline __u64 word_at(const void *at)
{
	__u64 word = 0;

	bpf_probe_read_kernel(&word, sizeof(word), at);
	return word;
}

/*
 * Inode and operations, because anonymous inodes share one inode. They are read as
 * numbers: the verifier allows no arithmetic on two pointers.
 */
static __always_inline __u64 identity_of(struct file *file)
{
	return word_at((void *)file + bpf_core_field_offset(struct file, f_inode)) ^
	       word_at((void *)file + bpf_core_field_offset(struct file, f_op));
}

/* How and when a descriptor and its file were made, 0 for what is not known. */
struct origin {
	__u64 time; /* of a descriptor that has a record of its own */
	__u64 file_time;
	__u64 opener_table;
	__u32 opener_pid;
	__u32 opener_fd;
	__u8 creator; /* 1 + enum creator */
	__u8 file_creator;
};

/* What the records say of a descriptor, as far as they still fit. */
static __always_inline void find_births(struct origin *o, __u64 table, __u32 fd, struct file *file,
					__u64 started)
{
	struct birth_key of_file = {.address = (__u64)file, .fd = OF_FILE};
	struct birth_key own = {.address = table, .fd = fd};
	const struct birth *birth = bpf_map_lookup_elem(&births, &of_file);

	if (birth && birth->identity == identity_of(file)) {
		o->file_time = birth->time;
		o->opener_table = birth->table;
		o->opener_pid = birth->pid;
		o->opener_fd = birth->fd;
		o->file_creator = 1 + birth->creator;
	}
	/* A record that is older than the file is of one that was at this address before. */
	birth = bpf_map_lookup_elem(&births, &own);
	if (birth && birth->identity == (__u64)file && birth->time >= started &&
	    birth->time >= o->file_time) {
		o->time = birth->time;
		o->creator = 1 + birth->creator;
	}
}

#endif
