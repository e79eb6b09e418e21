/* SPDX-License-Identifier: GPL-2.0 */
#ifndef COPENCLOSE_DESCRIBE_H
#define COPENCLOSE_DESCRIBE_H

/* What a call is about: its arguments, and what the kernel knows of its files. */

struct call {
	struct task_struct *task;
	const struct pt_regs *regs;
	long ret;
	enum syscall syscall;
	enum abi abi;
	bool socketcall; /* the arguments are an array in the caller's memory */
};

struct arguments {
	__u64 arg[4];
};

static __always_inline void read_arguments(struct arguments *a, const struct call *call)
{
	if (call->socketcall) {
		__u32 array[4] = {};

		bpf_probe_read_user(array, sizeof(array),
				    (void *)(long)ARG_1(call->regs, call->abi));
		for (int i = 0; i < 4; i++)
			a->arg[i] = array[i];
		return;
	}
	a->arg[0] = ARG_0(call->regs, call->abi);
	a->arg[1] = ARG_1(call->regs, call->abi);
	a->arg[2] = ARG_2(call->regs, call->abi);
	a->arg[3] = ARG_3(call->regs, call->abi);
}

/*
 * A path as the caller gave it, read when the call returns. The kernel refuses
 * one that has no NUL among TEXT_MAX bytes (ENAMETOOLONG), and so one byte more
 * is asked for, to tell.
 */
static __always_inline void describe_given_path(struct slot *slot, __u64 user_pointer)
{
	long len = bpf_probe_read_user_str(slot->text, TEXT_MAX + 1, (void *)(long)user_pointer);

	if (len < 0)
		return;
	slot->details.target = TARGET_PATH;
	slot->details.truncated = len > TEXT_MAX;
	/* Of an empty string 5.10 says that it has no byte, not even the NUL. */
	if (len > 0)
		slot->details.text_len = len > TEXT_MAX ? TEXT_MAX - 1 : len - 1;
}

static __always_inline struct file *file_of(struct task_struct *task, __u32 fd)
{
	struct fdtable *table = task_read(task, files, fdt);
	struct file **array, *file = NULL;

	if (fd >= kernel_read(table, max_fds))
		return NULL;
	array = kernel_read(table, fd);
	bpf_probe_read_kernel(&file, sizeof(file), &array[fd]);
	return file;
}

/* A path on the way up to the root. */
struct climb {
	struct slot *slot;
	struct dentry *root_dentry;
	struct vfsmount *root_mount;
	struct mount *mount;
	struct dentry *dentry;
	__u32 start; /* of what there is of the path, in slot->path */
	bool at_root;
};

