// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors
/* Calls that wait, and are interrupted. */
#include "trigger.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define HANDLED_MAX 4

/* A call that waits until the helper grants what it waits for. */
struct waiting {
	const char *name;
	long number; /* by which the helper knows that it waits */
	long (*call)(void);
	void (*grant)(void);
	char about[300]; /* what its row has */
};

/* How it is interrupted. */
struct interruption {
	const char *name;
	int flags;   /* of the handler */
	int signals; /* how many, each when the call waits again */
	int stops;
	void (*handle)(void); /* done in the handler, too */
	bool granted;	      /* at last */
};

/* The program and its helper both see this. */
static struct {
	volatile int handled;
	volatile int64_t waited_since, waited_until;
} * seen;

static pid_t subject;
static const struct waiting *what;
static const struct interruption *how;

static int server, other_server, unix_server, unix_clients[2];
static struct sockaddr_in server_addr, other_addr;
static struct sockaddr_un unix_addr;
static char fifo[200];

/* What the handler did, in order. It must not print. */
static struct {
	const char *name;
	long ret;
	int fd;
} in_handler[2 * HANDLED_MAX];
static int did_in_handler;

static void handler_did(const char *name, long ret, int fd)
{
	in_handler[did_in_handler].name = name;
	in_handler[did_in_handler].fd = fd;
	in_handler[did_in_handler++].ret = ret;
}

static void open_and_close(void)
{
	long fd = raw(syscall(SYS_openat, AT_FDCWD, "/dev/full", O_RDONLY));

	handler_did("openat", fd, -1);
	handler_did("close", raw(syscall(SYS_close, fd)), fd);
}

/* The same call as the one that waits, of another listener. */
static void accept_another(void)
{
	handler_did("accept4", raw(syscall(SYS_accept4, other_server, 0, 0, 0)), other_server);
}

static sigjmp_buf away;

static void leave(void)
{
	siglongjmp(away, 1);
}

static void on_signal(int signal)
{
	(void)signal;
	if (how->handle && how->handle != leave)
		how->handle();
	seen->handled++;
	if (how->handle == leave)
		leave();
}

static long accept4_call(void)
{
	return raw(syscall(SYS_accept4, server, 0, 0, 0));
}

static long accept_call(void)
{
	return do_accept(server);
}

static void grant_accept(void)
{
	int client = socket(AF_INET, SOCK_STREAM, 0);

	must(!connect(client, (void *)&server_addr, sizeof(server_addr)),
	     "trigger: connect the helper");
}

/* So that other_server has what to accept at once. */
static void connect_to_other(void)
{
	int client = socket(AF_INET, SOCK_STREAM, 0);

	say("connect", raw(syscall(SYS_connect, client, &other_addr, sizeof(other_addr))),
	    ",\"fd\":%d,\"port\":%d", client, ntohs(other_addr.sin_port));
}

static long open_call(void)
{
	return raw(syscall(SYS_openat, AT_FDCWD, fifo, O_RDONLY));
}

static void grant_open(void)
{
	must(open(fifo, O_WRONLY) >= 0, "trigger: open the FIFO for writing");
}

static long connect_call(void)
{
	return raw(syscall(SYS_connect, unix_clients[1], &unix_addr, sizeof(unix_addr)));
}

static void grant_connect(void)
{
	must(accept(unix_server, 0, 0) >= 0, "trigger: accept in the helper");
}

/* The helper's part. */
static void interrupt(void)
{
	for (int i = 0; i < how->signals; i++) {
		int handled = seen->handled;

		await_blocked(subject, subject, what->number);
		if (!i)
			seen->waited_since = now();
		seen->waited_until = now();
		must(!kill(subject, SIGUSR1), "trigger: send a signal");
		while (seen->handled == handled)
			usleep(100);
	}
	for (int i = 0; i < how->stops; i++) {
		await_blocked(subject, subject, what->number);
		if (!i)
			seen->waited_since = now();
		must(!kill(subject, SIGSTOP), "trigger: stop the program");
		await_state(subject, subject, 'T');
		must(!kill(subject, SIGCONT), "trigger: let the program go on");
	}
	if (!how->granted)
		return;
	await_blocked(subject, subject, what->number);
	seen->waited_until = now();
	what->grant();
}

