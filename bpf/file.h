/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_FILE_H
#define COPENCLOSE_FILE_H

#include "maps.h"
#include "path.h"
#include "socket.h"

/* What an open file is: its path, its socket, or its name. */

static __always_inline struct file *file_of(struct task_struct *task, __u32 fd)
{
	struct fdtable *table = task_walk(task, files, fdt);
	struct file **array, *file = NULL;

	if (fd >= kernel_read(table, max_fds))
		return NULL;
	array = kernel_read(table, fd);
	bpf_probe_read_kernel(&file, sizeof(file), &array[fd]);
	return file;
}

/* File systems of files without a path; include/uapi/linux/magic.h. */
#define PIPEFS_MAGIC 0x50495045
#define ANON_INODE_FS_MAGIC 0x09041934
#define PID_FS_MAGIC 0x50494446
#define NSFS_MAGIC 0x6e736673

/* The name is a string of the kernel, shorter than COMPONENT_MAX. */
static __always_inline void describe_name(struct slot *slot, const char *name, enum target target)
{
	__u32 at = slot->details.given_len & (TEXT_MAX - 1);
	long len = bpf_probe_read_kernel_str(&slot->text[at], COMPONENT_MAX, name);

	slot->details.target = target;
	slot->details.text_len = at + (len > 0 ? len - 1 : 0);
}

static __always_inline const char *name_of(struct dentry *dentry)
{
	return (const char *)kernel_read(dentry, d_name.name);
}

/*
 * A memfd is a file of a tmpfs that is mounted nowhere: a root by itself, named
 * with this prefix by memfd_create() in mm/memfd.c. What looks the same in
 * somebody's directory has a parent.
 */
static __always_inline bool is_memfd(struct dentry *dentry)
{
	const char prefix[] = "memfd:";
	char name[sizeof(prefix) - 1] = {};

	if (kernel_read(dentry, d_parent) != dentry)
		return false;
	bpf_probe_read_kernel(name, sizeof(name), name_of(dentry));
	for (__u32 i = 0; i < sizeof(name); i++)
		if (name[i] != prefix[i])
			return false;
	return true;
}

/*
 * Files that have a name of their own instead of a path, unless they are mounted
 * somewhere: the rule of d_path() in fs/d_path.c.
 */
static __always_inline bool has_path(struct path *path, struct dentry *dentry)
{
	const struct dentry_operations *operations = kernel_read(dentry, d_op);
	struct vfsmount *mount;

	if (!operations || !kernel_read(operations, d_dname))
		return true;
	mount = kernel_read(path, mnt);
	return dentry == kernel_read(dentry, d_parent) && dentry == kernel_read(mount, mnt_root);
}

static __always_inline void describe_namespace(struct slot *slot, struct inode *inode)
{
	struct ns_common *ns = kernel_read(inode, i_private);

	slot->details.inode = kernel_read(inode, i_ino);
	describe_name(slot, kernel_read(ns, ops, name), TARGET_NAMESPACE);
}

static __always_inline void describe_file_in(struct slot *slot, struct task_struct *task,
					     struct file *file)
{
	struct path *path = (void *)file + bpf_core_field_offset(struct file, f_path);
	struct inode *inode = kernel_read(file, f_inode);
	struct dentry *dentry = kernel_read(file, f_path.dentry);
	struct sock *sk = sock_of(file);

	slot->details.file_mode = kernel_read(inode, i_mode);
	if (sk) {
		describe_sock(slot, sk);
		return;
	}
	switch (kernel_read(inode, i_sb, s_magic)) {
	case PIPEFS_MAGIC:
		slot->details.target = TARGET_PIPE;
		return;
	case ANON_INODE_FS_MAGIC:
		describe_name(slot, name_of(dentry), TARGET_ANONYMOUS);
		return;
	}
	if (is_memfd(dentry)) {
		describe_name(slot, name_of(dentry), TARGET_MEMFD);
		return;
	}
	if (has_path(path, dentry)) {
		describe_path(slot, task, path);
		return;
	}
	/* Opened with O_PATH through /proc. */
	if ((slot->details.file_mode & S_IFMT) == S_IFSOCK) {
		slot->details.target = TARGET_SOCKET;
		return;
	}
	switch (kernel_read(inode, i_sb, s_magic)) {
	case NSFS_MAGIC:
		describe_namespace(slot, inode);
		return;
	case PID_FS_MAGIC:
		describe_name(slot, "[pidfd]", TARGET_ANONYMOUS);
		return;
	}
	describe_name(slot, kernel_read(inode, i_sb, s_type, name), TARGET_ANONYMOUS);
}

/* A function of its own, so that the verifier looks at it once a program. */
__noinline int describe_open_file(__u32 slot_number, __u64 file)
{
	struct slot *slot = slot_of(slot_number);

	if (slot)
		describe_file_in(slot, current_task(), (struct file *)file);
	return 0;
}

static __always_inline void describe_file(struct slot *slot, struct file *file)
{
	describe_open_file(slot->number, (__u64)file);
}

#endif
