/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_URING_H
#define COPENCLOSE_URING_H

#include "call.h"
#include "count.h"
#include "describe.h"
#include "emit.h"
#include "filter.h"
#include "fixed.h"
#include "rate.h"
#include "slots.h"
#include "totals.h"
#include "trace.h"

/*
 * Calls that are made as requests of io_uring(7). A request is noted when it is
 * submitted, by who submits it, and shown when it completes, which happens in any task:
 * the one that submitted it, a worker, the thread that polls the ring, or none of these.
 *
 * When it is submitted the kernel has read the request, and has its own copy of a path,
 * which the program cannot change any more.
 *
 * Arguments of the tracepoints, without their first one; where complete says nothing of
 * the request, that is found by the ring and user_data:
 *
 *	submit	1 (req)				6.4
 *		2 (req, force_nonblock)		6.0
 *		7 (ring, req, ...)		5.10 as it has the io_uring of 5.15, 5.15
 *	complete	3 (ring, req, cqe)	6.15
 *		7, 5 (ring, req, user_data, res, flags, ...)	5.18
 *		4 (ring, user_data, res, flags)	5.12
 *	refuse	3 (sqe, req, error)	5.18
 *		2 (sqe, error)	5.14
 *	overflow	5 (ring, user_data, res, flags, ...)	5.19
 */
#define ARGUMENT(ctx, n)                                                                    \
	({                                                                                  \
		__u64 argument;                                                             \
		/* Not merged with that of another branch: ctx must not be changed. */      \
		asm volatile("%0 = *(u64 *)(%1 + " #n " * 8)" : "=r"(argument) : "r"(ctx)); \
		argument;                                                                   \
	})

/* The program may set this bit of the flags of a request: include/uapi/linux/io_uring.h. */
#define REQUEST_FIXED_FILE 1
#define REQUEST_SKIPS_SUCCESS 64
#define ALLOCATED_SLOT 0xffffffff /* IORING_FILE_INDEX_ALLOC */
#define COMPLETION_MORE 2	  /* IORING_CQE_F_MORE */
#define ADDRESS_MAX 128		  /* sizeof(struct sockaddr_storage) */

/*
 * A request that is under way, by the address of its struct io_kiocb, which another one
 * has when it has ended. What has no room takes that of one that is under way for long:
 * so nobody's requests that hang take it from others, whose requests do not.
 */
#define REQUESTS_MAX 4096

struct submitted {
	struct event event; /* who submitted it, and when */
	__u64 ring;
	__u64 user_data;
	__u64 owner;
	__u64 files; /* the table of the fds that it is about */
	__u64 program_id;
	__u32 ppid;
	__u32 place;
	/* Not bool, for which the verifier would look at both ways on from there. */
	__u32 direct; /* not 0 if it makes a direct descriptor, no fd */
	__u32 sent;   /* not 0 if it has a record, as there is no word of a success */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, REQUESTS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct submitted);
} requests SEC(".maps");

/* The same, where there are details: what is known of it when it is submitted. */
struct request_text {
	struct details details;
	char text[TEXT_MAX]; /* with a socket behind it, or the address that connect was given */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, REQUESTS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct request_text);
} request_texts SEC(".maps");

_Static_assert(__builtin_offsetof(struct request_text, text) ==
		       __builtin_offsetof(struct slot, text) -
			       __builtin_offsetof(struct slot, details),
	       "what is noted of a request is a part of a slot");

/* The last one with its user_data, where a completion does not say which it is of. */
struct request_name {
	__u64 ring;
	__u64 user_data;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, REQUESTS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct request_name);
	__type(value, __u64);
} named_requests SEC(".maps");

/* Who is noted since when, to find one that is under way for long; and who has no place. */
struct request_place {
	__u64 request;
	__u64 since; /* in jiffies */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, REQUESTS_MAX);
	__type(key, __u32);
	__type(value, struct request_place);
} request_places SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, REQUESTS_MAX);
	__uint(key_size, 0);
	__type(value, __u32);
} free_places SEC(".maps");

