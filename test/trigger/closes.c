// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors
/* What is closed: by close_range, by dup2 and dup3, and files without a path. */
#include "trigger.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <linux/close_range.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* Here and from here on, nothing is open. */
#define FIRST 600
#define MANY 2000

static char dir[200], file[300];

static void move(int fd, int to)
{
	/* Over what is not open, so this closes nothing and is not shown. */
	must(syscall(SYS_dup3, fd, to, 0) == to, "trigger: move a file descriptor");
}

static int say_open(const char *path)
{
	int fd = say("openat", raw(syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT, 0600)),
		     ",\"path\":\"%s\",\"file\":\"%s\"", path, path);

	must(fd >= 0, "trigger: open a file");
	return fd;
}

/* A file, an end of a pipe, a socket and a directory. */
static void open_four(int first)
{
	int fds[4], pipe_end[2];

	must(!pipe(pipe_end), "trigger: make a pipe");
	fds[0] = say_open(file);
	fds[1] = pipe_end[0];
	fds[2] = socket(AF_UNIX, SOCK_STREAM, 0);
	fds[3] = say("openat", raw(syscall(SYS_openat, AT_FDCWD, dir, O_RDONLY | O_DIRECTORY)),
		     ",\"path\":\"%s\",\"file\":\"%s\"", dir, dir);
	for (int i = 0; i < 4; i++) {
		move(fds[i], first + i);
		SAY_CLOSE(fds[i], "");
	}
	SAY_CLOSE(pipe_end[1], ",\"type\":\"pipe\"");
}

static void say_range(int first, int last, unsigned int flags, const char *more)
{
	say("close_range", raw(syscall(SYS_close_range, first, last, flags)),
	    ",\"fd\":%d,\"last_fd\":%d%s", first, last, more);
}

static void close_four(void)
{
	char more[1000];

	open_four(FIRST);
	/* Before 5.11 there is no such flag, and the call fails. */
	say_range(FIRST, FIRST + 9, CLOSE_RANGE_CLOEXEC, ",\"closed\":null");
	snprintf(more, sizeof(more),
		 ",\"closed_count\":4,\"closed\":[{\"fd\":%d,\"path\":\"%s\",\"type\":\"regular\"},"
		 "{\"fd\":%d,\"path\":null,\"type\":\"pipe\"},{\"fd\":%d,\"type\":\"socket\"},"
		 "{\"fd\":%d,\"path\":\"%s\",\"type\":\"directory\"}]",
		 FIRST, file, FIRST + 1, FIRST + 2, FIRST + 3, dir);
	say_range(FIRST, FIRST + 9, 0, more);
	say_range(FIRST, FIRST + 9, 0, ",\"closed\":null");
	say_range(FIRST + 1, FIRST, 0, ",\"closed\":null,\"error\":\"EINVAL\"");
}

/* Every other one is open, so that what is not is left out. */
static void close_many(int number)
{
	int fd = say_open(file);

	for (int i = 0; i < number; i++)
		move(fd, FIRST + 2 * i);
	fd = SAY_CLOSE(fd, ",\"path\":\"%s\"", file);
	printf("{\"syscall\":\"close_range\",\"pid\":%d,\"tid\":%d,\"ret\":%ld,\"error\":null,"
	       "\"fd\":%d,\"closed_count\":%d,\"_may_end\":true,\"closed\":[",
	       getpid(), getpid(), raw(syscall(SYS_close_range, FIRST, FIRST + 2 * MANY, 0)), FIRST,
	       number);
	for (int i = 0; i < number; i++)
		printf("%s{\"fd\":%d,\"path\":\"%s\",\"type\":\"regular\"}", i ? "," : "",
		       FIRST + 2 * i, file);
	printf("]}\n");
}

