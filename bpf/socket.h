/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_SOCKET_H
#define COPENCLOSE_SOCKET_H

#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include "maps.h"
#include "task.h"

/* Sockets: what the kernel has of their ends, and what connect(2) was given. */

#define AF_UNIX 1 /* include/linux/socket.h */
#define AF_INET 2
#define AF_INET6 10
#define AF_VSOCK 40

#define SOCK_STREAM 1 /* include/linux/net.h */

/* States of TCP sockets, and of others as far as they have any; net/tcp_states.h. */
#define STATE_ESTABLISHED 1
#define STATE_SYN_SENT 2
#define STATE_CLOSE 7
#define STATE_LISTEN 10

#define UNIX_PATH_OFFSET 2 /* offsetof(struct sockaddr_un, sun_path) */
#define UNIX_PATH_MAX 108  /* include/uapi/linux/un.h */

/*
 * Appends the address that a unix socket is bound to. At most two are there
 * already, so that all is below 512: the masks are for the verifier, and the
 * barriers keep the compiler from knowing better.
 */
static __always_inline void append_unix_address(struct slot *slot, struct address *address,
						struct sock *sk)
{
	struct unix_address *bound;
	__u32 at = slot->details.text_len;
	__u32 len;

	if (!sk)
		return;
	bound = kernel_read((struct unix_sock *)sk, addr);
	if (!bound)
		return;
	len = kernel_read(bound, len) - UNIX_PATH_OFFSET;
	if (len > UNIX_PATH_MAX)
		return;
	address->text_len = len;
	slot->details.text_len = at + len;
	barrier_var(at);
	barrier_var(len);
	bpf_probe_read_kernel(&slot->text[at & 255], len & 127,
			      (void *)bound + bpf_core_field_offset(struct unix_address, name) +
				      UNIX_PATH_OFFSET);
}

/*
 * The process at the other end, as getsockopt(SO_PEERCRED) returns it: who called
 * connect, listen or socketpair. It may have ended, and its cgroup is not known then.
 * A socket that listens has its own process there.
 */
static __always_inline void describe_unix_peer(struct socket_part *s, struct sock *sk)
{
	struct pid *pid = kernel_read(sk, sk_peer_pid);
	const struct cred *cred;
	struct hlist_node *node;
	struct task_struct *task;

	if (!pid || kernel_read(sk, __sk_common.skc_state) == STATE_LISTEN)
		return;
	s->peer_pid = kernel_read(pid, numbers[0].nr);
	cred = kernel_read(sk, sk_peer_cred);
	if (cred)
		s->peer_uid = kernel_read(cred, uid.val);
	node = kernel_read(pid, tasks[PIDTYPE_TGID].first);
	if (!node)
		return;
	task = (void *)node - bpf_core_field_offset(struct task_struct, pid_links) -
	       PIDTYPE_TGID * sizeof(struct hlist_node);
	s->peer_cgroup = kernel_read(task, cgroups, dfl_cgrp, kn, id);
}

/*
 * struct sockaddr_vm and, behind its struct sock, struct vsock_sock: they are a
 * module's, whose types CO-RE does not find. include/uapi/linux/vm_sockets.h,
 * include/net/af_vsock.h since 5.5 (c0cfa2d8a788, "vsock: add multi-transports support").
 */
struct vsock_address {
	__u16 family;
	__u16 reserved;
	__u32 port;
	__u32 cid;
	__u32 flags;
};

struct vsock_addresses {
	const void *transport;
	struct vsock_address local;
	struct vsock_address peer;
};

static __always_inline void take_vsock_address(struct address *address,
					       const struct vsock_address *from)
{
	if (from->family != AF_VSOCK)
		return;
	*(__u32 *)address->ip = from->cid;
	address->scope_id = from->port;
}

static __always_inline void describe_vsock(struct socket_part *s, struct sock *sk)
{
	struct vsock_addresses addresses = {};

	bpf_probe_read_kernel(&addresses, sizeof(addresses),
			      (void *)sk + bpf_core_type_size(struct sock));
	take_vsock_address(&s->local, &addresses.local);
	take_vsock_address(&s->peer, &addresses.peer);
}

/* The slot's part for a socket. */
static __always_inline struct socket_part *begin_socket(struct slot *slot)
{
	slot->details.target = TARGET_SOCKET;
	if (!(slot->details.parts & PART_SOCKET))
		__builtin_memset(&slot->socket, 0, sizeof(slot->socket));
	slot->details.parts |= PART_SOCKET;
	return &slot->socket;
}

/*
 * Both ends of a socket, from the kernel's own. A socket for TCP that is not
 * connected can have the address of its last peer still, but no port.
 */