/* Older kernels; see struct io_kiocb there. */
struct io_kiocb___before_6_0 {
	__u64 user_data;
} __attribute__((preserve_access_index));

/* Since 7.0 the name of the file may not be there yet, but the path is. */
struct delayed_filename___since_7_0 {
	struct filename *__incomplete_filename;
} __attribute__((preserve_access_index));

struct io_open___since_7_0 {
	struct delayed_filename___since_7_0 filename;
} __attribute__((preserve_access_index));

struct io_open___before_7_0 {
	struct filename *filename;
} __attribute__((preserve_access_index));

static __always_inline struct filename *filename_of(struct io_kiocb *req)
{
	struct io_open___since_7_0 *delayed = (void *)req;
	struct io_open___before_7_0 *open = (void *)req;

	if (bpf_core_field_exists(delayed->filename.__incomplete_filename))
		return BPF_CORE_READ(delayed, filename.__incomplete_filename);
	return BPF_CORE_READ(open, filename);
}

#define HAVE_CQE (bpf_core_field_exists(struct io_kiocb, cqe.fd))

static __always_inline __u64 user_data_of(struct io_kiocb *req)
{
	if (HAVE_CQE)
		return kernel_read(req, cqe.user_data);
	return BPF_CORE_READ((struct io_kiocb___before_6_0 *)req, user_data);
}

/* As the program gave it: an fd or, with REQUEST_FIXED_FILE, a direct descriptor. */
static __always_inline __s32 fd_of(struct io_kiocb *req, struct io_ring_ctx *ring)
{
	__u32 at, index = 0, *array;
	struct io_uring_sqe *entries;
	__s32 fd = -1;

	if (HAVE_CQE)
		return kernel_read(req, cqe.fd);
	/* The request is made of the entry that was taken last. */
	at = (BPF_CORE_READ(ring, cached_sq_head) - 1) & (BPF_CORE_READ(ring, sq_entries) - 1);
	array = BPF_CORE_READ(ring, sq_array);
	bpf_probe_read_kernel(&index, sizeof(index), &array[at]);
	entries = BPF_CORE_READ(ring, sq_sqes);
	bpf_probe_read_kernel(&fd, sizeof(fd), &entries[index].fd);
	return fd;
}

/* Since 7.1 instead of a bit field. */
struct io_ring_ctx___since_7_1 {
	unsigned int int_flags;
} __attribute__((preserve_access_index));

#define RING_COMPAT_SHIFT 11 /* of IO_RING_F_COMPAT of include/linux/io_uring_types.h */

/* That of the ring, for the thread that polls it has none. */
static __always_inline enum abi abi_of_ring(struct io_ring_ctx *ring)
{
	struct io_ring_ctx___since_7_1 *with_flags = (void *)ring;

	if (bpf_core_field_exists(with_flags->int_flags))
		return (BPF_CORE_READ(with_flags, int_flags) >> RING_COMPAT_SHIFT) & 1;
	return BPF_CORE_READ_BITFIELD_PROBED(ring, compat) & 1;
}

/* A table, so that the verifier does not look at each of them from here on. */
static const __u8 syscalls_of_requests[256] = {
	[0 ... 255] = SYS_COUNT, /* what is not shown */
	[IORING_OP_OPENAT] = SYS_openat,  [IORING_OP_OPENAT2] = SYS_openat2,
	[IORING_OP_ACCEPT] = SYS_accept4, [IORING_OP_CONNECT] = SYS_connect,
	[IORING_OP_CLOSE] = SYS_close,
};

static __always_inline enum syscall syscall_of_request(__u8 opcode)
{
	return syscalls_of_requests[opcode];
}

static __always_inline struct call call_of_request(enum syscall syscall, enum abi abi, long ret)
{
	return (struct call){.task = current_task(),
			     .ret = ret,
			     .syscall = syscall,
			     .abi = abi,
			     .decoded = true,
			     .flags = FLAG_IO_URING};
}

/* Room for those that are noted. */

