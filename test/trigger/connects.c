// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors
/* Connections that are made later than connect returns, and by a send. */
#include "trigger.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#define PATIENCE_MS 60000

/* A listener, and a client whose connection is not decided when connect returns. */
struct pending {
	int server, client, port;
	int64_t began, undecided;
};

static struct sockaddr_in loopback(int port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				    .sin_port = htons(port)};
}

static int listen_with(int backlog, int *port)
{
	struct sockaddr_in addr = loopback(0);
	socklen_t len = sizeof(addr);
	int fd = listen_on(&addr, len);

	must(!listen(fd, backlog) && !getsockname(fd, (void *)&addr, &len), "trigger: listen");
	*port = ntohs(addr.sin_port);
	return fd;
}

static int say_connect(int fd, int port)
{
	struct sockaddr_in addr = loopback(port);

	return say("connect", do_connect(fd, &addr, sizeof(addr)),
		   ",\"fd\":%d,\"addr\":\"127.0.0.1\",\"port\":%d,\"protocol\":\"tcp\","
		   "\"outcome\":null,\"fast_open\":null",
		   fd, port);
}

static void say_outcome(int fd, int port, int error, int64_t at_least)
{
	say("connect", -error,
	    ",\"outcome\":true,\"fd\":%d,\"addr\":\"127.0.0.1\",\"port\":%d,\"_any_order\":true,"
	    "\"_latency_at_least\":%lld",
	    fd, port, (long long)at_least);
}

/*
 * The listener has a connection that nobody accepts and no room for another, so
 * that it answers the next one when there is room, and that asks again after 1 s.
 */
static struct pending start_pending(void)
{
	struct pending p;
	int first = socket(AF_INET, SOCK_STREAM, 0);

	p.server = listen_with(0, &p.port);
	must(!say_connect(first, p.port), "trigger: fill the listener");
	p.client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	p.began = now();
	must(say_connect(p.client, p.port) == -EINPROGRESS, "trigger: connect without blocking");
	p.undecided = now();
	return p;
}

/* Waits until it is decided; the socket then says how. */
static int await_outcome(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
	socklen_t len = sizeof(int);
	int error;

	must(poll(&poll_fd, 1, PATIENCE_MS) == 1, "trigger: a connection is not decided");
	must(!getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), "trigger: ask how it ended");
	return error;
}

/* Decided when connect returns, although it says EINPROGRESS. */
static void at_once(void)
{
	int port, server = listen_with(8, &port);
	int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	long ret = say_connect(client, port);

	must(ret == -EINPROGRESS || !ret, "trigger: connect without blocking");
	must(!await_outcome(client), "trigger: a connection on this machine");
	if (ret)
		say_outcome(client, port, 0, 0);
	/* The first connect after it says so, and the next that it is over. */
	say_connect(client, port);
	say_connect(client, port);
	SAY_CLOSE(client, ",\"port\":%d", port);
	SAY_CLOSE(server, ",\"local_port\":%d", port);

	client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	ret = say_connect(client, port);
	if (ret == -EINPROGRESS) {
		must(await_outcome(client) == ECONNREFUSED, "trigger: nobody listens");
		say_outcome(client, port, ECONNREFUSED, 0);
	}
	SAY_CLOSE(client, ",\"type\":\"socket\"");
}

static void later(void)
{
	struct pending accepted = start_pending(), refused = start_pending(),
		       late = start_pending(), cancelled = start_pending();
	int milliseconds = 500;
	int64_t until;
	int fd;

	must(!setsockopt(late.client, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds,
			 sizeof(milliseconds)),
	     "trigger: set a time limit");
	say_connect(accepted.client, accepted.port); /* EALREADY */

	until = now();
	SAY_CLOSE(cancelled.client, ",\"type\":\"socket\"");
	say_outcome(cancelled.client, cancelled.port, ECANCELED, until - cancelled.undecided);

	until = now();
	fd = do_accept(accepted.server);
	say("accept", fd, ",\"fd\":%d", accepted.server);
	SAY_CLOSE(refused.server, ",\"local_port\":%d", refused.port);

	must(!await_outcome(accepted.client), "trigger: the second connection");
	say_outcome(accepted.client, accepted.port, 0, until - accepted.undecided);
	must(await_outcome(refused.client) == ECONNREFUSED, "trigger: nobody listens any more");
	say_outcome(refused.client, refused.port, ECONNREFUSED, until - refused.undecided);
	must(await_outcome(late.client) == ETIMEDOUT, "trigger: nobody answers");
	say_outcome(late.client, late.port, ETIMEDOUT, 400000000);

	SAY_CLOSE(accepted.client, ",\"port\":%d", accepted.port);
	SAY_CLOSE(late.client, ",\"type\":\"socket\"");
	SAY_CLOSE(refused.client, ",\"type\":\"socket\"");
}

static void fast_open(void)
{
	int port, server = listen_with(8, &port);
	struct sockaddr_in addr = loopback(port);
	int client, fd;

	/* The first one asks for a cookie, if the kernel is set so. */
	for (int i = 0; i < 2; i++) {
		client = socket(AF_INET, SOCK_STREAM, 0);
		if (sendto(client, "x", 1, MSG_FASTOPEN, (void *)&addr, sizeof(addr)) != 1) {
			skip("MSG_FASTOPEN", errno == EOPNOTSUPP ? "not enabled" : "failed");
			break;
		}
		say("connect", NO_RESULT,
		    ",\"fast_open\":true,\"fd\":%d,\"addr\":\"127.0.0.1\",\"port\":%d,"
		    "\"_any_order\":true",
		    client, port);
		fd = do_accept(server);
		say("accept", fd, ",\"fd\":%d,\"fast_open\":null", server);
		SAY_CLOSE(client, ",\"port\":%d", port);
		SAY_CLOSE(fd, ",\"local_port\":%d", port);
	}
	SAY_CLOSE(server, ",\"local_port\":%d", port);
}

void outcomes(void)
{
	at_once();
	later();
	fast_open();
}
