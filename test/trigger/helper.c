// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors
/* Who does what a call waits for, and knows that it waits. */
#include "trigger.h"

#include <ctype.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

/* How long something may take that must happen at once, on a slow machine. */
#define PATIENCE 60000000000LL

int64_t now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec * 1000000000LL + at.tv_nsec;
}

void *shared_memory(size_t size)
{
	void *memory = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	must(memory != MAP_FAILED, "trigger: map shared memory");
	return memory;
}

void be_helper(void)
{
	prctl(PR_SET_NAME, HELPER_COMM);
}

pid_t start_helper(void (*help)(void))
{
	pid_t helper;

	fflush(stdout);
	must((helper = fork()) >= 0, "trigger: start a helper");
	if (!helper) {
		be_helper();
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		help();
		_exit(0);
	}
	return helper;
}

void join_helper(pid_t helper)
{
	int status;

	while (waitpid(helper, &status, 0) < 0)
		must(errno == EINTR, "trigger: wait for the helper");
	must(!status, "trigger: the helper failed");
}

/* What a file of a thread's folder in /proc has; empty if there is no such thread. */
static void read_of_thread(pid_t pid, pid_t tid, const char *name, char *text, size_t size)
{
	char path[100];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, tid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? 0 : read(fd, text, size - 1);
	text[len < 0 ? 0 : len] = '\0';
	if (fd >= 0)
		close(fd);
}

/* The letter of proc(5), R for one that runs, 0 for one that is gone. */
static char state_of(pid_t pid, pid_t tid)
{
	char text[500], *after;

	read_of_thread(pid, tid, "stat", text, sizeof(text));
	after = strrchr(text, ')');
	return after && after[1] ? after[2] : 0;
}

static void give_up_after(int64_t since, const char *what, pid_t tid)
{
	if (now() - since > PATIENCE) {
		fprintf(stderr, "trigger: thread %d %s\n", tid, what);
		exit(1);
	}
	usleep(200);
}

/* Waits until a thread sleeps in the syscall of this number. */
void await_blocked(pid_t pid, pid_t tid, long number)
{
	int64_t since = now();
	char text[200], *end;

	for (;;) {
		if (state_of(pid, tid) == 'S') {
			read_of_thread(pid, tid, "syscall", text, sizeof(text));
			if (strtol(text, &end, 10) == number && end != text)
				return;
		}
		give_up_after(since, "does not wait in its call", tid);
	}
}

void await_state(pid_t pid, pid_t tid, char state)
{
	int64_t since = now();

	/* A tracer's stop is t, and T to others. */
	while (toupper(state_of(pid, tid)) != state)
		give_up_after(since, "does not get into the state", tid);
}
