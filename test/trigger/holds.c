// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors
/*
 * Opens what can be open, and says what it holds: each line is a JSON object with what
 * a row of copenclose fds -l -o json must have.
 */
#include "trigger.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>

static const char *in(const char *dir, const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

__attribute__((format(printf, 3, 4))) static int hold(int fd, const char *kind, const char *more,
						      ...)
{
	va_list args;

	must(fd >= 0, kind);
	printf("{\"fd\":%d,\"kind\":\"%s\"", fd, kind);
	va_start(args, more);
	vprintf(more, args);
	va_end(args);
	printf("}\n");
	return fd;
}

static void hold_files(const char *dir)
{
	char page[8192] = {1};
	int fd;

	hold(open(in(dir, "file"), O_CREAT | O_RDWR, 0600), "file",
	     ",\"mode\":\"rw\",\"cloexec\":false,\"path\":\"%s/file\",\"held_bytes\":null", dir);
	hold(open(in(dir, "file"), O_WRONLY | O_CLOEXEC), "file",
	     ",\"mode\":\"w\",\"cloexec\":true,\"path\":\"%s/file\",\"shared_with\":null", dir);
	hold(open(in(dir, "file"), O_PATH), "file", ",\"mode\":\"-\",\"path\":\"%s/file\"", dir);
	hold(open(dir, O_RDONLY | O_DIRECTORY), "directory", ",\"mode\":\"r\",\"path\":\"%s\"",
	     dir);
	hold(open("/dev/null", O_RDWR), "device", ",\"path\":\"/dev/null\"");
	hold(open(in(dir, "a\n\033[31m b"), O_CREAT | O_RDWR, 0600), "file",
	     ",\"path\":\"%s/a\\n\\u001b[31m b\"", dir);
	hold(open(in(dir, "\377"), O_CREAT | O_RDWR, 0600), "file", ",\"path\":null");

	fd = open(in(dir, "gone"), O_CREAT | O_RDWR, 0600);
	must(write(fd, page, sizeof(page)) == sizeof(page), "write");
	must(!fsync(fd) && !unlink(in(dir, "gone")), "unlink");
	hold(fd, "file", ",\"path\":\"%s/gone\",\"deleted\":true,\"size\":8192,\"held_bytes\":8192",
	     dir);
	hold(dup(fd), "file", ",\"deleted\":true,\"shared_with\":[{\"pid\":%d,\"fd\":%d}]",
	     getpid(), fd);

	must(!mkfifo(in(dir, "fifo"), 0600), "mkfifo");
	hold(open(in(dir, "fifo"), O_RDWR), "fifo", ",\"path\":\"%s/fifo\"", dir);
	hold(open("/proc/self/ns/uts", O_RDONLY), "namespace", ",\"name\":\"uts\"");
	hold(syscall(SYS_memfd_create, "a memfd", MFD_CLOEXEC), "memfd",
	     ",\"name\":\"memfd:a memfd\",\"cloexec\":true");
}

static void hold_anonymous_files(void)
{
	sigset_t set;
	int fds[2];

	must(!pipe2(fds, O_CLOEXEC), "pipe2");
	hold(fds[0], "pipe", ",\"mode\":\"r\",\"other_end\":{\"pid\":%d,\"fd\":%d}", getpid(),
	     fds[1]);
	hold(fds[1], "pipe", ",\"mode\":\"w\",\"other_end\":{\"pid\":%d,\"fd\":%d}", getpid(),
	     fds[0]);
	hold(eventfd(0, 0), "eventfd", ",\"name\":\"[eventfd]\"");
	hold(epoll_create1(EPOLL_CLOEXEC), "epoll", ",\"name\":\"[eventpoll]\"");
	hold(inotify_init1(0), "inotify", ",\"name\":\"inotify\"");
	hold(timerfd_create(CLOCK_MONOTONIC, 0), "timerfd", ",\"name\":\"[timerfd]\"");
	sigemptyset(&set);
	hold(signalfd(-1, &set, 0), "signalfd", ",\"name\":\"[signalfd]\"");
	hold(syscall(SYS_pidfd_open, getpid(), 0), "pidfd", ",\"name\":\"[pidfd]\"");
}

static int port_of(int fd)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);

	must(!getsockname(fd, (void *)&addr, &len), "getsockname");
	return ntohs(addr.sin_port);
}