/* Only what replaces an open file is shown. */
static void replace(void)
{
	int fd, fds[2];

	open_four(FIRST);
	must(!pipe(fds), "trigger: make a pipe");
	fd = fds[1];
#ifdef SYS_dup2
	must(syscall(SYS_dup2, fd, FIRST + 9) == FIRST + 9, "trigger: dup2 over nothing");
	must(syscall(SYS_dup2, FIRST, FIRST) == FIRST, "trigger: dup2 onto itself");
	must(syscall(SYS_dup2, -1, FIRST) < 0, "trigger: dup2 of nothing");
	must(syscall(SYS_dup2, fd, 1 << 30) < 0, "trigger: dup2 to no number");
	say("dup2", raw(syscall(SYS_dup2, fd, FIRST)),
	    ",\"fd\":%d,\"path\":\"%s\",\"type\":\"regular\"", FIRST, file);
#endif
	must(syscall(SYS_dup3, FIRST, FIRST, 0) < 0, "trigger: dup3 onto itself");
	must(syscall(SYS_dup3, fd, FIRST + 1, 1) < 0, "trigger: dup3 with a flag");
	say("dup3", raw(syscall(SYS_dup3, fd, FIRST + 1, O_CLOEXEC)),
	    ",\"fd\":%d,\"type\":\"pipe\",\"path\":null", FIRST + 1);
	say("dup3", raw(syscall(SYS_dup3, fd, FIRST + 2, 0)),
	    ",\"fd\":%d,\"type\":\"socket\",\"family\":\"AF_UNIX\",\"path\":null", FIRST + 2);
	say("dup3", raw(syscall(SYS_dup3, fd, FIRST + 3, 0)),
	    ",\"fd\":%d,\"type\":\"directory\",\"path\":\"%s\"", FIRST + 3, dir);
	must(!syscall(SYS_close_range, FIRST, FIRST + 9, 0), "trigger: close the rest");
	say("close_range", 0, ",\"fd\":%d", FIRST);
	SAY_CLOSE(fds[0], ",\"type\":\"pipe\"");
	SAY_CLOSE(fds[1], ",\"type\":\"pipe\"");
}

static void namespaces(void)
{
	static const char *const kinds[] = {"mnt", "net", "pid", "uts"};
	char path[100], name[100];
	ssize_t len;
	int fd;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		snprintf(path, sizeof(path), "/proc/self/ns/%s", kinds[i]);
		must((len = readlink(path, name, sizeof(name) - 1)) > 0, "trigger: read a link");
		name[len] = '\0';
		fd = say("openat", raw(syscall(SYS_openat, AT_FDCWD, path, O_RDONLY)),
			 ",\"path\":\"%s\",\"_not_file\":\"/\"", path);
		SAY_CLOSE(fd, ",\"path\":\"%s\",\"type\":\"namespace\"", name);
	}
}

/* As ip netns does: the file has a path of its own. */
static void bound_namespace(void)
{
	char path[300];
	pid_t child;
	int status, fd;

	snprintf(path, sizeof(path), "%s/bound", dir);
	fd = say_open(path);
	SAY_CLOSE(fd, ",\"path\":\"%s\"", path);
	fflush(stdout);
	must((child = fork()) >= 0, "trigger: start a child");
	if (!child) {
		must(!unshare(CLONE_NEWNS) && !mount("none", "/", 0, MS_REC | MS_PRIVATE, 0) &&
			     !mount("/proc/self/ns/net", path, 0, MS_BIND, 0),
		     "trigger: bind a namespace");
		fd = say("openat", raw(syscall(SYS_openat, AT_FDCWD, path, O_RDONLY)),
			 ",\"path\":\"%s\",\"file\":\"%s\"", path, path);
		SAY_CLOSE(fd, ",\"path\":\"%s\"", path);
		fflush(stdout);
		_exit(0);
	}
	must(waitpid(child, &status, 0) == child && !status, "trigger: run a child");
}

static void without_path(void)
{
	int fd = syscall(SYS_pidfd_open, getpid(), 0);

	if (fd >= 0)
		SAY_CLOSE(fd, ",\"type\":\"pidfd\",\"path\":null");
	else
		skip("pidfd", strerror(errno));
#ifdef SYS_memfd_secret
	fd = syscall(SYS_memfd_secret, 0);
	if (fd >= 0)
		SAY_CLOSE(fd, ",\"type\":\"secretmem\",\"path\":null");
	else
		skip("memfd_secret", strerror(errno));
#endif
}

void closed_files(const char *folder)
{
	struct rlimit limit = {FIRST + 2 * MANY + 100, FIRST + 2 * MANY + 100};

	snprintf(dir, sizeof(dir), "%s", folder);
	snprintf(file, sizeof(file), "%s/closed", dir);
	must(!setrlimit(RLIMIT_NOFILE, &limit), "trigger: raise the limit of files");
	close_four();
	close_many(40);
	close_many(MANY);
	replace();
	namespaces();
	bound_namespace();
	without_path();
}
