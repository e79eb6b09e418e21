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

static int setup_with(struct ring *r, unsigned int entries, unsigned int flags)
{
	size_t size;

	memset(r, 0, sizeof(*r));
	r->params.flags = flags;
	r->fd = syscall(SYS_io_uring_setup, entries, &r->params);
	if (r->fd < 0)
		return -errno;
	/* The array comes last, and 5.10 refuses to map more than there is. */
	size = r->params.sq_off.array + r->params.sq_entries * sizeof(__u32);
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

static struct sockaddr_in loopback(int port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				    .sin_port = htons(port)};
}

static int listen_at(int *port)
{
	struct sockaddr_in addr = loopback(0);
	socklen_t len = sizeof(addr);
	int fd = listen_on(&addr, len);

	must(!getsockname(fd, (void *)&addr, &len), "trigger: ask for the port");
	*port = ntohs(addr.sin_port);
	return fd;
}

static struct io_uring_sqe to_accept(int fd)
{
	return (struct io_uring_sqe){.opcode = IORING_OP_ACCEPT, .fd = fd};
}

static struct io_uring_sqe to_connect(int fd, const void *addr, socklen_t len)
{
	return (struct io_uring_sqe){
		.opcode = IORING_OP_CONNECT, .fd = fd, .addr = (uintptr_t)addr, .off = len};
}

static long say_connect(struct ring *r, int fd, int port)
{
	struct sockaddr_in addr = loopback(port);
	struct io_uring_sqe entry = to_connect(fd, &addr, sizeof(addr));

	return say_of(r->who, "connect", submit(r, &entry),
		      VIA ",\"fd\":%d,\"slot\":null,\"protocol\":\"tcp\",\"addr\":\"127.0.0.1\","
			  "\"port\":%d,\"outcome\":null",
		      fd, port);
}

#define ACCEPTED ",\"protocol\":\"tcp\",\"addr\":\"127.0.0.1\",\"local_port\":%d"

static long say_accept(struct ring *r, int server, int port, long ret, const char *more)
{
	return say_of(r->who, "accept4", ret,
		      ret < 0 ? VIA ",\"fd\":%d,\"slot\":null%s" : VIA ",\"fd\":%d%s" ACCEPTED,
		      server, more, port);
}

/* What was asked for is not asked for any more. */
static void cancel(struct ring *r, __u64 user_data)
{
	struct io_uring_sqe entry = {.opcode = IORING_OP_ASYNC_CANCEL, .addr = user_data};

	push(r, &entry);
	enter(r, 1, 0);
}

static void sockets(struct ring *r)
{
	struct sockaddr_un nowhere = {.sun_family = AF_UNIX, .sun_path = "/nonexistent/socket"};
	struct io_uring_sqe entry;
	int server, client, port;
	struct completion first;
	long accepted;

	server = listen_at(&port);
	client = socket(AF_INET, SOCK_STREAM, 0);
	say_connect(r, client, port);
	entry = to_accept(server);
	entry.accept_flags = SOCK_CLOEXEC;
	accepted = say_accept(r, server, port, submit(r, &entry),
			      ",\"slot\":null,\"flags\":\"SOCK_CLOEXEC\"");
	say_close(r, client, 0, ",\"type\":\"socket\",\"protocol\":\"tcp\"");
	say_close(r, accepted, 0, ",\"type\":\"socket\",\"protocol\":\"tcp\"");

	/* Nobody comes. */
	entry = to_accept(server);
	push(r, &entry);
	enter(r, 1, 0);
	accepted = r->user_data;
	cancel(r, accepted);
	for (int i = 0; i < 2; i++) {
		first = pop(r);
		if (first.user_data == (__u64)accepted)
			say_accept(r, server, port, first.res, "");
	}
	say_close(r, server, 0, ",\"type\":\"socket\",\"protocol\":\"tcp\"");

	client = socket(AF_INET, SOCK_STREAM, 0);
	say_connect(r, client, port);
	say_close(r, client, 0, ",\"type\":\"socket\"");

	client = socket(AF_UNIX, SOCK_STREAM, 0);
	entry = to_connect(client, &nowhere, sizeof(nowhere));
	say_of(r->who, "connect", submit(r, &entry),
	       VIA ",\"fd\":%d,\"family\":\"AF_UNIX\",\"addr\":\"%s\"", client, nowhere.sun_path);
	say_close(r, client, 0, ",\"type\":\"socket\"");
}