/* noted may be what the map has. */
static __noinline void forget_request(__u64 key, const struct submitted *noted)
{
	struct request_name name = {.ring = noted->ring, .user_data = noted->user_data};
	__u32 place = noted->place;
	__u64 *named;

	if (bpf_map_delete_elem(&requests, &key))
		return; /* another one took its place */
	if (USES_SLOTS)
		bpf_map_delete_elem(&request_texts, &key);
	named = bpf_map_lookup_elem(&named_requests, &name);
	if (named && *named == key)
		bpf_map_delete_elem(&named_requests, &name);
	bpf_map_push_elem(&free_places, &place, 0);
}

/* One that ended without a word, and whose struct io_kiocb another one has. */
static __always_inline void forget_ended(__u64 key)
{
	const struct submitted *noted = bpf_map_lookup_elem(&requests, &key);

	if (noted)
		forget_request(key, noted);
}

#define NO_PLACE 0xffffffff

/* Of some that are under way, forgets that which is for longest. */
static __always_inline void make_room(void)
{
	static __u32 hand;
	__u64 longest = bpf_jiffies64(), key = 0;
	__u32 place = NO_PLACE, from = hand;
	struct request_place *taken;
	struct submitted *noted;
	bool is_lost;
	__u64 owner;

	hand = from + CANDIDATES;
	for (__u32 i = 0; i < CANDIDATES; i++) {
		__u32 candidate = (from + i) % REQUESTS_MAX;

		taken = bpf_map_lookup_elem(&request_places, &candidate);
		if (!taken || taken->since >= longest)
			continue;
		longest = taken->since;
		key = taken->request;
		place = candidate;
	}
	noted = bpf_map_lookup_elem(&requests, &key);
	if (!noted || noted->place != place)
		return;
	is_lost = !noted->sent;
	owner = noted->owner;
	forget_request(key, noted);
	if (is_lost)
		count_lost(owner);
}

static __always_inline __u32 take_place(__u64 key)
{
	struct request_place *place;
	__u32 number;

	if (bpf_map_pop_elem(&free_places, &number)) {
		make_room();
		if (bpf_map_pop_elem(&free_places, &number))
			return NO_PLACE;
	}
	place = bpf_map_lookup_elem(&request_places, &number);
	if (!place)
		return NO_PLACE;
	place->request = key;
	place->since = bpf_jiffies64();
	return number;
}

/* What is submitted, in a slot. */

static __always_inline void describe_to_open(struct slot *slot, struct submitted *noted,
					     struct io_kiocb *req)
{
	struct io_open *open = (struct io_open *)req;
	struct details *d = &slot->details;
	struct filename *name = filename_of(req);
	const char *path = kernel_read(name, name);

	d->fd = kernel_read(open, dfd);
	d->flags = kernel_read(open, how.flags);
	d->mode = kernel_read(open, how.mode);
	take_word(d, kernel_read(open, how.resolve));
	if (noted->event.abi == ABI_64)
		d->flags &= ~O_LARGEFILE; /* the kernel's own */
	d->slot_after = kernel_read(open, file_slot);
	noted->direct = d->slot_after;
	note_given_path(slot, bpf_probe_read_kernel_str(slot->text, TEXT_MAX, path));
}

static __always_inline void describe_to_close(struct slot *slot, struct io_kiocb *req,
					      struct io_ring_ctx *ring)
{
	struct io_close *close = (struct io_close *)req;
	struct details *d = &slot->details;
	struct file *file;

	d->fd = kernel_read(close, fd);
	d->slot_after = kernel_read(close, file_slot);
	if (d->slot_after) {
		d->fd = -1;
		file = fixed_file(ring, d->slot_after - 1);
	} else {
		file = file_of(current_task(), d->fd);
	}
	if (file)
		describe_file(slot, file);
}

/* What listens or is to be connected. */
static __always_inline void describe_own_fd(struct details *d, struct io_kiocb *req,
					    struct io_ring_ctx *ring)
{
	d->fd = fd_of(req, ring);
	if (!((__u32)kernel_read(req, flags) & REQUEST_FIXED_FILE))
		return;
	if (!d->slot_after)
		d->slot_after = d->fd + 1;
	d->fd = -1;
}

