// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors
/* What is closed by no call: by exit, by exec, and by calls that close more than one file. */
#include "trigger.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define FIRST 600 /* here and from here on, nothing is open */
#define ROWS 128  /* of one table; the others are counted */
#define MANY 2000
#define FAR 100000 /* as far as it may be, some are open */

static const char *dir;
static int last; /* no fd above it is open */

/* A file by this name, as this fd. */
static void open_as(int as, const char *name, int flags)
{
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = say("openat", raw(syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT, 0600)),
		 ",\"path\":\"%s\",\"file\":\"%s\"", path, path);
	/* Over what is not open, so this closes nothing and is not shown. */
	must(syscall(SYS_dup3, fd, as, flags) == as, "trigger: move a file descriptor");
	SAY_CLOSE(fd, ",\"path\":\"%s\"", path);
}

/* What an fd is, as a row has it. */
static const char *what(int fd)
{
	static char text[400];
	char link[100], name[300];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	must((len = readlink(link, name, sizeof(name) - 1)) > 0, "trigger: read a link");
	name[len] = '\0';
	if (name[0] == '/' && !strstr(name, " (deleted)"))
		snprintf(text, sizeof(text), ",\"path\":\"%s\"", name);
	else if (!strncmp(name, "pipe:", 5))
		return ",\"path\":null,\"type\":\"pipe\"";
	else if (!strncmp(name, "socket:", 7))
		return ",\"path\":null,\"type\":\"socket\"";
	else
		return "";
	return text;
}

/*
 * Says that all that is open is closed, or with FD_CLOEXEC. With thread of which one the
 * rows are, without it is not known.
 */
static void say_implied(const char *by, int cloexec_only, int thread)
{
	int rows = 0, more = 0;
	char whose[100] = "";

	if (thread)
		snprintf(whose, sizeof(whose), ",\"tid\":%ld", syscall(SYS_gettid));
	for (int fd = 0; fd <= last; fd++) {
		int flags = fcntl(fd, F_GETFD);

		if (flags < 0 || (cloexec_only && !(flags & FD_CLOEXEC)))
			continue;
		if (rows == ROWS) {
			more++;
			continue;
		}
		rows++;
		printf("{\"syscall\":\"close\",\"pid\":%d%s,\"ppid\":%d,\"ret\":0,\"fd\":%d,"
		       "\"by\":\"%s\",\"_no_latency\":true%s%s}\n",
		       getpid(), whose, getppid(), fd, by, what(fd),
		       thread ? "" : ",\"_any_order\":true");
	}
	if (more)
		printf("{\"syscall\":\"close\",\"pid\":%d%s,\"ret\":0,\"fd\":null,\"by\":\"%s\","
		       "\"closed_count\":%d,\"_no_latency\":true%s}\n",
		       getpid(), whose, by, more, thread ? "" : ",\"_any_order\":true");
	fflush(stdout);
}

/* Runs a part in a process of its own, so that its end is one. */
static void in_child(void (*run)(void))
{
	pid_t child;
	int status;

	fflush(stdout);
	must((child = fork()) >= 0, "trigger: start a child");
	if (!child) {
		run();
		_exit(0);
	}
	must(waitpid(child, &status, 0) == child && !status, "trigger: run a child");
}

static void exits(void)
{
	int fds[2];

	open_as(FIRST, "exits", 0);
	open_as(FIRST + 1, "exits too", O_CLOEXEC);
	must(!pipe(fds) && socket(AF_UNIX, SOCK_STREAM, 0) >= 0,
	     "trigger: make a pipe and a socket");
	say_implied("exit", 0, 1);
}

static void is_killed(void)
{
	pid_t child;
	int status;

	fflush(stdout);
	must((child = fork()) >= 0, "trigger: start a child");
	if (!child) {
		open_as(FIRST, "killed", 0);
		say_implied("exit", 0, 1);
		raise(SIGKILL);
	}
	must(waitpid(child, &status, 0) == child && WTERMSIG(status) == SIGKILL,
	     "trigger: kill a child");
}

#define THREADS 8

static pthread_barrier_t barrier;

static void *end_with_others(void *unused)
{
	pthread_barrier_wait(&barrier);
	return unused;
}

/* All threads end at once: their table is closed once. */
static void threads_end(void)
{
	pthread_t thread;

	open_as(FIRST, "of threads", 0);
	pthread_barrier_init(&barrier, 0, THREADS + 1);
	for (int i = 0; i < THREADS; i++)
		must(!pthread_create(&thread, 0, end_with_others, 0), "trigger: start a thread");
	say_implied("exit", 0, 0);
	pthread_barrier_wait(&barrier);
	syscall(SYS_exit, 0);
}

static void *wait_forever(void *unused)
{
	for (;;)
		pause();
	return unused;
}

static void *end_group(void *unused)
{
	pthread_barrier_wait(&barrier);
	_exit(0);
	return unused;
}

/* One thread ends the others. */
static void group_ends(void)
{
	pthread_t thread;

	open_as(FIRST, "of a group", 0);
	pthread_barrier_init(&barrier, 0, 2);
	for (int i = 0; i < THREADS; i++)
		must(!pthread_create(&thread, 0, i ? wait_forever : end_group, 0),
		     "trigger: start a thread");
	say_implied("exit", 0, 0);
	pthread_barrier_wait(&barrier);
	wait_forever(0);
}

