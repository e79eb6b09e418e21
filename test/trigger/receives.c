// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors
/*
 * Calls that receive descriptors, by SCM_RIGHTS and SCM_PIDFD, and those of the same
 * syscalls that receive none. Somebody else sends them, for here all syscalls are traced.
 */
#include "trigger.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#define SCM_PIDFD 4 /* where the C library is older */
#define SO_PASSPIDFD 76
#define RECVMMSG_TIME64 417

#define FDS_MAX 253  /* that one message can have */
#define ROWS_MAX 254 /* that one call can have */
#define MESSAGES_MAX 3
#define CONTROL_SIZE 2048

static char file[PATH_MAX + sizeof("/file")];
static int sender, receiver;

/* How many descriptors come with each of the messages that the helper sends. */
static int counts[MESSAGES_MAX], messages;

/* What the nth descriptor of a message is. */
static int kind(int n)
{
	return n % 3;
}

static const char *kind_text(int n)
{
	static char text[sizeof(file) + 50];

	if (kind(n) == 1)
		return ",\"path\":null,\"type\":\"pipe\"";
	if (kind(n) == 2)
		return ",\"path\":null,\"type\":\"eventfd\"";
	snprintf(text, sizeof(text), ",\"path\":\"%s\",\"type\":\"regular\"", file);
	return text;
}

static void send_fds(const int *fds, int n)
{
	static char control[CONTROL_SIZE] __attribute__((aligned(8)));
	char bytes[4] = "abc";
	struct iovec data = {bytes, 4};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
	struct cmsghdr *header;

	if (n) {
		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(n * sizeof(int));
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_len = CMSG_LEN(n * sizeof(int));
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(header), fds, n * sizeof(int));
	}
	must(sendmsg(sender, &message, 0) == sizeof(bytes), "trigger: send descriptors");
}

static void send_messages(void)
{
	int kinds[3], ends[2], fds[FDS_MAX];

	must((kinds[0] = open(file, O_RDWR | O_CREAT, 0600)) >= 0 && !pipe(ends) &&
		     (kinds[2] = eventfd(0, 0)) >= 0,
	     "trigger: make what is sent");
	kinds[1] = ends[0];
	for (int n = 0; n < FDS_MAX; n++)
		fds[n] = kinds[kind(n)];
	for (int i = 0; i < messages; i++)
		send_fds(fds, counts[i]);
}

/* Room for a message, of which so many bytes are for control messages. */
struct room {
	struct iovec data;
	char bytes[4];
	char control[CONTROL_SIZE] __attribute__((aligned(8)));
};

static struct room rooms[MESSAGES_MAX];

static void make_room(struct msghdr *message, struct room *room, size_t size)
{
	room->data = (struct iovec){room->bytes, sizeof(room->bytes)};
	*message = (struct msghdr){.msg_iov = &room->data,
				   .msg_iovlen = 1,
				   .msg_control = size ? room->control : NULL,
				   .msg_controllen = size};
}

/* A call that has returned, and what is known of its rows. */
struct receipt {
	const char *name;
	long ret;
	const char *flags;
	int rows, more, first, last;
};

static void say_row(struct receipt *r, int fd, const char *what)
{
	if (!r->rows)
		r->first = fd;
	r->last = fd;
	if (r->rows == ROWS_MAX) {
		r->more++;
		return;
	}
	say(r->name, r->ret,
	    ",\"fd\":%d,\"socket_fd\":%d,\"further\":%s,\"received_count\":null,\"flags\":%s%s", fd,
	    receiver, r->rows++ ? "true" : "null", r->flags, what);
}

static void say_message(struct receipt *r, struct msghdr *message)
{
	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
	     header = CMSG_NXTHDR(message, header)) {
		int n = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int *fds = (int *)CMSG_DATA(header);

		if (header->cmsg_type == SCM_PIDFD)
			say_row(r, fds[0], ",\"path\":null,\"type\":\"pidfd\"");
		for (int i = 0; header->cmsg_type == SCM_RIGHTS && i < n; i++)
			say_row(r, fds[i], kind_text(i));
	}
}

/* Says how many had no row, and closes what was received. */
static void end_receipt(struct receipt *r, int want)
{
	int n = r->rows + r->more;

	if (r->more)
		say(r->name, r->ret,
		    ",\"fd\":null,\"socket_fd\":%d,\"further\":true,\"received_count\":%d,"
		    "\"path\":null,\"type\":null",
		    receiver, r->more);
	must(n == want, "trigger: receive what was sent");
	if (n)
		say("close_range", raw(syscall(SYS_close_range, r->first, r->last, 0)),
		    ",\"fd\":%d,\"last_fd\":%d", r->first, r->last);
}

