/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_FIXED_H
#define COPENCLOSE_FIXED_H

#include "task.h"

/* Direct descriptors of io_uring: files in a table of the ring, without an fd. */

/* Since 6.13 (fbbb8e991d86, "io_uring/rsrc: get rid of io_rsrc_node allocation cache"). */
struct io_rsrc_node___table {
	unsigned long file_ptr;
} __attribute__((preserve_access_index));

struct io_rsrc_data___table {
	unsigned int nr;
	struct io_rsrc_node___table **nodes;
} __attribute__((preserve_access_index));

struct io_file_table___nodes {
	struct io_rsrc_data___table data;
} __attribute__((preserve_access_index));

struct io_ring_ctx___nodes {
	struct io_file_table___nodes file_table;
} __attribute__((preserve_access_index));

/* Before. */
struct io_fixed_file___table {
	unsigned long file_ptr;
} __attribute__((preserve_access_index));

struct io_file_table___files {
	struct io_fixed_file___table *files;
} __attribute__((preserve_access_index));

struct io_ring_ctx___files {
	struct io_file_table___files file_table;
	unsigned int nr_user_files;
} __attribute__((preserve_access_index));

#define FILE_FLAGS 7UL /* in the pointer; FFS_MASK of io_uring/filetable.h */

/* The file of a direct descriptor, or NULL. */
static __always_inline struct file *fixed_file(struct io_ring_ctx *ring, __u32 number)
{
	struct io_ring_ctx___nodes *with_nodes = (void *)ring;
	struct io_ring_ctx___files *with_files = (void *)ring;
	unsigned long file = 0;

	if (bpf_core_field_exists(with_nodes->file_table.data.nodes)) {
		struct io_rsrc_node___table **nodes, *node = NULL;

		if (number >= BPF_CORE_READ(with_nodes, file_table.data.nr))
			return NULL;
		nodes = BPF_CORE_READ(with_nodes, file_table.data.nodes);
		bpf_probe_read_kernel(&node, sizeof(node), &nodes[number]);
		if (node)
			file = BPF_CORE_READ(node, file_ptr);
	} else {
		struct io_fixed_file___table *files;

		if (number >= BPF_CORE_READ(with_files, nr_user_files))
			return NULL;
		files = BPF_CORE_READ(with_files, file_table.files);
		bpf_probe_read_kernel(&file, sizeof(file), (unsigned long *)files + number);
	}
	return (struct file *)(file & ~FILE_FLAGS);
}

#endif
