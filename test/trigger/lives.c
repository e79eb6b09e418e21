// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors
/* A program that knows of each descriptor that it closes how long it was open. */
#include "trigger.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

struct window {
	long long from, to;
};

struct file {
	struct window opened;
	const char *call;
	int pid, fd, references;
};

#define MOST 64

static struct slot {
	struct file *file; /* NULL if nothing is open */
	struct window made;
	const char *call;
	int fd;
} slots[MOST];

static void made(int fd, const char *call, long long from, struct file *file)
{
	for (int i = 0; i < MOST; i++) {
		struct slot *s = &slots[i];

		if (s->file)
			continue;
		must(fd >= 0, call);
		s->fd = fd;
		s->call = call;
		s->made = (struct window){from, now()};
		if (!file) {
			file = calloc(1, sizeof(*file));
			*file = (struct file){s->made, call, getpid(), fd, 0};
		}
		file->references++;
		s->file = file;
		return;
	}
	must(0, "room");
}

static struct slot *any_open(void)
{
	for (int i = random() % MOST, n = 0; n < MOST; n++, i = (i + 1) % MOST)
		if (slots[i].file)
			return &slots[i];
	return NULL;
}

static int free_fd(void)
{
	int fd;

	do
		fd = 100 + random() % 800;
	while (fcntl(fd, F_GETFD) >= 0);
	return fd;
}

static void make(void)
{
	struct slot *s = any_open();
	int fd = free_fd();
	long long from = now();
	int two[2];

	switch (random() % 8) {
	case 0:
		made(syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY), "openat", from, NULL);
		break;
	case 1:
		made(syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0), "socket", from, NULL);
		break;
	case 2:
		must(!syscall(SYS_pipe2, two, 0), "pipe2");
		made(two[0], "pipe2", from, NULL);
		made(two[1], "pipe2", from, NULL);
		break;
	case 3:
		made(syscall(SYS_memfd_create, "a", 0), "memfd_create", from, NULL);
		break;
	case 4:
		made(syscall(SYS_eventfd2, 0, 0), "eventfd2", from, NULL);
		break;
	case 5:
		if (s)
			made(syscall(SYS_dup, s->fd), "dup", from, s->file);
		break;
	case 6:
		if (s)
			made(syscall(SYS_fcntl, s->fd, F_DUPFD, 0), "fcntl", from, s->file);
		break;
	case 7:
		if (s)
			made(syscall(SYS_dup3, s->fd, fd, 0), "dup3", from, s->file);
	}
}

/* By a process that was started at started, if what it has is inherited. */
static void end(struct slot *s, const struct window *started)
{
	const struct window *since = started ? started : &s->made;
	struct file *f = s->file;
	long long from = now(), to;
	int is_last = f->references == 1 && !started;

	must(!syscall(SYS_close, s->fd), "close");
	to = now();
	printf("{\"syscall\":\"close\",\"pid\":%d,\"fd\":%d,\"made_by\":\"%s\",\"last\":%s,"
	       "\"_by\":\"%d fd %d %s\",\"_lived_from\":%lld,\"_lived_to\":%lld,"
	       "\"_file_from\":%lld,\"_file_to\":%lld}\n",
	       getpid(), s->fd, started ? "inherited" : s->call, is_last ? "true" : "null", f->pid,
	       f->fd, f->call, from - since->to, to - since->from, from - f->opened.to,
	       to - f->opened.from);
	f->references--;
	s->file = NULL;
}

static int count_open(void)
{
	int n = 0;

	for (int i = 0; i < MOST; i++)
		n += !!slots[i].file;
	return n;
}

/* A child that closes what it inherited, and what it makes itself. */
static void be_child(long long from)
{
	struct window started = {from, now()};

	for (int n = 0; n < 4 && count_open(); n++)
		end(any_open(), &started);
	memset(slots, 0, sizeof(slots));
	for (int n = 0; n < 4; n++)
		made(syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY), "openat", now(), NULL);
	while (count_open())
		end(any_open(), NULL);
	fflush(stdout);
	_exit(0);
}

void lives(int seed, int rounds)
{
	setvbuf(stdout, NULL, _IOFBF, 1 << 20);
	srandom(seed);
	for (int i = 0; i < rounds; i++) {
		long long from;

		if (count_open() > MOST / 2 || (count_open() && random() % 2))
			end(any_open(), NULL);
		else
			make();
		if (i % 100)
			continue;
		fflush(stdout);
		from = now();
		if (!fork())
			be_child(from);
		wait(NULL);
	}
	while (count_open())
		end(any_open(), NULL);
}