#define NO_FLAGS "null"

/* How a call is made: as itself, by socketcall, with 64-bit times. */
enum way { ITSELF, SOCKETCALL, TIME64, WAYS };

static int has_way(enum way way, int many)
{
	if (sizeof(long) == 8 || way == ITSELF)
		return way == ITSELF;
#ifdef SYS_socketcall
	if (way == SOCKETCALL)
		return 1;
#endif
	return way == TIME64 && many;
}

static long call_recvmsg(enum way way, struct msghdr *message, int flags)
{
#ifdef SYS_socketcall
	long args[] = {receiver, (long)message, flags};

	if (way == SOCKETCALL)
		return raw(syscall(SYS_socketcall, 17, args));
#endif
	(void)way;
	return raw(syscall(SYS_recvmsg, receiver, message, flags));
}

static long call_recvmmsg(enum way way, struct mmsghdr *vector, int n)
{
#ifdef SYS_socketcall
	long args[] = {receiver, (long)vector, n, 0, 0};

	if (way == SOCKETCALL)
		return raw(syscall(SYS_socketcall, 19, args));
#endif
	return raw(syscall(way == TIME64 ? RECVMMSG_TIME64 : SYS_recvmmsg, receiver, vector, n, 0,
			   NULL));
}

/* Receives some of so many descriptors, with room for so many bytes of control messages. */
static void receive(enum way way, int sent, size_t room, int want, int flags, const char *names)
{
	struct receipt r = {"recvmsg", 0, names};
	struct msghdr message;
	pid_t helper;

	counts[0] = sent;
	messages = 1;
	helper = start_helper(send_messages);
	make_room(&message, &rooms[0], room);
	r.ret = call_recvmsg(way, &message, flags);
	if (flags & MSG_PEEK) {
		say_message(&r, &message);
		end_receipt(&r, want);
		make_room(&message, &rooms[0], 0);
		must(call_recvmsg(way, &message, 0) == 4, "trigger: receive after a look");
	} else {
		say_message(&r, &message);
		end_receipt(&r, want);
	}
	join_helper(helper);
}

/* Some messages by one call. */
static void receive_many(enum way way, int first, int second, int third)
{
	struct receipt r = {way == TIME64 ? "recvmmsg_time64" : "recvmmsg", 0, NO_FLAGS};
	struct mmsghdr vector[MESSAGES_MAX] = {};
	pid_t helper;

	counts[0] = first;
	counts[1] = second;
	counts[2] = third;
	messages = MESSAGES_MAX;
	helper = start_helper(send_messages);
	for (int i = 0; i < MESSAGES_MAX; i++)
		make_room(&vector[i].msg_hdr, &rooms[i], CONTROL_SIZE);
	r.ret = call_recvmmsg(way, vector, MESSAGES_MAX);
	must(r.ret == MESSAGES_MAX, "trigger: receive messages");
	for (int i = 0; i < MESSAGES_MAX; i++)
		say_message(&r, &vector[i].msg_hdr);
	end_receipt(&r, first + second + third);
	join_helper(helper);
}

/* With credentials, which come before, and where there is one a pidfd. */
static void receive_more_than_rights(enum way way)
{
	int on = 1, off = 0, pidfd;

	must(!setsockopt(receiver, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)),
	     "trigger: ask for credentials");
	pidfd = !setsockopt(receiver, SOL_SOCKET, SO_PASSPIDFD, &on, sizeof(on));
	receive(way, 2, CONTROL_SIZE, 2 + pidfd, 0, NO_FLAGS);
	receive(way, 0, CONTROL_SIZE, pidfd, 0, NO_FLAGS);
	setsockopt(receiver, SOL_SOCKET, SO_PASSPIDFD, &off, sizeof(off));
	setsockopt(receiver, SOL_SOCKET, SO_PASSCRED, &off, sizeof(off));
}

/* Calls that receive nothing have no row. */
static void fail(enum way way)
{
	struct msghdr message;

	make_room(&message, &rooms[0], CONTROL_SIZE);
	must(call_recvmsg(way, &message, MSG_DONTWAIT) == -EAGAIN &&
		     call_recvmsg(way, (void *)-1L, 0) == -EFAULT,
	     "trigger: receive nothing");
}

