/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_DESCRIBE_H
#define COPENCLOSE_DESCRIBE_H

#include "call.h"
#include "fdtable.h"
#include "file.h"
#include "filter.h"
#include "maps.h"
#include "socket.h"

/* What a call is about: its arguments, and what the kernel knows of its files. */

/* A path as the caller gave it; of so many bytes with its NUL, or a negative errno. */
static __always_inline void note_given_path(struct slot *slot, long len)
{
	slot->details.target = TARGET_PATH;
	if (len < 0) {
		slot->details.remarks |= REMARK_UNREADABLE;
		return;
	}
	if (len > TEXT_MAX)
		slot->details.remarks |= REMARK_TRUNCATED;
	/* Of an empty string 5.10 says that it has no byte, not even the NUL. */
	if (len > 0)
		slot->details.text_len = len > TEXT_MAX ? TEXT_MAX - 1 : len - 1;
	slot->details.given_len = slot->details.text_len;
}

/*
 * Read when the call returns. The kernel refuses one that has no NUL among TEXT_MAX
 * bytes (ENAMETOOLONG), and so one byte more is asked for, to tell.
 */
static __always_inline void describe_given_path(struct slot *slot, __u64 user_pointer)
{
	note_given_path(slot, bpf_probe_read_user_str(slot->text, TEXT_MAX + 1,
						      (void *)(long)user_pointer));
}

/*
 * What the filter says of a path: a key of the map paths is the number of bits and the
 * bytes behind it, and of a text with a NUL at its end no more than that matters.
 */
static __always_inline enum listing path_listing(__u32 *bits)
{
	__u32 before = *bits;
	enum listing listing;

	*bits = 8 * PREFIX_MAX;
	listing = listing_of(bpf_map_lookup_elem(&paths, bits));
	*bits = before;
	return listing;
}

static __always_inline enum listing given_path_listing(struct slot *slot)
{
	slot->text[slot->details.given_len & (TEXT_MAX - 1)] = '\0';
	return path_listing(&slot->details.text_len);
}

static __always_inline enum listing file_listing(struct slot *slot)
{
	if (slot->details.target != TARGET_FILE)
		return LISTING_NONE;
	slot->text[slot->details.text_len & (2 * TEXT_MAX - 1)] = '\0';
	return path_listing((void *)&slot->details.text_len +
			    (slot->details.given_len & (TEXT_MAX - 1)));
}

static __always_inline enum listing listing_of_given(struct slot *slot)
{
	return cfg.only_paths ? given_path_listing(slot) : LISTING_ONLY;
}

static __always_inline bool wants_file(const struct slot *slot, enum listing of_given)
{
	return cfg.want_file || of_given == LISTING_NONE ||
	       slot->details.remarks & REMARK_UNREADABLE;
}

/* file is NULL if it is not wanted, or there is none. */
static __always_inline bool describe_opened_file(struct slot *slot, enum listing of_given,
						 struct file *file)
{
	if (file)
		describe_file(slot, file);
	if (of_given == LISTING_NONE)
		of_given = file_listing(slot);
	return listing_passes(of_given, cfg.other_paths);
}

/*
 * Of an open: the path as given, and of the file its own path where that is wanted,
 * or where else nothing would be known of it, or where it decides whether the call
 * passes, because the filter of paths says nothing of the one given.
 * Returns whether the filter of paths lets it pass.
 */
static __always_inline bool describe_opened(struct slot *slot, const struct call *call,
					    __u64 user_pointer)
{
	struct file *file = NULL;
	enum listing listing;

	describe_given_path(slot, user_pointer);
	listing = listing_of_given(slot);
	if (call->ret >= 0 && wants_file(slot, listing))
		file = file_of(call->task, call->ret);
	return describe_opened_file(slot, listing, file);
}

/* Returned by a connect that goes on, or went on before; asm-generic/errno.h. */
#define EINTR 4
#define EISCONN 106
#define EALREADY 114
#define EINPROGRESS 115