static void multishot(struct ring *r)
{
	struct io_uring_sqe entry;
	struct completion c;
	int server, client, port;
	__u64 user_data;

	server = listen_at(&port);
	entry = to_accept(server);
	entry.ioprio = IORING_ACCEPT_MULTISHOT;
	push(r, &entry);
	enter(r, 1, 0);
	user_data = r->user_data;
	for (int i = 0; i < 3; i++) {
		struct sockaddr_in addr = loopback(port);

		client = socket(AF_INET, SOCK_STREAM, 0);
		say("connect", do_connect(client, &addr, sizeof(addr)), ",\"via\":null");
		c = pop(r);
		if (c.res == -EINVAL) {
			skip("multishot accept", strerror(EINVAL));
			SAY_CLOSE(client, "");
			SAY_CLOSE(server, "");
			return;
		}
		/* It comes in this thread, before connect returns or after. */
		must(c.user_data == user_data && c.flags & IORING_CQE_F_MORE,
		     "trigger: accept again and again");
		say_accept(r, server, port, c.res,
			   ",\"slot\":null,\"_no_latency\":true,\"_any_order\":true");
		SAY_CLOSE(c.res, "");
		SAY_CLOSE(client, "");
	}
	cancel(r, user_data);
	for (int i = 0; i < 2; i++) {
		c = pop(r);
		if (c.user_data == user_data)
			say_accept(r, server, port, c.res, "");
	}
	SAY_CLOSE(server, "");
}

/* Opens into a slot, or is refused. */
static long say_open_slot(struct ring *r, const char *path, int slot, __u32 file_index)
{
	struct io_uring_sqe entry = to_open(path, O_RDONLY);
	long ret;

	entry.file_index = file_index;
	ret = submit(r, &entry);
	if (ret >= 0)
		return say_of(r->who, "openat", ret,
			      VIA ",\"fd\":null,\"slot\":%ld,\"path\":\"%s\",\"file\":\"%s\"",
			      file_index == IORING_FILE_INDEX_ALLOC ? ret : slot, path, path);
	return say_of(r->who, "openat", ret, VIA ",\"fd\":null,\"path\":\"%s\"", path);
}

static void say_close_slot(struct ring *r, int slot, const char *more)
{
	struct io_uring_sqe entry = to_close(0);

	entry.file_index = slot + 1;
	say_of(r->who, "close", submit(r, &entry), VIA ",\"fd\":null,\"slot\":%d%s", slot, more);
}

static void direct(struct ring *r, const char *dir)
{
	char file[300], more[400], fixed[50];
	int slots[SLOTS], server, client, port;
	struct io_uring_sqe entry;
	long slot;

	memset(slots, -1, sizeof(slots));
	must(!syscall(SYS_io_uring_register, r->fd, IORING_REGISTER_FILES, slots, SLOTS),
	     "trigger: register a table of files");
	snprintf(file, sizeof(file), "%s/uring", dir);
	snprintf(more, sizeof(more), ",\"path\":\"%s\",\"type\":\"regular\"", file);
	say_open_slot(r, file, 2, 3);
	say_close_slot(r, 2, more);
	say_close_slot(r, 2, ",\"path\":null");
	slot = say_open_slot(r, file, 0, IORING_FILE_INDEX_ALLOC);
	if (slot >= 0)
		say_close_slot(r, slot, more);

	server = listen_at(&port);
	client = socket(AF_INET, SOCK_STREAM, 0);
	say_connect(r, client, port);
	entry = to_accept(server);
	entry.file_index = 5;
	say_accept(r, server, port, submit(r, &entry), ",\"slot\":4");
	snprintf(fixed, sizeof(fixed), ",\"local_port\":%d", port);
	{
		struct sockaddr_in addr = loopback(port);

		entry = to_connect(4, &addr, sizeof(addr));
		entry.flags = IOSQE_FIXED_FILE;
		say_of(r->who, "connect", submit(r, &entry),
		       VIA ",\"fd\":null,\"slot\":4,\"protocol\":\"tcp\"%s", fixed);
	}
	say_close_slot(r, 4, ",\"type\":\"socket\",\"protocol\":\"tcp\"");
	SAY_CLOSE(client, "");
	SAY_CLOSE(server, "");
}