/* The address is noted as the program gave it, and is looked at when it is connected. */
static __always_inline void note_address(struct slot *slot, __u64 user_pointer, __u32 len)
{
	if (len > ADDRESS_MAX)
		return;
	barrier_var(len);
	if (!bpf_probe_read_user(slot->text, len & (2 * ADDRESS_MAX - 1),
				 (void *)(long)user_pointer))
		slot->details.text_len = len;
}

static __always_inline void describe_to_connect(struct slot *slot, struct io_kiocb *req,
						struct io_ring_ctx *ring)
{
	struct io_connect *connect = (struct io_connect *)req;

	describe_own_fd(&slot->details, req, ring);
	note_address(slot, (__u64)kernel_read(connect, addr), kernel_read(connect, addr_len));
}

static __always_inline void describe_request(struct slot *slot, struct submitted *noted,
					     struct io_kiocb *req)
{
	struct io_ring_ctx *ring = (struct io_ring_ctx *)noted->ring;
	struct io_accept *accept = (struct io_accept *)req;

	switch (noted->event.syscall) {
	case SYS_openat:
	case SYS_openat2:
		describe_to_open(slot, noted, req);
		return;
	case SYS_close:
		describe_to_close(slot, req, ring);
		put_parts(slot);
		return;
	case SYS_accept4:
		slot->details.flags = kernel_read(accept, flags);
		slot->details.slot_after = kernel_read(accept, file_slot);
		noted->direct = slot->details.slot_after;
		describe_own_fd(&slot->details, req, ring);
		return;
	case SYS_connect:
		describe_to_connect(slot, req, ring);
		return;
	}
}

/* What came of it. */

/* A close has been described; its socket is behind the text. */
static __always_inline void take_socket_back(struct slot *slot)
{
	__u32 at = (slot->details.text_len + 7) & 0x1f8;

	if (slot->details.parts & PART_SOCKET)
		__builtin_memcpy(&slot->socket, &slot->text[at], sizeof(slot->socket));
}

/* What it has made, as far as this task can see that. */
static __always_inline struct file *made_file(struct slot *slot, const struct submitted *noted,
					      const struct call *call, bool own)
{
	struct details *d = &slot->details;

	if (noted->direct && d->slot_after == ALLOCATED_SLOT)
		d->slot_after = call->ret < 0 || call->flags & FLAG_NO_RESULT ? 0 : call->ret + 1;
	if (call->ret < 0 || call->flags & FLAG_NO_RESULT || !own)
		return NULL;
	if (noted->direct)
		return fixed_file((struct io_ring_ctx *)noted->ring, d->slot_after - 1);
	return file_of(call->task, call->ret);
}

static __always_inline void describe_asked(struct slot *slot, const struct call *call,
					   struct file *file)
{
	__u32 len = slot->details.text_len & (2 * ADDRESS_MAX - 1);

	/* What describes the socket writes there, and does not need the path. */
	bpf_probe_read_kernel(slot->path, len, slot->text);
	slot->details.text_len = 0;
	describe_connected(slot, call, file);
	describe_given_address(slot, slot->path, len, false);
}

/*
 * Completes what is in the slot, of a request with this result; where req is NULL, without
 * what it has made or connected. Returns whether the filter of paths lets it pass.
 */
static __always_inline bool describe_completed(struct slot *slot, const struct submitted *noted,
					       const struct call *call, struct io_kiocb *req)
{
	/* Fds are in the table of the current task, and paths end at its root. */
	bool own = (__u64)task_walk(call->task, files) == noted->files;
	struct details *d = &slot->details;
	struct file *file = NULL;
	enum listing listing;

	if (is_in(call, MAKES_FD)) {
		file = made_file(slot, noted, call, own && req);
		if (req && call->ret == -EMFILE && own)
			describe_limit(d, call);
	}
	switch (call->syscall) {
	case SYS_openat:
	case SYS_openat2:
		listing = listing_of_given(slot);
		return describe_opened_file(slot, listing, wants_file(slot, listing) ? file : NULL);
	case SYS_accept4:
		if (file)
			describe_file(slot, file);
		break;
	case SYS_connect:
		describe_asked(slot, call, req ? kernel_read(req, file) : NULL);
		break;
	case SYS_close:
		take_socket_back(slot);
		break;
	default:
		break;
	}
	return !cfg.only_paths || listing_passes(file_listing(slot), cfg.other_paths);
}

