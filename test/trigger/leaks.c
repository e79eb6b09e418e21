// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors
/* Programs that leak descriptors, and one that does not. */
#include "trigger.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>

/* A server that ends each connection at once; returns where it listens. */
static struct sockaddr_in start_server(void)
{
	struct sockaddr_in addr = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(addr);
	int listener = listen_on(&addr, len);
	pid_t parent = getpid();

	must(!getsockname(listener, (void *)&addr, &len), "getsockname");
	if (!fork()) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(0);
		for (;;)
			close(accept(listener, 0, 0));
	}
	close(listener);
	return addr;
}

/* Connects, and forgets to close when the other end has. */
__attribute__((noinline)) static void leak_socket(const struct sockaddr_in *server)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char byte;

	must(!connect(fd, (void *)server, sizeof(*server)), "connect");
	must(!read(fd, &byte, 1), "read");
}

__attribute__((noinline)) static void leak_dup(void)
{
	must(dup(0) > 0, "dup");
}

/* Opens one file more each time until there are eight, and one that it closes. */
__attribute__((noinline)) static void leak_nothing(void)
{
	static int pool;

	close(open("/dev/null", O_RDONLY));
	if (pool < 8) {
		pool++;
		must(open("/proc/self/status", O_RDONLY) > 0, "open");
	}
}

/* Leaks one descriptor every some milliseconds until it is ended. */
void leaks(const char *kind, int milliseconds)
{
	struct sockaddr_in server;
	int sockets = !strcmp(kind, "sockets");

	if (sockets)
		server = start_server();
	printf("{\"ready\":true}\n");
	fflush(stdout);
	for (;;) {
		if (sockets)
			leak_socket(&server);
		else if (!strcmp(kind, "dup"))
			leak_dup();
		else
			leak_nothing();
		usleep(1000 * milliseconds);
	}
}