/* One after the other, the second only if the first succeeds. */
static void linked(struct ring *r, const char *dir)
{
	char file[300], nothing[300];

	snprintf(file, sizeof(file), "%s/uring", dir);
	snprintf(nothing, sizeof(nothing), "%s/nothing", dir);
	for (int i = 0; i < 2; i++) {
		const char *path = i ? nothing : file;
		struct io_uring_sqe first = to_open(path, O_RDONLY), second = to_close(0);
		struct completion opened, closed;

		first.flags = IOSQE_IO_LINK;
		first.file_index = 7;
		second.file_index = 7;
		push(r, &first);
		push(r, &second);
		enter(r, 2, 2);
		opened = pop(r);
		closed = pop(r);
		say_of(r->who, "openat", opened.res, VIA ",\"fd\":null,\"slot\":6,\"path\":\"%s\"",
		       path);
		/* What it closes was not open when it was submitted. */
		say_of(r->who, "close", closed.res, VIA ",\"fd\":null,\"slot\":6,\"path\":null");
	}
}

/* Only failures complete. */
static void without_successes(struct ring *r, const char *dir)
{
	char file[300], nothing[300];
	struct io_uring_sqe first, second = to_close(0);

	if (!(r->params.features & IORING_FEAT_CQE_SKIP)) {
		skip("IOSQE_CQE_SKIP_SUCCESS", "not before 5.17");
		return;
	}
	snprintf(file, sizeof(file), "%s/uring", dir);
	snprintf(nothing, sizeof(nothing), "%s/nothing", dir);
	first = to_open(file, O_RDONLY);
	first.flags = IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
	first.file_index = 7;
	second.file_index = 7;
	push(r, &first);
	push(r, &second);
	enter(r, 2, 1);
	say_of(r->who, "openat", NO_RESULT,
	       VIA ",\"ret\":null,\"error\":null,\"slot\":6,\"path\":\"%s\",\"_no_latency\":true",
	       file);
	say_of(r->who, "close", pop(r).res, VIA ",\"slot\":6");

	first = to_open(nothing, O_RDONLY);
	first.flags = IOSQE_CQE_SKIP_SUCCESS;
	say_of(r->who, "openat", NO_RESULT,
	       VIA ",\"ret\":null,\"error\":null,\"path\":\"%s\",\"_no_latency\":true", nothing);
	say_of(r->who, "openat", submit(r, &first), VIA ",\"_again\":true,\"path\":\"%s\"",
	       nothing);
}

/* The kernel looks at these, and submits none of them. */
static void refused(struct ring *r, const char *dir)
{
	struct io_uring_sqe entry = to_open((const char *)8, O_RDONLY);

	say_of(r->who, "openat", submit(r, &entry),
	       VIA ",\"path\":null,\"unreadable\":true,\"_since\":\"5.18\",\"_no_latency\":true");
	entry = to_open(dir, O_RDONLY);
	entry.flags = IOSQE_FIXED_FILE;
	say_of(r->who, "openat", submit(r, &entry),
	       VIA ",\"path\":\"%s\",\"_since\":\"5.18\",\"_no_latency\":true", dir);
	entry = to_close(7);
	entry.len = 1;
	say_of(r->who, "close", submit(r, &entry),
	       VIA ",\"fd\":7,\"_since\":\"5.18\",\"_no_latency\":true");
}