static __always_inline bool is_connected(long ret)
{
	return ret >= 0 || ret == -EINPROGRESS || ret == -EALREADY || ret == -EISCONN ||
	       ret == -EINTR;
}

/*
 * The socket that a call connected, or NULL. A failed connect leaves nothing of the other
 * end in it that is certain.
 */
static __always_inline void describe_connected(struct slot *slot, const struct call *call,
					       struct file *file)
{
	struct socket_part *s = &slot->socket;
	struct sock *sk = file ? sock_of(file) : NULL;

	if (sk)
		describe_sock(slot, sk);
	if (!is_connected(call->ret)) {
		__builtin_memset(&s->peer, 0, sizeof(s->peer));
		__builtin_memset(&s->local, 0, sizeof(s->local));
		slot->details.text_len = 0;
	}
}

/* What an fd is, like a connection that was accepted. */
static __always_inline void describe_fd(struct slot *slot, struct task_struct *task, __u32 fd)
{
	struct file *file = file_of(task, fd);

	if (file)
		describe_file(slot, file);
}

static __always_inline void take_word(struct details *d, __u64 word)
{
	d->request = word;
	d->other = word >> 32;
}

static __always_inline void read_how(struct details *d, __u64 user_pointer)
{
	struct open_how how = {};

	bpf_probe_read_user(&how, sizeof(how), (void *)(long)user_pointer);
	d->flags = how.flags;
	d->mode = how.mode;
	take_word(d, how.resolve);
}

/* The caller's memory may be gone, and has a 0 then. */
static __always_inline __u32 read_u32(__u64 user_pointer)
{
	__u32 value = 0;

	bpf_probe_read_user(&value, sizeof(value), (void *)(long)user_pointer);
	return value;
}

#define SOCK_TYPE_MASK 0xf /* include/linux/net.h */

/* Where the flags are in struct io_uring_params; include/uapi/linux/io_uring.h. */
#define RING_FLAGS 8

/* What a call has been given that does not fit into struct details. */
struct given {
	union {
		__u64 text; /* a path, a name or an address, in the caller's memory */
		struct {
			__u32 family;
			__u32 type;
		};
	};
	union {
		__u32 len; /* of an address */
		__u32 protocol;
	};
};

/* What is done with an argument, by its role. */
#define TAKE_UNUSED(value)
#define TAKE_FD(value) d->fd = value;
#define TAKE_OTHER(value) d->other = value;
#define TAKE_LAST_FD(value) d->last_fd = value;
#define TAKE_FDS(value)          \
	d->fd = read_u32(value); \
	d->other = read_u32((value) + sizeof(__u32));
#define TAKE_FLAGS(value) d->flags = value;
#define TAKE_MODE(value) d->mode = value;
#define TAKE_HOW(value) read_how(d, value);
#define TAKE_TEXT(value) given->text = value;
#define TAKE_LEN(value) given->len = value;
#define TAKE_FAMILY(value) given->family = value;
#define TAKE_TYPE(value)                      \
	given->type = (value)&SOCK_TYPE_MASK; \
	d->flags = (value) & ~(__u64)SOCK_TYPE_MASK;
#define TAKE_PROTOCOL(value) given->protocol = value;
#define TAKE_REQUEST(value) d->request = value;
#define TAKE_EVENT(value) d->request = read_u32(value);
#define TAKE_RING(value) d->flags = read_u32((value) + RING_FLAGS);
#define TAKE_SIGNALS(value)           \
	d->request = read_u32(value); \
	d->other = read_u32((value) + sizeof(__u32));
#define TAKE_ARGUMENTS(name, x86_64, i386, arm64, arm, makes, implied, role0, role1, role2, role3) \
	case SYS_##name:                                                                           \
		d->flags = implied;                                                                \
		TAKE_##role0(call->arg[0]) TAKE_##role1(call->arg[1]) TAKE_##role2(call->arg[2])   \
			TAKE_##role3(call->arg[3]) break;