static char stack[64 << 10] __attribute__((aligned(16)));

static int close_nothing(void *unused)
{
	(void)unused;
	return 0;
}

static int outlive(void *parent)
{
	must(kill(*(pid_t *)parent, SIGKILL) == 0, "trigger: end the parent");
	while (getppid() == *(pid_t *)parent)
		usleep(1000);
	say_implied("exit", 0, 1);
	return 0;
}

/* Processes that share a table: only the last one closes it. */
static void share(void)
{
	pid_t child;
	int status;

	open_as(FIRST, "shared", 0);
	fflush(stdout);
	child = clone(close_nothing, stack + sizeof(stack), CLONE_FILES | SIGCHLD, 0);
	must(child > 0 && waitpid(child, &status, 0) == child && !status, "trigger: share a table");
	say_implied("exit", 0, 1);
}

static void shared_by_who_ends(void)
{
	pid_t self = getpid();

	open_as(FIRST, "inherited", 0);
	fflush(stdout);
	must(clone(outlive, stack + sizeof(stack), CLONE_FILES | SIGCHLD, &self) > 0,
	     "trigger: share a table");
	wait_forever(0);
}

static void is_outlived(void)
{
	int fds[2], status;
	pid_t child;
	char byte;

	/* Who outlives it has the other end as long as it lives. */
	must(!pipe(fds), "trigger: make a pipe");
	fflush(stdout);
	must((child = fork()) >= 0, "trigger: start a child");
	if (!child)
		shared_by_who_ends();
	SAY_CLOSE(fds[1], ",\"type\":\"pipe\"");
	must(waitpid(child, &status, 0) == child && WTERMSIG(status) == SIGKILL,
	     "trigger: end a child");
	must(!read(fds[0], &byte, 1), "trigger: wait for a process");
	SAY_CLOSE(fds[0], ",\"type\":\"pipe\"");
}

static char program[300];

/* What stays open is closed by the program that is executed, when it exits. */
static void executes(void)
{
	open_as(FIRST, "stays open", 0);
	open_as(FIRST + 1, "is closed", O_CLOEXEC);
	open_as(FIRST + 2, "is closed too", O_CLOEXEC);
	execl("/nonexistent", "nothing", NULL);
	say_implied("exec", 1, 1);
	execl(program, program, "ends-exit", NULL);
	must(0, "trigger: execute this program");
}

static void closes_range(void)
{
	char more[200];

	for (int i = 0; i < 3; i++) {
		open_as(FIRST + 2 * i, "in a range", 0);
	}
	for (int i = 0; i < 3; i++)
		printf("{\"syscall\":\"close\",\"pid\":%d,\"tid\":%d,\"ret\":0,\"fd\":%d,"
		       "\"by\":\"close_range\",\"_no_latency\":true,\"type\":\"regular\","
		       "\"path\":\"%s/in a range\"}\n",
		       getpid(), getpid(), FIRST + 2 * i, dir);
	snprintf(more, sizeof(more), ",\"fd\":%d,\"last_fd\":%d,\"closed_count\":3,\"by\":null",
		 FIRST, FIRST + 8);
	say("close_range", raw(syscall(SYS_close_range, FIRST, FIRST + 8, 0)), more);
	say("close_range", raw(syscall(SYS_close_range, FIRST + 1, FIRST, 0)), ",\"by\":null");
	say_implied("exit", 0, 1);
}

static void replaces(void)
{
	open_as(FIRST, "replaced", 0);
	open_as(FIRST + 1, "copied", 0);
	say("dup3", raw(syscall(SYS_dup3, FIRST + 1, FIRST, 0)),
	    ",\"fd\":%d,\"path\":\"%s/replaced\",\"by\":\"dup3\"", FIRST, dir);
	say_implied("exit", 0, 1);
}

static void copy_to(int fd)
{
	must(syscall(SYS_dup3, FIRST, fd, fd % 2 ? O_CLOEXEC : 0) == fd,
	     "trigger: copy a file descriptor");
}

/* One row says how many there were beyond those that have one. */
static void has_many(void)
{
	struct rlimit limit = {FAR, FAR};

	/* That root may raise it as far is not certain. */
	while (setrlimit(RLIMIT_NOFILE, &limit))
		limit.rlim_cur = limit.rlim_max -= 1000;
	last = limit.rlim_cur - 1;
	open_as(FIRST, "many", 0);
	for (int i = 1; i < MANY; i++)
		copy_to(FIRST + i);
	for (int fd = last; fd > FIRST + MANY; fd -= 7777)
		copy_to(fd);
	say_implied("exit", 0, 1);
}

/* The end of what a child executed. */
void exits_at_once(void)
{
	last = FIRST + 100;
	say_implied("exit", 0, 1);
}

void ends(const char *folder)
{
	ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);

	must(len > 0, "trigger: read a link");
	dir = folder;
	last = FIRST + 100;
	in_child(exits);
	is_killed();
	in_child(threads_end);
	for (int i = 0; i < 20; i++)
		in_child(group_ends);
	in_child(share);
	is_outlived();
	in_child(executes);
	in_child(closes_range);
	in_child(replaces);
	in_child(has_many);
	say_implied("exit", 0, 1);
}