/* More results than the ring has room for. */
static void overflowing(struct ring *r)
{
	struct io_uring_sqe entry = to_close(-1), other = {.opcode = IORING_OP_NOP};

	for (unsigned int i = 0; i < 2 * r->params.cq_entries; i++) {
		push(r, &entry);
		if (syscall(SYS_io_uring_enter, r->fd, 1, 0, 0, 0, 0) != 1) {
			must(errno == EBUSY, "trigger: submit a request");
			return; /* nor will it be */
		}
		say_of(r->who, "close", -EBADF, VIA ",\"fd\":-1,\"path\":null");
	}
	if (!(r->params.features & IORING_FEAT_CQE_SKIP))
		return;
	/* What has the user data of one that ended without a result is not that. */
	entry = to_close(SAY(openat, ",\"via\":null", AT_FDCWD, "/dev/null", O_RDONLY));
	entry.flags = IOSQE_CQE_SKIP_SUCCESS;
	push(r, &entry);
	enter(r, 1, 0);
	say_of(r->who, "close", NO_RESULT,
	       VIA ",\"ret\":null,\"path\":\"/dev/null\",\"_no_latency\":true");
	r->user_data--;
	push(r, &other);
	enter(r, 1, 0);
}

static void end(struct ring *r)
{
	SAY_CLOSE(r->fd, ",\"type\":\"io_uring\"");
}

/* The thread that takes the requests of a ring, of which this one only says that they are there. */
static pid_t polling_thread(struct ring *r)
{
	char path[100], text[4000], *at;
	pid_t tid = 0;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", r->fd);
	while (tid <= 0 || tid == getpid()) { /* it is busy, or does not run yet */
		int fd = SAY(openat, ",\"via\":null", AT_FDCWD, path, O_RDONLY);
		ssize_t len = read(fd, text, sizeof(text) - 1);

		must(len > 0, "trigger: read of a ring");
		text[len] = '\0';
		SAY_CLOSE(fd, "");
		at = strstr(text, "SqThread:");
		must(!!at, "trigger: find the thread of a ring");
		tid = atoi(at + strlen("SqThread:"));
	}
	return tid;
}

static int begin(struct ring *r, const char *what, unsigned int flags)
{
	int err = setup_with(r, ENTRIES, flags);

	if (err)
		skip(what, strerror(-err));
	return !err;
}

void requests(const char *dir)
{
	struct ring r;

	if (!begin(&r, "io_uring", 0))
		return;
	files(&r, dir, 0);
	files(&r, dir, IOSQE_ASYNC);
	sockets(&r);
	multishot(&r);
	direct(&r, dir);
	linked(&r, dir);
	without_successes(&r, dir);
	refused(&r, dir);
	end(&r);
	if (begin(&r, "DEFER_TASKRUN", IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)) {
		files(&r, dir, 0);
		sockets(&r);
		multishot(&r);
		end(&r);
	}
	if (begin(&r, "SQPOLL", IORING_SETUP_SQPOLL)) {
		r.who.tid = polling_thread(&r);
		files(&r, dir, 0);
		sockets(&r);
		multishot(&r);
		direct(&r, dir);
		refused(&r, dir);
		end(&r);
	}
	if (begin(&r, "a ring that overflows", 0)) {
		overflowing(&r);
		end(&r);
	}
}

/* n requests that nothing completes, until stdin ends. */
void hanging_requests(int n)
{
	struct io_uring_sqe entry;
	int server, port;
	struct ring r;
	char byte;

	must(!setup_with(&r, 1024, 0), "trigger: set up a ring");
	server = listen_at(&port);
	for (int i = 0; i < n; i++) {
		entry = to_accept(server);
		push(&r, &entry);
		if (i % 1024 == 1023 || i == n - 1)
			enter(&r, i % 1024 + 1, 0);
	}
	must(write(1, "ready\n", 6) == 6 && !read(0, &byte, 1), "trigger: wait for the end");
}

/*
 * Opens and closes n times, one request after the other, in a ring that the kernel polls or
 * in one that it does not.
 */
void request_pairs(const char *path, long n, int polled)
{
	struct io_uring_sqe opening = to_open(path, O_RDONLY), closing;
	struct ring r;

	must(!setup_with(&r, ENTRIES, polled ? IORING_SETUP_SQPOLL : 0), "trigger: set up a ring");
	for (long i = 0; i < n; i++) {
		closing = to_close(submit(&r, &opening));
		must(!submit(&r, &closing), "trigger: open and close in a ring");
	}
}