/* The slot of a request that was noted, as it was then; NULL if it is not there any more. */
static __always_inline struct slot *slot_of_request(__u64 key)
{
	const struct request_text *text = bpf_map_lookup_elem(&request_texts, &key);
	struct slot *slot = text ? take_slot() : NULL;
	__u32 len;

	if (!slot)
		return NULL;
	/* With a socket behind the text. */
	len = text->details.text_len + sizeof(struct socket_part) + 8;
	if (len > TEXT_MAX)
		len = TEXT_MAX;
	bpf_probe_read_kernel(&slot->details, sizeof(slot->details) + len, text);
	return slot;
}

static __always_inline void complete_event(struct event *e, const struct call *call)
{
	e->time = bpf_ktime_get_ns();
	e->ret = call->ret;
	e->flags |= call->flags;
}

/*
 * A request with details, or one whose path decides whether it is sent. How long it took
 * says only the last completion of one that has several.
 */
static __always_inline void send_request_slot(void *ctx, struct slot *slot,
					      const struct submitted *noted,
					      const struct call *call, struct io_kiocb *req,
					      bool timed)
{
	if (!describe_completed(slot, noted, call, req)) {
		count(filtered);
		return;
	}
	if (cfg.only_paths && !owner_within_rate(noted->owner))
		return;
	slot->event = noted->event;
	complete_event(&slot->event, call);
	slot->details.ppid = noted->ppid;
	slot->details.program_id = noted->program_id;
	if (cfg.want_latency && timed)
		slot->details.latency = slot->event.time - noted->event.time;
	if (send_slot(ctx, slot, SENDS_DETAILS))
		count_lost(noted->owner);
}

/* Adds a request to the totals. It is no sample of what calls are about. */
static __always_inline void count_request(const struct submitted *noted, const struct call *call,
					  bool timed)
{
	struct total_key key = key_of(call);

	/* It can complete in a task of the kernel. */
	if ((__u32)(pid_tgid_of(call->task) >> 32) != noted->event.pid)
		__builtin_memset(&key.executable, 0, sizeof(key.executable));
	key.cgroup_id = noted->event.cgroup_id;
	key.flags = noted->event.flags & FLAG_INITIAL_PID_NS;
	key.uid = cfg.count_users ? noted->event.uid : 0;
	add_calls(&key, call, timed ? noted->event.time : 0, 1);
}

static __always_inline void send_brief_request(void *ctx, const struct submitted *noted)
{
	struct slot *slot;

	if (!cfg.want_programs) {
		send_filled(ctx, &noted->event, noted->owner);
		return;
	}
	slot = take_slot();
	if (slot)
		slot->event = noted->event;
	if (!send_event_and_program(ctx, slot, noted->program_id))
		count_lost(noted->owner);
}

/* slot is NULL where there are no details. */
static __always_inline void send_request(void *ctx, struct slot *slot, struct submitted *noted,
					 const struct call *call, struct io_kiocb *req, bool timed)
{
	if (!result_passes(call->ret)) {
		count(filtered);
	} else if (cfg.counting) {
		if (cfg.only_paths && slot && !describe_completed(slot, noted, call, req))
			count(filtered);
		else
			count_request(noted, call, timed);
	} else if (!cfg.only_paths && !owner_within_rate(noted->owner)) {
		;
	} else if (slot) {
		send_request_slot(ctx, slot, noted, call, req, timed);
	} else {
		complete_event(&noted->event, call);
		send_brief_request(ctx, noted);
	}
}

/* The tracepoints. */

