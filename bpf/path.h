/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_PATH_H
#define COPENCLOSE_PATH_H

#include "maps.h"
#include "task.h"

/* The absolute path of an open file. */

/* A path that is walked from the file up to the root. */
struct walk {
	struct slot *slot;
	struct dentry *root_dentry;
	struct vfsmount *root_mount;
	struct mount *mount;
	struct dentry *dentry;
	__u32 start; /* of what there is of the path, in slot->path */
	bool at_root;
};

/* Takes a name or crosses a mount; false at the root, or where there is no room. */
static __always_inline bool walk_one(struct walk *w)
{
	struct mount *mount = w->mount;
	struct dentry *dentry = w->dentry, *parent;
	struct vfsmount *vfsmount = (void *)mount + bpf_core_field_offset(struct mount, mnt);
	struct slot *slot = w->slot;
	struct qstr name;

	if (dentry == w->root_dentry && vfsmount == w->root_mount)
		goto root;
	if (dentry == kernel_read(vfsmount, mnt_root)) {
		struct mount *above = kernel_read(mount, mnt_parent);

		if (above == mount)
			goto root;
		w->dentry = kernel_read(mount, mnt_mountpoint);
		w->mount = above;
		return true;
	}
	parent = kernel_read(dentry, d_parent);
	if (parent == dentry)
		goto root;
	name.len = kernel_read(dentry, d_name.len) & (COMPONENT_MAX - 1);
	name.name = kernel_read(dentry, d_name.name);
	if (w->start < name.len + 1)
		return false;
	w->start -= name.len + 1;
	slot->path[w->start & (TEXT_MAX - 1)] = '/';
	bpf_probe_read_kernel(&slot->path[(w->start + 1) & (TEXT_MAX - 1)],
			      name.len & (COMPONENT_MAX - 1), name.name);
	w->dentry = parent;
	return true;

root:
	w->at_root = true;
	return false;
}

/*
 * How deep a path may be. Of a loop without an iterator the verifier goes all the
 * way itself, which would take longer than all else at start; iterators come with
 * 6.4 (6018e1f407cc, "bpf: implement numbers iterator"), but each step is a call,
 * which most paths are too short for.
 */
#define COMPONENTS_MAX 1024
#define COMPONENTS_USUAL 8
#define COMPONENTS_UNROLLED 64

static __always_inline void walk_all(struct walk *w)
{
	int i;

	for (i = 0; i < COMPONENTS_USUAL; i++)
		if (!walk_one(w))
			return;
	if (bpf_ksym_exists(bpf_iter_num_new)) {
		bpf_for (i, COMPONENTS_USUAL, COMPONENTS_MAX)
			if (!walk_one(w))
				return;
		return;
	}
	for (i = COMPONENTS_USUAL; i < COMPONENTS_UNROLLED; i++)
		if (!walk_one(w))
			return;
}

/*
 * The name is the absolute path of an open file through mounts, up to the caller's root:
 * what prepend_path() in fs/d_path.c does. No lock is held, so a file that is
 * moved right now may be called by a mix of its names.
 */
static __always_inline void describe_path(struct slot *slot, struct task_struct *task,
					  struct path *path)
{
	struct walk walk = {
		.slot = slot,
		.root_dentry = task_walk(task, fs, root.dentry),
		.root_mount = task_walk(task, fs, root.mnt),
		.mount = (void *)kernel_read(path, mnt) - bpf_core_field_offset(struct mount, mnt),
		.dentry = kernel_read(path, dentry),
		.start = TEXT_MAX,
	};
	__u32 at = slot->details.given_len & (TEXT_MAX - 1);
	__u32 start, len;

	walk_all(&walk);

	slot->details.target = TARGET_FILE;
	if (!walk.at_root)
		slot->details.remarks |= REMARK_TRUNCATED;
	start = walk.start;
	if (start == TEXT_MAX) {
		slot->text[at] = '/';
		slot->details.text_len = at + 1;
		return;
	}
	start &= TEXT_MAX - 1;
	len = TEXT_MAX - start;
	if (len > TEXT_MAX)
		len = TEXT_MAX;
	bpf_probe_read_kernel(&slot->text[at], len, &slot->path[start]);
	slot->details.text_len = at + len;
}

#endif
