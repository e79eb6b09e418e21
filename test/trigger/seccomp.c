// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors
/* Calls that seccomp does not let reach their handlers: see seccomp(2). */
#include "trigger.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* The four calls; openat2 is let through. */
static void filter_calls(uint32_t action)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_connect, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_accept4, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, action),
	};
	struct sock_fprog program = {sizeof(filter) / sizeof(*filter), filter};

	must(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
		     !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program),
	     "trigger: install a seccomp filter");
}

#define CALLS 4

static const char *const names[CALLS] = {"openat", "close", "connect", "accept4"};

static long filtered_call(int which)
{
	switch (which) {
	case 0:
		return raw(syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY));
	case 1:
		return raw(syscall(SYS_close, 77));
	case 2:
		return raw(syscall(SYS_connect, 77, 0, 0));
	default:
		return raw(syscall(SYS_accept4, 77, 0, 0, 0));
	}
}

/* That the program is traced, before and after. */
static void open_shown(void)
{
	uint64_t how[3] = {O_RDONLY};

	SAY(openat2, ",\"path\":\"/dev/null\"", AT_FDCWD, "/dev/null", how, sizeof(how));
	fflush(stdout);
}

static volatile int trapped;

static void on_sigsys(int signal)
{
	(void)signal;
	trapped++;
}

static void trap(void)
{
	struct sigaction action = {.sa_handler = on_sigsys};

	must(!sigaction(SIGSYS, &action, 0), "trigger: set a handler");
	filter_calls(SECCOMP_RET_TRAP);
	for (int i = 0; i < CALLS; i++) {
		filtered_call(i);
		must(trapped == i + 1, "trigger: a call was not trapped");
	}
}

static void refuse(void)
{
	filter_calls(SECCOMP_RET_ERRNO | EPERM);
	for (int i = 0; i < CALLS; i++)
		must(say(names[i], filtered_call(i), ",\"_refused\":true") == -EPERM,
		     "trigger: a call was not refused");
}

static int fatal;

static void kill_process(void)
{
	filter_calls(SECCOMP_RET_KILL_PROCESS);
	filtered_call(fatal);
	must(0, "trigger: a call did not kill the process");
}

static volatile int survived;

static void *kill_self(void *unused)
{
	filter_calls(SECCOMP_RET_KILL_THREAD);
	filtered_call(fatal);
	survived = 1;
	return unused;
}

static void kill_thread(void)
{
	pthread_t thread;

	must(!pthread_create(&thread, 0, kill_self, 0) && !pthread_join(thread, 0),
	     "trigger: run a thread");
	must(!survived, "trigger: a call did not kill the thread");
}

/* A filter stays for life, so a child gets it. */
static void in_child(void (*calls)(void), int ends_by)
{
	pid_t child;
	int status;

	fflush(stdout);
	must((child = fork()) >= 0, "trigger: start a child");
	if (!child) {
		/* A process that is killed so leaves no core. */
		prctl(PR_SET_DUMPABLE, 0);
		open_shown();
		calls();
		open_shown();
		_exit(0);
	}
	must(waitpid(child, &status, 0) == child, "trigger: wait for the child");
	must(ends_by ? WIFSIGNALED(status) && WTERMSIG(status) == ends_by : !status,
	     "trigger: the end of the child");
}

void filtered_by_seccomp(void)
{
	in_child(trap, 0);
	in_child(refuse, 0);
	for (fatal = 0; fatal < CALLS; fatal++) {
		in_child(kill_process, SIGSYS);
		in_child(kill_thread, 0);
	}
}