/*
 * Another thread rewrites the control messages, and where they are, all the time. Whatever
 * it says, a row is of a descriptor that is open: all that it names are of the same file,
 * or open no more.
 */
#define OPEN_HERE 300
#define CLOSED_HERE 900
#define REWRITTEN 100

static struct msghdr rewritten;
static int rewritten_fds[2 * CONTROL_SIZE];
static volatile int rewriting;

static void *rewrite(void *unused)
{
	struct cmsghdr *header = (void *)rewritten_fds;
	int fds[] = {OPEN_HERE, CLOSED_HERE, -1, 1 << 30};
	size_t lens[] = {CMSG_LEN(4), CMSG_LEN(16), 0, 4, CMSG_LEN(40), (size_t)-1};
	size_t sizes[] = {CONTROL_SIZE, 0, (size_t)-1, CMSG_SPACE(4), 7};

	for (unsigned int i = 0; rewriting; i++) {
		*(volatile int *)CMSG_DATA(header) = fds[i % 4];
		*(volatile size_t *)&header->cmsg_len = lens[i % 6];
		*(volatile int *)&header->cmsg_level = SOL_SOCKET;
		*(volatile int *)&header->cmsg_type = i % 8 ? SCM_RIGHTS : SCM_PIDFD;
		if (i % 3 == 0)
			*(volatile size_t *)&rewritten.msg_controllen = sizes[i % 5];
		if (i % 64 == 0)
			*(void *volatile *)&rewritten.msg_control = i % 128 ? (void *)-8L : header;
	}
	return unused;
}

static void receive_rewritten(void)
{
	struct iovec data = {rooms[0].bytes, 4};
	pthread_t thread;
	int fd;

	prctl(PR_SET_NAME, "rewritten");
	must((fd = open(file, O_RDWR | O_CREAT, 0600)) >= 0 && dup2(fd, OPEN_HERE) >= 0,
	     "trigger: open a file");
	close(CLOSED_HERE);
	for (size_t i = 0; i < sizeof(rewritten_fds) / sizeof(int); i++)
		rewritten_fds[i] = OPEN_HERE;
	rewriting = 1;
	must(!pthread_create(&thread, 0, rewrite, 0), "trigger: start a thread");
	for (int i = 0; i < REWRITTEN; i++) {
		send_fds(&fd, 1);
		rewritten = (struct msghdr){.msg_iov = &data,
					    .msg_iovlen = 1,
					    .msg_control = rewritten_fds,
					    .msg_controllen = CONTROL_SIZE};
		/* Where the header is rewritten too early, it fails. */
		if (syscall(SYS_recvmsg, receiver, &rewritten, 0) < 0)
			recv(receiver, rooms[0].bytes, 4, MSG_DONTWAIT);
		syscall(SYS_close_range, fd + 1, OPEN_HERE - 1, 0);
	}
	rewriting = 0;
	pthread_join(thread, 0);
}

void receives(const char *dir)
{
	int ends[2];

	snprintf(file, sizeof(file), "%s/file", dir);
	must(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), "trigger: make a socket");
	sender = ends[0];
	receiver = ends[1];
	say("socketpair", 0, ",\"fd\":%d,\"fd2\":%d", sender, receiver);
	for (enum way way = ITSELF; way < WAYS; way++) {
		if (has_way(way, 0)) {
			receive(way, 1, CONTROL_SIZE, 1, MSG_CMSG_CLOEXEC, "\"MSG_CMSG_CLOEXEC\"");
			receive(way, 3, CONTROL_SIZE, 3, 0, NO_FLAGS);
			receive(way, 0, CONTROL_SIZE, 0, 0, NO_FLAGS);
			receive(way, 5, CMSG_SPACE(2 * sizeof(int)), 2, 0, NO_FLAGS);
			receive(way, 2, CMSG_LEN(0) + 3, 0, 0, NO_FLAGS);
			receive(way, 2, 0, 0, 0, NO_FLAGS);
			receive(way, 1, CONTROL_SIZE, 1, MSG_PEEK, "\"MSG_PEEK\"");
			receive_more_than_rights(way);
			fail(way);
		}
		if (has_way(way, 1))
			receive_many(way, 1, 0, 2);
	}
	receive(ITSELF, FDS_MAX, CONTROL_SIZE, FDS_MAX, 0, NO_FLAGS);
	receive_many(ITSELF, FDS_MAX, 1, FDS_MAX);
	join_helper(start_helper(receive_rewritten));
}
