// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors
/* Closes that hang: each waits until its data is sent, to who does not read. */
#include "trigger.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <time.h>

#define THREADS_MAX 1000
#define LINGER_SECONDS 600

static int interval; /* in ms, after which a signal interrupts; 0 is never */
static atomic_int stop, ready;
static atomic_long closes;

struct connection {
	pthread_t thread;
	int server, client, accepted;
	pid_t tid;
};

static struct connection connections[THREADS_MAX];

static void on_signal(int signal)
{
	(void)signal;
}

/* A connection whose other end does not read, with all that it takes to send. */
static void fill(struct connection *c)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct linger linger = {.l_onoff = 1, .l_linger = LINGER_SECONDS};
	static const char data[4096];
	socklen_t len = sizeof(addr);
	int small = 1;

	if (c->server < 0) {
		c->server = socket(AF_INET, SOCK_STREAM, 0);
		must(c->server >= 0 &&
			     !setsockopt(c->server, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)) &&
			     !bind(c->server, (void *)&addr, len) && !listen(c->server, 1),
		     "trigger: listen");
	}
	must(!getsockname(c->server, (void *)&addr, &len), "trigger: ask for the port");
	c->client = socket(AF_INET, SOCK_STREAM, 0);
	must(c->client >= 0 &&
		     !setsockopt(c->client, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) &&
		     !connect(c->client, (void *)&addr, len),
	     "trigger: connect");
	must((c->accepted = accept(c->server, 0, 0)) >= 0, "trigger: accept");
	while (send(c->client, data, sizeof(data), MSG_DONTWAIT) > 0)
		;
	must(errno == EAGAIN &&
		     !setsockopt(c->client, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)),
	     "trigger: fill a connection");
}

static void interrupt_again_and_again(pid_t tid)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
	struct itimerspec every = {.it_interval.tv_nsec = interval * 1000000L,
				   .it_value.tv_nsec = interval * 1000000L};
	timer_t timer;

	event._sigev_un._tid = tid;
	must(!timer_create(CLOCK_MONOTONIC, &event, &timer) && !timer_settime(timer, 0, &every, 0),
	     "trigger: start a timer");
}

static void *hang_in_close(void *arg)
{
	struct connection *c = arg;

	c->tid = syscall(SYS_gettid);
	c->server = -1;
	fill(c);
	if (interval)
		interrupt_again_and_again(c->tid);
	ready++;
	do {
		syscall(SYS_close, c->client);
		closes++;
		if (!interval)
			break;
		close(c->accepted);
		fill(c);
	} while (!stop);
	return 0;
}

/*
 * Says "ready" when every thread is in its close (or makes one after another),
 * and ends with stdin.
 */
void hang(int threads, int milliseconds)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	struct rlimit files;
	pthread_attr_t attr;
	char byte;

	must(threads > 0 && threads <= THREADS_MAX, "trigger: how many threads");
	interval = milliseconds;
	must(!getrlimit(RLIMIT_NOFILE, &files), "trigger: read the limit of files");
	files.rlim_cur = files.rlim_max;
	must(files.rlim_max >= 3u * threads + 10 && !setrlimit(RLIMIT_NOFILE, &files),
	     "trigger: raise the limit of files");
	must(!sigaction(SIGUSR1, &action, 0), "trigger: set a handler");
	/* Others shall go on, however many threads there are. */
	setpriority(PRIO_PROCESS, 0, 19);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	for (int i = 0; i < threads; i++)
		must(!pthread_create(&connections[i].thread, &attr, hang_in_close, &connections[i]),
		     "trigger: start a thread");
	while (ready < threads)
		usleep(1000);
	if (!interval)
		for (int i = 0; i < threads; i++)
			await_blocked(getpid(), connections[i].tid, SYS_close);
	printf("ready\n");
	fflush(stdout);

	must(!read(0, &byte, 1), "trigger: wait for the end of stdin");
	stop = 1;
	/* What is not read is thrown away, and so is what waits to be sent. */
	if (!interval)
		for (int i = 0; i < threads; i++)
			close(connections[i].accepted);
	for (int i = 0; i < threads; i++)
		must(!pthread_join(connections[i].thread, 0), "trigger: wait for a thread");
	printf("closes %ld\n", closes);
}