static __noinline bool note_request(__u64 key, struct submitted *noted, struct slot *slot)
{
	struct request_name name = {.ring = noted->ring, .user_data = noted->user_data};

	noted->place = take_place(key);
	if (noted->place == NO_PLACE)
		return false;
	if (slot && bpf_map_update_elem(&request_texts, &key, &slot->details, BPF_ANY))
		goto no_room;
	if (bpf_map_update_elem(&requests, &key, noted, BPF_ANY))
		goto no_room;
	/* One that does not say when it ends would leave its name to others that have it. */
	if (!noted->sent)
		bpf_map_update_elem(&named_requests, &name, &key, BPF_ANY);
	return true;

no_room:
	bpf_map_push_elem(&free_places, &noted->place, 0);
	return false;
}

static __always_inline void note_submitter(struct submitted *noted, const struct call *call)
{
	fill(&noted->event, call);
	if (!HAVE_CURRENT_TASK_BTF)
		name_by_process(noted->event.comm);
	noted->owner = owner_of_caller();
	noted->files = (__u64)task_walk(call->task, files);
	noted->ppid = task_walk(call->task, real_parent, tgid);
	if (cfg.want_programs)
		noted->program_id = program_id_of(call->task);
}

/*
 * Notes who submits a request, and takes a slot for it where there are details. Returns
 * false if it is not recorded. req is NULL where it is not known.
 */
static __always_inline bool begin_request(struct submitted *noted, struct call *call,
					  struct io_kiocb *req, struct slot **slot)
{
	__u64 pid_tgid = pid_tgid_of(call->task);
	struct io_ring_ctx *ring;

	if (!is_traced(call) || !shared.tool || pid_tgid >> 32 == shared.tool)
		return false;
	forget_ended((__u64)req);
	if (!caller_passes(call->task, pid_tgid)) {
		count(filtered);
		return false;
	}
	ring = req ? kernel_read(req, ctx) : NULL;
	call->abi = req ? abi_of_ring(ring) : abi_of(call->task);
	noted->ring = (__u64)ring;
	note_submitter(noted, call);
	if (!USES_SLOTS)
		return true;
	*slot = take_slot();
	if (!*slot)
		count_lost(noted->owner);
	return *slot;
}

/*
 * A request that says nothing of a success has its record at once; if it fails, there is
 * another one.
 */
static __always_inline int request_submitted(void *ctx, struct io_kiocb *req)
{
	struct call call = call_of_request(syscall_of_request(kernel_read(req, opcode)), ABI_64, 0);
	struct submitted noted = {};
	struct slot *slot = NULL;
	__u64 key = (__u64)req;

	if (!begin_request(&noted, &call, req, &slot))
		return 0;
	noted.user_data = user_data_of(req);
	if (slot)
		describe_request(slot, &noted, req);
	noted.sent = (__u32)kernel_read(req, flags) & REQUEST_SKIPS_SUCCESS;
	/* What is counted is counted once, whatever its result is. */
	if (!(cfg.counting && noted.sent) && !note_request(key, &noted, slot) && !noted.sent)
		count_lost(noted.owner);
	if (noted.sent) {
		call.flags |= FLAG_NO_RESULT;
		send_request(ctx, slot, &noted, &call, NULL, false);
	}
	if (slot)
		give_back_slot(slot);
	return 0;
}

/* more says that there will be other results of this request. */
static __always_inline int request_completed(void *ctx, __u64 key, struct io_kiocb *req, long res,
					     bool more)
{
	const struct submitted *found = bpf_map_lookup_elem(&requests, &key);
	struct request_place *place;
	struct slot *slot = NULL;
	struct submitted noted;
	struct call call;

	if (!found)
		return 0;
	noted = *found;
	call = call_of_request(noted.event.syscall, noted.event.abi, res);
	if (USES_SLOTS) {
		slot = slot_of_request(key);
		if (!slot)
			count_lost(noted.owner);
	}
	if (slot || !USES_SLOTS)
		send_request(ctx, slot, &noted, &call, req, !more);
	if (slot)
		give_back_slot(slot);
	if (!more) {
		forget_request(key, &noted);
		return 0;
	}
	place = bpf_map_lookup_elem(&request_places, &noted.place);
	if (place)
		place->since = bpf_jiffies64();
	return 0;
}