static void say_handled(void)
{
	for (int i = 0; i < did_in_handler; i++) {
		if (!strcmp(in_handler[i].name, "openat"))
			say("openat", in_handler[i].ret, ",\"path\":\"/dev/full\"");
		else if (!strcmp(in_handler[i].name, "close"))
			say("close", in_handler[i].ret, ",\"path\":\"/dev/full\",\"fd\":%d",
			    in_handler[i].fd);
		else
			say(in_handler[i].name, in_handler[i].ret,
			    ",\"fd\":%d,\"family\":\"AF_INET\"", in_handler[i].fd);
	}
	did_in_handler = 0;
}

/* Sets the handler, and makes room for what the call waits for. */
static void prepare(void)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = how->flags};

	must(!sigaction(SIGUSR1, &action, 0), "trigger: set a handler");
	seen->handled = 0;
	seen->waited_since = 0;
}

static void interrupt_once(void)
{
	int64_t began, ended;
	pid_t helper;
	long ret;

	prepare();
	helper = start_helper(interrupt);
	began = now();
	ret = what->call();
	ended = now();
	join_helper(helper);
	must(how->granted ? ret >= 0 : ret == -EINTR, "trigger: a call that was interrupted");
	/* A call that is not made again has ended when the signal is delivered. */
	if (how->granted)
		say_handled();
	say(what->name, ret, "%s,\"_latency_at_least\":%lld,\"_latency_at_most\":%lld", what->about,
	    (long long)(seen->waited_until - seen->waited_since), (long long)(ended - began));
	if (!how->granted)
		say_handled();
	if (ret > 0)
		SAY_CLOSE(ret, "");
}

static int killing_signal;
static int64_t killing_began;

static void kill_subject(void)
{
	await_blocked(subject, subject, what->number);
	seen->waited_since = now();
	/* So that there is a time to compare with. */
	usleep(5000);
	seen->waited_until = now();
	must(!kill(subject, killing_signal), "trigger: kill the program");
}

/* A child is killed in its call, which returns to nobody. */
static void kill_in(int signal)
{
	pid_t helper, own = getpid();
	int status;

	fflush(stdout);
	killing_began = now();
	must((subject = fork()) >= 0, "trigger: start a child");
	if (!subject) {
		what->call();
		_exit(0);
	}
	killing_signal = signal;
	helper = start_helper(kill_subject);
	while (waitpid(subject, &status, 0) < 0)
		must(errno == EINTR, "trigger: wait for the child");
	must(WIFSIGNALED(status) && WTERMSIG(status) == signal, "trigger: the child was killed");
	join_helper(helper);
	say_of((struct caller){subject, subject, own}, what->name, -512,
	       "%s,\"_latency_at_least\":%lld,\"_latency_at_most\":%lld", what->about,
	       (long long)(seen->waited_until - seen->waited_since),
	       (long long)(now() - killing_began));
	subject = own;
}

/*
 * A handler leaves the call by a jump. It is never made again, and has nothing
 * in common with the next call of its kind.
 */
static void jump_out(void)
{
	int64_t began, ended;
	pid_t helper;
	long ret;

	prepare();
	helper = start_helper(interrupt);
	if (!sigsetjmp(away, 1)) {
		what->call();
		must(0, "trigger: a call that was left came back");
	}
	join_helper(helper);
	say(what->name, -512, "%s,\"_any_order\":true", what->about);
	connect_to_other();
	began = now();
	ret = raw(syscall(SYS_accept4, other_server, 0, 0, 0));
	ended = now();
	say("accept4", ret, ",\"fd\":%d,\"error\":null,\"_latency_at_most\":%lld", other_server,
	    (long long)(ended - began));
	SAY_CLOSE(ret, "");
}

