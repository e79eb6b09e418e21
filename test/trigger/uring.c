// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors
/* Calls that are made as requests of io_uring(7), with its own syscalls and no library. */
#include "trigger.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/un.h>

#define ENTRIES 16
#define SLOTS 8

/* Newer than the headers of some. */
#ifndef IORING_FILE_INDEX_ALLOC
#define IORING_FILE_INDEX_ALLOC (~0U)
#endif
#ifndef IORING_ACCEPT_MULTISHOT
#define IORING_ACCEPT_MULTISHOT (1U << 0)
#endif
#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif
#ifndef IOSQE_CQE_SKIP_SUCCESS
#define IOSQE_CQE_SKIP_SUCCESS (1U << 6)
#endif
#ifndef IORING_FEAT_CQE_SKIP
#define IORING_FEAT_CQE_SKIP (1U << 11)
#endif

struct ring {
	int fd;
	struct io_uring_params params;
	void *rings;
	struct io_uring_sqe *entries;
	struct caller who; /* that does what is asked of it */
	__u64 user_data;   /* of the last request */
};

struct completion {
	__u64 user_data;
	long res;
	__u32 flags;
};

static int setup(struct ring *r, unsigned int flags)
{
	size_t size;

	memset(r, 0, sizeof(*r));
	r->params.flags = flags;
	r->fd = syscall(SYS_io_uring_setup, ENTRIES, &r->params);
	if (r->fd < 0)
		return -errno;
	size = r->params.cq_off.cqes + r->params.cq_entries * sizeof(struct io_uring_cqe) +
	       r->params.sq_off.array + r->params.sq_entries * sizeof(__u32);
	r->rings = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
	r->entries = mmap(0, r->params.sq_entries * sizeof(struct io_uring_sqe),
			  PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQES);
	must(r->rings != MAP_FAILED && r->entries != MAP_FAILED, "trigger: map a ring");
	r->who = self();
	return 0;
}

static __u32 *word(struct ring *r, __u32 offset)
{
	return (__u32 *)((char *)r->rings + offset);
}

/* Puts a request into the ring. */
static void push(struct ring *r, const struct io_uring_sqe *entry)
{
	__u32 *tail = word(r, r->params.sq_off.tail);
	__u32 at = *tail & *word(r, r->params.sq_off.ring_mask);

	r->entries[at] = *entry;
	r->entries[at].user_data = ++r->user_data;
	word(r, r->params.sq_off.array)[at] = at;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
}

static void enter(struct ring *r, int submitted, int completed)
{
	int flags = IORING_ENTER_GETEVENTS;

	if (r->params.flags & IORING_SETUP_SQPOLL) {
		flags |= IORING_ENTER_SQ_WAKEUP;
		submitted = 0;
	}
	must(syscall(SYS_io_uring_enter, r->fd, submitted, completed, flags, 0, 0) == submitted,
	     "trigger: submit requests");
}

/* Takes the next completion, waiting for it. */
static struct completion pop(struct ring *r)
{
	__u32 *head = word(r, r->params.cq_off.head), mask = *word(r, r->params.cq_off.ring_mask);
	const struct io_uring_cqe *entries = (void *)word(r, r->params.cq_off.cqes), *entry;
	struct completion completion;

	while (__atomic_load_n(word(r, r->params.cq_off.tail), __ATOMIC_ACQUIRE) == *head)
		enter(r, 0, 1);
	entry = &entries[*head & mask];
	completion = (struct completion){entry->user_data, entry->res, entry->flags};
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return completion;
}

static long submit(struct ring *r, const struct io_uring_sqe *entry)
{
	push(r, entry);
	enter(r, 1, 1);
	return pop(r).res;
}

#define VIA ",\"via\":\"io_uring\""

static struct io_uring_sqe to_open(const char *path, int flags)
{
	return (struct io_uring_sqe){.opcode = IORING_OP_OPENAT,
				     .fd = AT_FDCWD,
				     .addr = (uintptr_t)path,
				     .open_flags = flags,
				     .len = 0600};
}

static struct io_uring_sqe to_close(int fd)
{
	return (struct io_uring_sqe){.opcode = IORING_OP_CLOSE, .fd = fd};
}

static long say_open(struct ring *r, const char *path, int flags, int how_submitted)
{
	struct io_uring_sqe entry = to_open(path, flags);
	long ret;

	entry.flags = how_submitted;
	ret = submit(r, &entry);
	return say_of(r->who, "openat", ret,
		      VIA ",\"dirfd\":-100,\"slot\":null,\"path\":\"%s\",\"file\":%s%s%s", path,
		      ret < 0 ? "null" : "\"", ret < 0 ? "" : path, ret < 0 ? "" : "\"");
}

static long say_close(struct ring *r, int fd, int how_submitted, const char *more)
{
	struct io_uring_sqe entry = to_close(fd);

	entry.flags = how_submitted;
	return say_of(r->who, "close", submit(r, &entry), VIA ",\"fd\":%d,\"slot\":null%s", fd,
		      more);
}

static void openat2_of(struct ring *r, const char *path, __u64 resolve)
{
	struct open_how how = {.flags = O_RDWR | O_CREAT, .mode = 0640, .resolve = resolve};
	struct io_uring_sqe entry = {.opcode = IORING_OP_OPENAT2,
				     .fd = AT_FDCWD,
				     .addr = (uintptr_t)path,
				     .len = sizeof(how),
				     .addr2 = (uintptr_t)&how};
	long ret = submit(r, &entry);

	say_of(r->who, "openat2", ret, VIA ",\"path\":\"%s\",\"mode\":\"0640\",\"resolve\":%s",
	       path, resolve ? "\"RESOLVE_BENEATH\"" : "null");
	if (ret >= 0)
		say_close(r, ret, 0, "");
}

/* Opens and closes, so submitted. */
static void files(struct ring *r, const char *dir, int how)
{
	char file[300], nothing[300], more[400];
	long fd;

	snprintf(file, sizeof(file), "%s/uring", dir);
	snprintf(nothing, sizeof(nothing), "%s/nothing", dir);
	snprintf(more, sizeof(more), ",\"path\":\"%s\",\"type\":\"regular\"", file);
	fd = say_open(r, file, O_RDWR | O_CREAT, how);
	must(fd >= 0, "trigger: open a file in a ring");
	say_close(r, fd, how, more);
	fd = say_open(r, file, O_RDONLY, how);
	say_close(r, fd, how, more);
	say_close(r, fd, how, ",\"path\":null");
	say_open(r, nothing, O_RDONLY, how);
	openat2_of(r, file, 0);
	openat2_of(r, file, RESOLVE_BENEATH);
}

static void end(struct ring *r)
{
	SAY_CLOSE(r->fd, ",\"type\":\"io_uring\"");
}

void requests(const char *dir)
{
	struct ring r;
	int err;

	err = setup(&r, 0);
	if (err) {
		skip("io_uring", strerror(-err));
		return;
	}
	files(&r, dir, 0);
	files(&r, dir, IOSQE_ASYNC);
	end(&r);
}
