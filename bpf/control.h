/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_CONTROL_H
#define COPENCLOSE_CONTROL_H

#include "call.h"

/*
 * Descriptors that came with messages: unix(7), cmsg(3). Their numbers are read from the
 * caller's memory, where the kernel has put them and the caller can change them, also
 * meanwhile. So they are numbers and no more: what is open there is looked up in the
 * kernel's table, and all that a caller can make up is a descriptor of its own.
 */
#define SOL_SOCKET 1 /* asm-generic/socket.h, linux/socket.h */
#define SCM_RIGHTS 1
#define SCM_PIDFD 4

#define SCM_MAX_FD 253		      /* include/net/scm.h */
#define RECEIVED_MAX (SCM_MAX_FD + 1) /* with a message come these and a pidfd */
#define CONTROLS_MAX 8		      /* of a message; most have one */
#define MESSAGES_MAX 1024	      /* of a call: UIO_MAXIOV, include/uapi/linux/uio.h */

/* What is left of the control messages of a struct msghdr. */
struct controls {
	__u64 at;
	__u64 end;
};

/* One of them, as far as it has descriptors. */
struct control {
	__u64 fds;
	__u32 num_fds;
};

static __always_inline bool read_controls(struct controls *c, enum abi abi, __u64 message)
{
	if (abi == ABI_64) {
		__u64 words[2];

		if (bpf_probe_read_user(words, sizeof(words), (void *)(long)(message + 32)))
			return false;
		c->at = words[0];
		c->end = words[0] + words[1];
	} else {
		__u32 words[2];

		if (bpf_probe_read_user(words, sizeof(words), (void *)(long)(message + 16)))
			return false;
		c->at = words[0];
		c->end = (__u64)words[0] + words[1];
	}
	return true;
}

/* struct cmsghdr as programs of either ABI have it. */
struct control_header {
	__u64 len;
	__s32 level;
	__s32 type;
};

struct control_header_32 {
	__u32 len;
	__s32 level;
	__s32 type;
};

/* Returns false if there is no further one. */
static __always_inline bool next_control(struct controls *c, enum abi abi, struct control *control)
{
	__u32 size = sizeof(struct control_header), align = sizeof(__u64);
	struct control_header header = {};

	if (abi != ABI_64) {
		size = sizeof(struct control_header_32);
		align = sizeof(__u32);
	}
	if (c->at + size > c->end)
		return false;
	if (abi == ABI_64) {
		bpf_probe_read_user(&header, sizeof(header), (void *)(long)c->at);
	} else {
		struct control_header_32 short_header = {};

		bpf_probe_read_user(&short_header, sizeof(short_header), (void *)(long)c->at);
		header.len = short_header.len;
		header.level = short_header.level;
		header.type = short_header.type;
	}
	if (header.len < size || header.len > c->end - c->at)
		return false;
	control->fds = c->at + size;
	control->num_fds = 0;
	if (header.level == SOL_SOCKET && (header.type == SCM_RIGHTS || header.type == SCM_PIDFD)) {
		__u64 n = (header.len - size) / sizeof(__u32);

		control->num_fds = n < SCM_MAX_FD ? n : SCM_MAX_FD;
	}
	c->at += (header.len + align - 1) & ~(__u64)(align - 1);
	return true;
}

#define NOT_RECEIVED (1ULL << 32) /* what no fd is */

/*
 * Returns the fd that came with a message as number n, from 0 on, or NOT_RECEIVED if there
 * came no more. It is looked for from the beginning each time: so nothing is kept in
 * between, and few messages have more than one or two. Functions of their own, so that the
 * verifier looks at them once, and not in each round of a loop. Before 6.8 it looks at those
 * that are not called, too, see slot_of(): it must see that they do nothing where nobody
 * asks.
 */
__noinline __u64 received_fd(__u64 message, __u32 abi, __u32 n)
{
	struct control control;
	struct controls c;
	__u32 fd;

	if (!cfg.receives || !read_controls(&c, abi, message))
		return NOT_RECEIVED;
	for (int i = 0; i < CONTROLS_MAX && next_control(&c, abi, &control); i++) {
		if (n >= control.num_fds) {
			n -= control.num_fds;
			continue;
		}
		if (bpf_probe_read_user(&fd, sizeof(fd),
					(void *)(long)(control.fds + n * sizeof(fd))))
			return NOT_RECEIVED;
		return fd;
	}
	return NOT_RECEIVED;
}