static int listen_anywhere(struct sockaddr_in *addr)
{
	socklen_t len = sizeof(*addr);
	int fd;

	*addr = (struct sockaddr_in){.sin_family = AF_INET,
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	fd = listen_on(addr, len);
	must(!getsockname(fd, (void *)addr, &len), "trigger: ask for the port");
	return fd;
}

/* A unix listener that has no room for another connection. */
static void fill_unix_backlog(void)
{
	unix_addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(unix_addr.sun_path, sizeof(unix_addr.sun_path), "full");
	unlink("full");
	unix_server = listen_on(&unix_addr, sizeof(unix_addr));
	must(!listen(unix_server, 0), "trigger: shorten the backlog");
	for (int i = 0; i < 2; i++)
		unix_clients[i] = socket(AF_UNIX, SOCK_STREAM, 0);
	say("connect", raw(syscall(SYS_connect, unix_clients[0], &unix_addr, sizeof(unix_addr))),
	    ",\"fd\":%d,\"addr\":\"full\",\"error\":null", unix_clients[0]);
}

static void empty_unix_backlog(void)
{
	SAY_CLOSE(unix_server, ",\"type\":\"socket\"");
	SAY_CLOSE(unix_clients[0], ",\"type\":\"socket\"");
	SAY_CLOSE(unix_clients[1], ",\"type\":\"socket\"");
}

static const struct interruption interruptions[] = {
	{"restarted", SA_RESTART, 4, 0, 0, true},
	{"interrupted", 0, 1, 0, 0, false},
	{"stopped", 0, 0, 2, 0, true},
	{"nested", SA_RESTART, 2, 0, open_and_close, true},
	{"nested and interrupted", 0, 1, 0, open_and_close, false},
};

static const struct interruption nested_accept = {"nested accept", SA_RESTART, 1, 0,
						  accept_another,  true};
static const struct interruption jump = {"left", SA_RESTART, 1, 0, leave, false};

void interrupted(const char *dir)
{
	static struct waiting calls[] = {
		{.name = "accept4",
		 .number = SYS_accept4,
		 .call = accept4_call,
		 .grant = grant_accept},
		{.name = "accept",
		 .number = ACCEPT_NUMBER,
		 .call = accept_call,
		 .grant = grant_accept},
		{.name = "openat", .number = SYS_openat, .call = open_call, .grant = grant_open},
		{.name = "connect",
		 .number = SYS_connect,
		 .call = connect_call,
		 .grant = grant_connect},
	};
	static const int signals[] = {SIGKILL, SIGTERM};

	seen = shared_memory(sizeof(*seen));
	subject = getpid();
	must(!chdir(dir), "trigger: enter the folder");
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	unlink(fifo);
	must(!mkfifo(fifo, 0600), "trigger: make a FIFO");
	server = listen_anywhere(&server_addr);
	other_server = listen_anywhere(&other_addr);

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		bool accepts = !strncmp(calls[i].name, "accept", 6);
		bool connects = !strcmp(calls[i].name, "connect");

		what = &calls[i];
		for (size_t j = 0; j < sizeof(interruptions) / sizeof(*interruptions); j++) {
			how = &interruptions[j];
			if (connects)
				fill_unix_backlog();
			if (accepts)
				snprintf(calls[i].about, sizeof(calls[i].about), ",\"fd\":%d",
					 server);
			else if (connects)
				snprintf(calls[i].about, sizeof(calls[i].about),
					 ",\"fd\":%d,\"addr\":\"full\"", unix_clients[1]);
			else
				snprintf(calls[i].about, sizeof(calls[i].about),
					 ",\"path\":\"%s\",\"flags\":\"O_RDONLY\"", fifo);
			interrupt_once();
			if (connects)
				empty_unix_backlog();
		}
		if (connects)
			fill_unix_backlog();
		if (connects)
			snprintf(calls[i].about, sizeof(calls[i].about),
				 ",\"fd\":%d,\"addr\":\"full\"", unix_clients[1]);
		for (size_t j = 0; j < sizeof(signals) / sizeof(*signals); j++)
			kill_in(signals[j]);
		if (connects)
			empty_unix_backlog();
	}

	what = &calls[0];
	how = &nested_accept;
	connect_to_other();
	interrupt_once();
	how = &jump;
	jump_out();
	SAY_CLOSE(server, ",\"type\":\"socket\"");
	SAY_CLOSE(other_server, ",\"type\":\"socket\"");
}