static int connect_to(int listener)
{
	struct sockaddr_in addr = {AF_INET, htons(port_of(listener)), {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	must(!connect(fd, (void *)&addr, sizeof(addr)), "connect");
	return fd;
}

static void hold_sockets(const char *dir)
{
	struct sockaddr_in any = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}};
	struct sockaddr_in dns = {AF_INET, htons(53), {htonl(INADDR_LOOPBACK)}};
	struct sockaddr_un path = {AF_UNIX, ""};
	int listener, client, accepted, fds[2];
	char byte;

	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(!bind(listener, (void *)&any, sizeof(any)) && !listen(listener, 8), "listen");
	hold(listener, "tcp",
	     ",\"state\":\"LISTEN\",\"local_addr\":\"127.0.0.1\",\"local_port\":%d,\"addr\":null,"
	     "\"protocol\":\"tcp\",\"family\":\"AF_INET\"",
	     port_of(listener));

	client = connect_to(listener);
	accepted = accept(listener, 0, 0);
	hold(client, "tcp",
	     ",\"state\":\"ESTABLISHED\",\"local_port\":%d,\"addr\":\"127.0.0.1\",\"port\":%d,"
	     "\"other_end\":{\"pid\":%d,\"fd\":%d}",
	     port_of(client), port_of(listener), getpid(), accepted);
	hold(accepted, "tcp", ",\"state\":\"ESTABLISHED\",\"local_port\":%d,\"port\":%d",
	     port_of(listener), port_of(client));

	client = connect_to(listener);
	accepted = accept(listener, 0, 0);
	must(!shutdown(accepted, SHUT_WR) && !read(client, &byte, 1), "shutdown");
	hold(client, "tcp", ",\"state\":\"CLOSE_WAIT\",\"port\":%d", port_of(listener));
	hold(accepted, "tcp", ",\"state\":\"FIN_WAIT2\"");

	hold(socket(AF_INET6, SOCK_STREAM, 0), "tcp", ",\"state\":\"CLOSE\",\"addr\":null");
	fds[0] = socket(AF_INET, SOCK_DGRAM, 0);
	must(!connect(fds[0], (void *)&dns, sizeof(dns)), "connect");
	hold(fds[0], "udp", ",\"state\":null,\"addr\":\"127.0.0.1\",\"port\":53");
	hold(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), "netlink",
	     ",\"protocol\":\"netlink-route\"");

	fds[0] = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(path.sun_path, sizeof(path.sun_path), "%.90s/socket", dir);
	must(!bind(fds[0], (void *)&path, sizeof(path)) && !listen(fds[0], 8), "listen");
	hold(fds[0], "unix", ",\"protocol\":\"unix-stream\",\"local_addr\":\"%s/socket\"", dir);
	must(!socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), "socketpair");
	hold(fds[0], "unix", ",\"other_end\":{\"pid\":%d,\"fd\":%d}", getpid(), fds[1]);
	hold(fds[1], "unix", ",\"other_end\":{\"pid\":%d,\"fd\":%d}", getpid(), fds[0]);
}

/* Waits for the end of standard input, while others look. */
void *wait_for_end(void *unused)
{
	char byte;

	printf("{\"ready\":true}\n");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	exit(0);
	return unused;
}

void holds(const char *dir)
{
	hold_files(dir);
	hold_anonymous_files();
	hold_sockets(dir);
	wait_for_end(0);
}

/* The same of a process whose first thread has ended while three others run. */
void holds_without_leader(const char *dir)
{
	pthread_t thread;

	hold_files(dir);
	for (int i = 0; i < 2; i++)
		must(!pthread_create(&thread, 0, (void *(*)(void *))pause, 0), "pthread_create");
	must(!pthread_create(&thread, 0, wait_for_end, 0), "pthread_create");
	pthread_exit(0);
}

/* Opens n of each of three files, for a large table. */
void holds_many(int n)
{
	struct rlimit limit;
	int fds[2];

	must(!getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
	limit.rlim_cur = limit.rlim_max;
	must(!setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
	for (int i = 0; i < n; i += 4) {
		must(open("/dev/null", O_RDONLY) >= 0, "open");
		must(open("/proc/self/status", O_RDONLY) >= 0, "open");
		must(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds), "socketpair");
	}
	wait_for_end(0);
}