/* Of those with this name the last one, 0 if there is none. */
static __always_inline __u64 request_named(__u64 ring, __u64 user_data)
{
	struct request_name name = {.ring = ring, .user_data = user_data};
	const __u64 *key = bpf_map_lookup_elem(&named_requests, &name);

	return key ? *key : 0;
}

/* A completion of which the tracepoint says the ring and user_data. */
static __always_inline int named_request_completed(__u64 *ctx, __u64 ring, __u64 user_data,
						   __s32 res, __u32 flags, bool whole)
{
	__u64 key = request_named(ring, user_data);

	if (!key)
		return 0;
	return request_completed(ctx, key, whole ? (struct io_kiocb *)key : NULL, res,
				 flags & COMPLETION_MORE);
}

/*
 * A completion without a request is one of several. The program can write to what the
 * ring has of a completion, but not to what the request has.
 */
static __always_inline int completed(__u64 *ctx)
{
	__u64 ring = ARGUMENT(ctx, 0), key;
	struct io_kiocb *req;
	__u32 flags;
	__s32 res;

	if (cfg.complete_arguments == 4)
		return named_request_completed(ctx, ring, ARGUMENT(ctx, 1), ARGUMENT(ctx, 2),
					       ARGUMENT(ctx, 3), true);
	req = (struct io_kiocb *)ARGUMENT(ctx, 1);
	key = (__u64)req;
	if (req && syscall_of_request(kernel_read(req, opcode)) == SYS_COUNT)
		return 0;
	if (cfg.complete_arguments == 3 && req) {
		res = kernel_read(req, cqe.res);
		flags = kernel_read(req, cqe.flags);
	} else if (cfg.complete_arguments == 3) {
		const struct io_uring_cqe *cqe = (const struct io_uring_cqe *)ARGUMENT(ctx, 2);

		res = kernel_read(cqe, res);
		flags = kernel_read(cqe, flags);
		key = flags & COMPLETION_MORE ? request_named(ring, kernel_read(cqe, user_data))
					      : 0;
	} else {
		res = ARGUMENT(ctx, 3);
		flags = ARGUMENT(ctx, 4);
		if (!req)
			key = flags & COMPLETION_MORE ? request_named(ring, ARGUMENT(ctx, 2)) : 0;
	}
	if (!key)
		return 0;
	return request_completed(ctx, key, (struct io_kiocb *)key, res, flags & COMPLETION_MORE);
}

/* A request that the kernel refuses as it is, which the program may have changed meanwhile. */
static __always_inline void describe_refused(struct slot *slot, enum syscall syscall,
					     const struct io_uring_sqe *sqe)
{
	struct details *d = &slot->details;

	d->fd = kernel_read(sqe, fd);
	switch (syscall) {
	case SYS_openat:
		d->flags = kernel_read(sqe, open_flags);
		d->mode = kernel_read(sqe, len);
		describe_given_path(slot, kernel_read(sqe, addr));
		return;
	case SYS_openat2:
		read_how(d, kernel_read(sqe, addr2));
		describe_given_path(slot, kernel_read(sqe, addr));
		return;
	case SYS_accept4:
		d->flags = kernel_read(sqe, accept_flags);
		return;
	case SYS_connect:
		note_address(slot, kernel_read(sqe, addr), kernel_read(sqe, addr2));
		return;
	default:
		return;
	}
}

/* req is NULL where it is not known. */
static __always_inline int request_refused(void *ctx, const struct io_uring_sqe *sqe,
					   struct io_kiocb *req, long error)
{
	struct call call =
		call_of_request(syscall_of_request(kernel_read(sqe, opcode)), ABI_64, error);
	struct submitted noted = {};
	struct slot *slot = NULL;

	if (!begin_request(&noted, &call, req, &slot))
		return 0;
	if (slot)
		describe_refused(slot, call.syscall, sqe);
	send_request(ctx, slot, &noted, &call, NULL, false);
	if (slot)
		give_back_slot(slot);
	return 0;
}

#endif