/* Takes a name or crosses a mount; false at the root, or where there is no room. */
static __always_inline bool climb_one(struct climb *c)
{
	struct mount *mount = c->mount;
	struct dentry *dentry = c->dentry, *parent;
	struct vfsmount *vfsmount = (void *)mount + bpf_core_field_offset(struct mount, mnt);
	struct slot *slot = c->slot;
	struct qstr name;

	if (dentry == c->root_dentry && vfsmount == c->root_mount)
		goto root;
	if (dentry == kernel_read(vfsmount, mnt_root)) {
		struct mount *above = kernel_read(mount, mnt_parent);

		if (above == mount)
			goto root;
		c->dentry = kernel_read(mount, mnt_mountpoint);
		c->mount = above;
		return true;
	}
	parent = kernel_read(dentry, d_parent);
	if (parent == dentry)
		goto root;
	name.len = kernel_read(dentry, d_name.len) & (COMPONENT_MAX - 1);
	name.name = kernel_read(dentry, d_name.name);
	if (c->start < name.len + 1)
		return false;
	c->start -= name.len + 1;
	slot->path[c->start & (TEXT_MAX - 1)] = '/';
	bpf_probe_read_kernel(&slot->path[(c->start + 1) & (TEXT_MAX - 1)],
			      name.len & (COMPONENT_MAX - 1), name.name);
	c->dentry = parent;
	return true;

root:
	c->at_root = true;
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

static __always_inline void climb_all(struct climb *c)
{
	int i;

	for (i = 0; i < COMPONENTS_USUAL; i++)
		if (!climb_one(c))
			return;
	if (bpf_ksym_exists(bpf_iter_num_new)) {
		bpf_for (i, COMPONENTS_USUAL, COMPONENTS_MAX)
			if (!climb_one(c))
				return;
		return;
	}
	for (i = COMPONENTS_USUAL; i < COMPONENTS_UNROLLED; i++)
		if (!climb_one(c))
			return;
}

/*
 * The absolute path of an open file through mounts, up to the caller's root:
 * what prepend_path() in fs/d_path.c does. No lock is held, so a file that is
 * moved right now may be called by a mix of its names.
 */
static __always_inline void describe_path(struct slot *slot, struct task_struct *task,
					  struct path *path)
{
	struct climb climb = {
		.slot = slot,
		.root_dentry = task_read(task, fs, root.dentry),
		.root_mount = task_read(task, fs, root.mnt),
		.mount = (void *)kernel_read(path, mnt) - bpf_core_field_offset(struct mount, mnt),
		.dentry = kernel_read(path, dentry),
		.start = TEXT_MAX,
	};
	__u32 start, len;

	climb_all(&climb);

	slot->details.target = TARGET_FILE;
	slot->details.truncated = !climb.at_root;
	start = climb.start;
	if (start == TEXT_MAX) {
		slot->text[0] = '/';
		slot->details.text_len = 1;
		return;
	}
	start &= TEXT_MAX - 1;
	len = TEXT_MAX - start;
	if (len > TEXT_MAX)
		len = TEXT_MAX;
	bpf_probe_read_kernel(slot->text, len, &slot->path[start]);
	slot->details.text_len = len;
}

#define AF_UNIX 1 /* include/linux/socket.h */
#define AF_INET 2
#define AF_INET6 10

#define UNIX_PATH_OFFSET 2 /* offsetof(struct sockaddr_un, sun_path) */
#define UNIX_PATH_MAX 108  /* include/uapi/linux/un.h */

/*
 * Appends the address that a unix socket is bound to. At most another one is
 * there already, so that all is below 128: the masks are for the verifier, and
 * the barriers keep the compiler from knowing better.
 */
static __always_inline void append_unix_address(struct slot *slot, struct address *address,
						struct sock *sk)
{
	struct unix_address *bound = BPF_CORE_READ((struct unix_sock *)sk, addr);
	__u32 at = slot->details.text_len;
	__u32 len;

	if (!sk || !bound)
		return;
	len = BPF_CORE_READ(bound, len) - UNIX_PATH_OFFSET;
	if (len > UNIX_PATH_MAX)
		return;
	address->text_len = len;
	slot->details.text_len = at + len;
	barrier_var(at);
	barrier_var(len);
	bpf_probe_read_kernel(&slot->text[at & 127], len & 127,
			      (void *)bound + bpf_core_field_offset(struct unix_address, name) +
				      UNIX_PATH_OFFSET);
}

/* Both ends of a socket, from the kernel's own. */
static __always_inline void describe_socket(struct slot *slot, struct file *file)
{
	struct socket *socket = BPF_CORE_READ(file, private_data);
	struct sock *sk = BPF_CORE_READ(socket, sk);
	struct details *d = &slot->details;

	d->target = TARGET_SOCKET;
	d->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	switch (d->family) {
	case AF_UNIX:
		append_unix_address(slot, &d->peer, BPF_CORE_READ((struct unix_sock *)sk, peer));
		append_unix_address(slot, &d->local, sk);
		return;
	case AF_INET:
		BPF_CORE_READ_INTO((__be32 *)d->peer.ip, sk, __sk_common.skc_daddr);
		BPF_CORE_READ_INTO((__be32 *)d->local.ip, sk, __sk_common.skc_rcv_saddr);
		break;
	case AF_INET6:
		BPF_CORE_READ_INTO((struct in6_addr *)d->peer.ip, sk, __sk_common.skc_v6_daddr);
		BPF_CORE_READ_INTO((struct in6_addr *)d->local.ip, sk,
				   __sk_common.skc_v6_rcv_saddr);
		d->peer.scope_id = d->local.scope_id =
			BPF_CORE_READ(sk, __sk_common.skc_bound_dev_if);
		break;
	default:
		return;
	}
	d->peer.port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	d->local.port = BPF_CORE_READ(sk, __sk_common.skc_num);
}

/* File systems of files without a path; include/uapi/linux/magic.h. */
#define PIPEFS_MAGIC 0x50495045
#define ANON_INODE_FS_MAGIC 0x09041934

#define S_IFMT 0170000
#define S_IFSOCK 0140000

static __always_inline void describe_name(struct slot *slot, struct dentry *dentry,
					  enum target target)
{
	__u32 len = kernel_read(dentry, d_name.len) & (COMPONENT_MAX - 1);

	bpf_probe_read_kernel(slot->text, len, kernel_read(dentry, d_name.name));
	slot->details.target = target;
	slot->details.text_len = len;
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
	bpf_probe_read_kernel(name, sizeof(name), kernel_read(dentry, d_name.name));
	for (__u32 i = 0; i < sizeof(name); i++)
		if (name[i] != prefix[i])
			return false;
	return true;
}

static __always_inline void describe_file(struct slot *slot, struct task_struct *task,
					  struct file *file)
{
	struct inode *inode = kernel_read(file, f_inode);
	struct dentry *dentry = kernel_read(file, f_path.dentry);

	slot->details.file_mode = kernel_read(inode, i_mode);
	if ((slot->details.file_mode & S_IFMT) == S_IFSOCK) {
		describe_socket(slot, file);
		return;
	}
	switch (kernel_read(inode, i_sb, s_magic)) {
	case PIPEFS_MAGIC:
		slot->details.target = TARGET_PIPE;
		return;
	case ANON_INODE_FS_MAGIC:
		describe_name(slot, dentry, TARGET_ANONYMOUS);
		return;
	}
	if (is_memfd(dentry)) {
		describe_name(slot, dentry, TARGET_MEMFD);
		return;
	}
	describe_path(slot, task, (void *)file + bpf_core_field_offset(struct file, f_path));
}

#define SIN6_LEN_RFC2133 24 /* without the scope id; include/net/ipv6.h */

/* The address that connect(2) was given. */
static __always_inline void describe_given_address(struct slot *slot, __u64 user_pointer, __u32 len)
{
	const void *addr = (void *)(long)user_pointer;
	struct details *d = &slot->details;
	struct sockaddr_in6 in6 = {};
	struct sockaddr_in in = {};

	if (len < sizeof(d->family) || bpf_probe_read_user(&d->family, sizeof(d->family), addr))
		return;
	d->target = TARGET_SOCKET;
	switch (d->family) {
	case AF_UNIX:
		len -= UNIX_PATH_OFFSET;
		if (len > UNIX_PATH_MAX)
			return;
		/* The verifier must see the bound on the register it is passed in. */
		barrier_var(len);
		if (bpf_probe_read_user(slot->text, len & 127, addr + UNIX_PATH_OFFSET))
			return;
		d->peer.text_len = d->text_len = len;
		return;
	case AF_INET:
		if (len < sizeof(in) || bpf_probe_read_user(&in, sizeof(in), addr))
			return;
		__builtin_memcpy(d->peer.ip, &in.sin_addr, sizeof(in.sin_addr));
		d->peer.port = bpf_ntohs(in.sin_port);
		return;
	case AF_INET6:
		if (len < SIN6_LEN_RFC2133 || bpf_probe_read_user(&in6, SIN6_LEN_RFC2133, addr))
			return;
		if (len >= sizeof(in6))
			bpf_probe_read_user(&in6, sizeof(in6), addr);
		__builtin_memcpy(d->peer.ip, &in6.sin6_addr, sizeof(in6.sin6_addr));
		d->peer.port = bpf_ntohs(in6.sin6_port);
		d->peer.scope_id = in6.sin6_scope_id;
		return;
	}
}

/* At the entry of a close: later the file is gone. */
static __always_inline void describe_closed(struct slot *slot, const struct call *call)
{
	struct file *file = file_of(call->task, ARG_0(call->regs, call->abi));

	if (file)
		describe_file(slot, call->task, file);
}

static __always_inline void describe_opened(struct slot *slot, const struct call *call,
					    __u64 user_pointer)
{
	struct file *file = NULL;

	if (want_opened_path && call->ret >= 0)
		file = file_of(call->task, call->ret);
	if (file)
		describe_file(slot, call->task, file);
	else
		describe_given_path(slot, user_pointer);
}

/* O_CREAT|O_WRONLY|O_TRUNC, which is what creat(2) is; asm-generic/fcntl.h. */
#define CREAT_FLAGS 01101

/* When the call returned; what describe_closed() found is there already. */
static __always_inline void describe(struct slot *slot, const struct call *call)
{
	struct details *d = &slot->details;
	struct arguments a;

	read_arguments(&a, call);
	switch (call->syscall) {
	case SYS_open:
		d->flags = a.arg[1];
		d->mode = a.arg[2];
		describe_opened(slot, call, a.arg[0]);
		return;
	case SYS_creat:
		d->flags = CREAT_FLAGS;
		d->mode = a.arg[1];
		describe_opened(slot, call, a.arg[0]);
		return;
	case SYS_openat:
		d->fd = a.arg[0];
		d->flags = a.arg[2];
		d->mode = a.arg[3];
		describe_opened(slot, call, a.arg[1]);
		return;
	case SYS_openat2: {
		struct open_how how = {};

		d->fd = a.arg[0];
		bpf_probe_read_user(&how, sizeof(how), (void *)(long)a.arg[2]);
		d->flags = how.flags;
		d->mode = how.mode;
		d->resolve = how.resolve;
		describe_opened(slot, call, a.arg[1]);
		return;
	}
	case SYS_accept4:
		d->flags = a.arg[3];
		/* fall through */
	case SYS_accept: {
		struct file *file = call->ret >= 0 ? file_of(call->task, call->ret) : NULL;

		d->fd = a.arg[0];
		if (file)
			describe_file(slot, call->task, file);
		return;
	}
	case SYS_connect:
		d->fd = a.arg[0];
		describe_given_address(slot, a.arg[1], a.arg[2]);
		return;
	case SYS_close:
		d->fd = a.arg[0];
		return;
	case SYS_close_range:
		d->fd = a.arg[0];
		d->last_fd = a.arg[1];
		d->flags = a.arg[2];
		return;
	case SYS_COUNT:
		return;
	}
}

#endif