/* How many are in control messages, and how many came with a message. */
__noinline int count_in_controls(__u64 at, __u64 end, __u32 abi)
{
	struct controls c = {.at = at, .end = end};
	struct control control;
	__u32 n = 0;

	if (!cfg.receives)
		return 0;
	for (int i = 0; i < CONTROLS_MAX && next_control(&c, abi, &control); i++)
		n += control.num_fds;
	return n;
}

static __always_inline __u32 count_in_message(__u64 message, enum abi abi)
{
	struct controls c;

	if (!read_controls(&c, abi, message) || c.at == c.end)
		return 0;
	return count_in_controls(c.at, c.end, abi);
}

/* The size of struct mmsghdr, of which a call can have many. */
#define MESSAGE_SIZE(abi) ((abi) == ABI_64 ? 64 : 32)

/*
 * Messages are looked at in blocks, by functions that the verifier looks at once. A place
 * among all descriptors is the number of a message, and in the lower half of one of its own.
 */
#define BLOCK_MESSAGES 32

/* The next one in the messages up to the end of a block: as next_received(). */
__noinline __u64 next_in_messages(__u64 messages, __u32 abi, __u32 num, __u32 from)
{
	__u32 at = from >> 16, n = from & 0xffff;

	if (!cfg.receives)
		return 0;
	for (int i = 0; i < BLOCK_MESSAGES && at < num; i++, at++) {
		__u64 fd = received_fd(messages + at * MESSAGE_SIZE(abi), abi, n);

		if (fd != NOT_RECEIVED)
			return (__u64)(at << 16 | (n + 1)) << 32 | fd;
		n = 0;
	}
	return 0;
}

/*
 * Returns the fd that came next with so many messages, and above its 32 bits where to look
 * for the one after it; 0 if there came no more. It is looked for from a place that this
 * returned, or from 0.
 */
__noinline __u64 next_received(__u64 messages, __u32 abi, __u32 num, __u32 from)
{
	if (!cfg.receives)
		return 0;
	for (int i = 0; i < MESSAGES_MAX / BLOCK_MESSAGES && from >> 16 < num; i++) {
		__u64 found = next_in_messages(messages, abi, num, from);

		if (found)
			return found;
		from = ((from >> 16) + BLOCK_MESSAGES) << 16;
	}
	return 0;
}

__noinline int count_in_messages(__u64 messages, __u32 abi, __u32 num, __u32 at)
{
	__u32 n = 0;

	if (!cfg.receives)
		return 0;
	for (int i = 0; i < BLOCK_MESSAGES && at < num; i++, at++)
		n += count_in_message(messages + at * MESSAGE_SIZE(abi), abi);
	return n;
}

/* How many came from there on. */
__noinline int count_received(__u64 messages, __u32 abi, __u32 num, __u32 from)
{
	__u32 at = from >> 16, n = 0;

	if (!cfg.receives)
		return 0;
	for (int i = 0; i < MESSAGES_MAX / BLOCK_MESSAGES && at < num; i++) {
		n += count_in_messages(messages, abi, num, at);
		at += BLOCK_MESSAGES;
	}
	from &= 0xffff;
	return n > from ? n - from : 0;
}

/* How many messages a call that did not fail received: recvmmsg(2) returns it. */
static __always_inline __u32 num_messages(const struct call *call)
{
	return call->syscall == SYS_recvmsg ? 1 : call->ret;
}

/* Most calls receive none, which costs least to see where they receive one message. */
static __always_inline bool received_none(struct call *call)
{
	if (call->ret < 0)
		return true;
	decode_arguments(call);
	if (call->syscall == SYS_recvmsg)
		return !count_in_message(call->arg[1], call->abi);
	return !next_received(call->arg[1], call->abi, num_messages(call), 0);
}

#endif