static __always_inline void take_arguments(struct details *d, struct given *given,
					   const struct call *call)
{
	switch (call->syscall) {
		DEFAULT_SYSCALLS(TAKE_ARGUMENTS)
	default:
		break;
	}
	if (!(cfg.traced & OTHERS))
		return;
	switch (call->syscall) {
		OTHER_SYSCALLS(TAKE_ARGUMENTS)
	default:
		break;
	}
}

/* A socket that was not made. */
static __always_inline void describe_wanted_socket(struct slot *slot, const struct given *given)
{
	struct socket_part *s = begin_socket(slot);

	s->family = given->family;
	s->type = given->type;
	s->protocol = given->protocol;
}

/* Of a bind that failed the address that it was given, else the socket's own. */
static __always_inline void describe_bound(struct slot *slot, const struct call *call, __u32 fd,
					   const struct given *given)
{
	struct file *file = file_of(call->task, fd);
	struct sock *sk = file ? sock_of(file) : NULL;

	if (sk)
		describe_sock(slot, sk);
	if (call->ret >= 0)
		return;
	__builtin_memset(&slot->socket.local, 0, sizeof(slot->socket.local));
	slot->details.text_len = 0;
	describe_given_address(slot, (void *)(long)given->text, given->len, true);
}

/* What dup2 and dup3 closed, or what they have made where nothing was. */
static __always_inline void describe_copied_onto(struct slot *slot, const struct call *call)
{
	if (call->ret < 0) {
		slot->details.target = TARGET_UNKNOWN;
		slot->details.text_len = 0;
		slot->details.parts = 0;
	} else if (slot->details.target != TARGET_UNKNOWN) {
		slot->details.remarks |= REMARK_REPLACED;
	} else {
		describe_fd(slot, call->task, call->ret);
	}
}

/*
 * When the call returned; of one that closes something, what was there is described
 * already. Returns whether the filter of paths lets it pass.
 */
static __always_inline bool describe(struct slot *slot, struct call *call)
{
	struct details *d = &slot->details;
	struct given given = {};

	decode_arguments(call);
	take_arguments(d, &given, call);
	if (call->ret == -EMFILE && is_in(call, MAKES_FD | MAKES_FDS))
		describe_limit(d, call);
	if (is_in(call, HAS_PATH))
		return describe_opened(slot, call, given.text);
	if (is_in(call, HAS_ADDRESS)) {
		describe_connected(slot, call, file_of(call->task, d->fd));
		describe_given_address(slot, (void *)(long)given.text, given.len, true);
	} else if (is_in(call, HAS_OWN_ADDRESS))
		describe_bound(slot, call, d->fd, &given);
	else if (is_in(call, MAKES_FD & CLOSES))
		describe_copied_onto(slot, call);
	else if (is_in(call, HAS_FAMILY) && call->ret < 0)
		describe_wanted_socket(slot, &given);
	else if (is_in(call, IS_ON_FD) || (is_in(call, MAKES_FDS) && call->ret >= 0))
		describe_fd(slot, call->task, d->fd);
	if (is_in(call, HAS_NAME))
		describe_given_path(slot, given.text);
	if (is_in(call, MAKES_FD & ~CLOSES) && call->ret >= 0)
		describe_fd(slot, call->task, call->ret);
	return !cfg.only_paths || listing_passes(file_listing(slot), cfg.other_paths);
}

/*
 * The same where one program is for all syscalls: a function of its own, so that the
 * verifier looks at it once, and not in every state that leads there. Of a program
 * for one handler the compiler leaves only what is for its syscall.
 */
__noinline int describe_any(__u32 slot_number, long ret, __u32 syscall, __u32 abi, __u32 socketcall)
{
	struct slot *slot = slot_of(slot_number);
	struct call call = current_call(ret, syscall, abi, socketcall);

	return slot ? describe(slot, &call) : 0;
}

static __always_inline bool describe_call(struct slot *slot, struct call *call)
{
	if (__builtin_constant_p(call->syscall))
		return describe(slot, call);
	return describe_any(slot->number, call->ret, call->syscall, call->abi, call->socketcall);
}

#endif