static __always_inline void describe_sock_in(struct slot *slot, struct sock *sk)
{
	struct socket_part *s = begin_socket(slot);

	s->family = kernel_read(sk, __sk_common.skc_family);
	/* Bit fields until 5.6 (bf9765145b85, "sock: Make sk_protocol a 16-bit value"). */
	s->type = BPF_CORE_READ_BITFIELD_PROBED(sk, sk_type);
	s->protocol = BPF_CORE_READ_BITFIELD_PROBED(sk, sk_protocol);
	switch (s->family) {
	case AF_UNIX:
		append_unix_address(slot, &s->peer, kernel_read((struct unix_sock *)sk, peer));
		append_unix_address(slot, &s->local, sk);
		describe_unix_peer(s, sk);
		return;
	case AF_VSOCK:
		describe_vsock(s, sk);
		return;
	case AF_INET:
	case AF_INET6:
		break;
	default:
		return;
	}
	/* skc_num is 0 when a connection has ended; getsockname() returns this. */
	s->local.port = bpf_ntohs(kernel_read((struct inet_sock *)sk, inet_sport));
	s->peer.port = bpf_ntohs(kernel_read(sk, __sk_common.skc_dport));
	if (s->family == AF_INET)
		*(__be32 *)s->local.ip = kernel_read(sk, __sk_common.skc_rcv_saddr);
	else
		bpf_probe_read_kernel(s->local.ip, sizeof(s->local.ip),
				      &sk->__sk_common.skc_v6_rcv_saddr);
	if (!s->peer.port &&
	    (s->type == SOCK_STREAM || kernel_read(sk, __sk_common.skc_state) != STATE_ESTABLISHED))
		return;
	if (s->family == AF_INET) {
		*(__be32 *)s->peer.ip = kernel_read(sk, __sk_common.skc_daddr);
		return;
	}
	bpf_probe_read_kernel(s->peer.ip, sizeof(s->peer.ip), &sk->__sk_common.skc_v6_daddr);
	s->peer.scope_id = s->local.scope_id = kernel_read(sk, __sk_common.skc_bound_dev_if);
}

/*
 * A function of its own, so that the verifier looks at it once a program. It takes
 * numbers only, so the pointer goes through memory.
 */
__noinline int describe_any_sock(__u32 slot_number)
{
	struct slot *slot = slot_of(slot_number);

	if (slot)
		describe_sock_in(slot, (struct sock *)slot->sk);
	return 0;
}

static __always_inline void describe_sock(struct slot *slot, struct sock *sk)
{
	slot->sk = (__u64)sk;
	describe_any_sock(slot->number);
}

#define S_IFMT 0170000
#define S_IFSOCK 0140000

/*
 * The socket that a file is, or NULL. The file of a socket's name in a directory has
 * the mode of a socket too, but it can be opened only with O_PATH, and has no data.
 */
static __always_inline struct sock *sock_of(struct file *file)
{
	struct socket *socket;

	if ((kernel_read(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	socket = kernel_read(file, private_data);
	return socket ? kernel_read(socket, sk) : NULL;
}

#define SIN6_LEN_RFC2133 24 /* without the scope id; include/net/ipv6.h */

/* from_user is a constant: a request of io_uring has been read before. */
#define read_given(from_user, ...) \
	((from_user) ? bpf_probe_read_user(__VA_ARGS__) : bpf_probe_read_kernel(__VA_ARGS__))

/*
 * The address that connect(2) was given. Where it is of another family than the
 * socket, as to disconnect it, the socket's own ends say nothing about the call.
 */
static __always_inline void describe_given_address(struct slot *slot, const void *addr, __u32 len,
						   bool from_user)
{
	struct socket_part *s;
	union {
		struct sockaddr_in6 in6;
		struct sockaddr_in in;
		struct vsock_address vm;
	} given = {};
	__u32 at = slot->details.text_len;
	__u16 family;

	if (len < sizeof(family) || read_given(from_user, &family, sizeof(family), addr)) {
		slot->details.target = TARGET_UNKNOWN;
		slot->details.parts = 0;
		slot->details.text_len = 0;
		return;
	}
	s = begin_socket(slot);
	if (family != s->family) {
		__builtin_memset(&s->peer, 0, sizeof(s->peer));
		__builtin_memset(&s->local, 0, sizeof(s->local));
		slot->details.text_len = at = 0;
		s->family = family;
	}
	switch (family) {
	case AF_UNIX:
		len -= UNIX_PATH_OFFSET;
		if (len > UNIX_PATH_MAX)
			return;
		/* The verifier must see the bounds on the registers that are passed. */
		barrier_var(at);
		barrier_var(len);
		if (read_given(from_user, &slot->text[at & 255], len & 127,
			       addr + UNIX_PATH_OFFSET))
			return;
		s->asked.text_len = len;
		slot->details.text_len = (at & 255) + len;
		return;
	case AF_INET:
		if (len < sizeof(given.in) ||
		    read_given(from_user, &given.in, sizeof(given.in), addr))
			return;
		__builtin_memcpy(s->asked.ip, &given.in.sin_addr, sizeof(given.in.sin_addr));
		s->asked.port = bpf_ntohs(given.in.sin_port);
		return;
	case AF_INET6:
		if (len < SIN6_LEN_RFC2133 ||
		    read_given(from_user, &given.in6, SIN6_LEN_RFC2133, addr))
			return;
		if (len >= sizeof(given.in6))
			read_given(from_user, &given.in6, sizeof(given.in6), addr);
		__builtin_memcpy(s->asked.ip, &given.in6.sin6_addr, sizeof(given.in6.sin6_addr));
		s->asked.port = bpf_ntohs(given.in6.sin6_port);
		s->asked.scope_id = given.in6.sin6_scope_id;
		return;
	case AF_VSOCK:
		if (len >= sizeof(given.vm) &&
		    !read_given(from_user, &given.vm, sizeof(given.vm), addr))
			take_vsock_address(&s->asked, &given.vm);
		return;
	}
}

#endif
