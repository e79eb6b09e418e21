// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors
/* What a call was about: paths, flags, files, addresses, and who made it. */
#include "trigger.h"

#include <fcntl.h>
#include <limits.h>
#include <arpa/inet.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>

static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 4096; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void opens(const char *dir)
{
	char longest[PATH_MAX], too_long[PATH_MAX + 100], file[PATH_MAX];
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC,
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
	struct rlimit limit, none;
	int dirfd, fd;

	must(!chdir(dir), "trigger: enter the folder");
	snprintf(file, sizeof(file), "%s/file", dir);

	fd = say("openat",
		 raw(syscall(SYS_openat, AT_FDCWD, "file", O_RDWR | O_CREAT | O_EXCL, 0640)),
		 ",\"path\":\"file\",\"file\":\"%s\",\"dirfd\":-100,\"flags\":\"O_RDWR|O_CREAT|O_"
		 "EXCL\","
		 "\"mode\":\"0640\",\"truncated\":null,\"unreadable\":null",
		 file);
	SAY_CLOSE(fd, ",\"path\":\"%s\",\"type\":\"regular\"", file);
	SAY(openat,
	    ",\"path\":\"file\",\"flags\":\"O_RDWR|O_CREAT|O_EXCL\",\"mode\":\"0600\",\"fd\":null",
	    AT_FDCWD, "file", O_RDWR | O_CREAT | O_EXCL, 0600);
	SAY(openat,
	    ",\"path\":\"gone\",\"file\":null,\"flags\":\"O_WRONLY|O_APPEND\",\"mode\":null",
	    AT_FDCWD, "gone", O_WRONLY | O_APPEND);
	SAY(openat, ",\"path\":null,\"file\":null,\"unreadable\":true", AT_FDCWD, (void *)-1L,
	    O_RDONLY);
	SAY(openat, ",\"path\":\"file\",\"dirfd\":1234", 1234, "file", O_RDONLY);
	SAY(openat, ",\"path\":\"\"", AT_FDCWD, "", O_RDONLY);

	dirfd = SAY(openat, ",\"path\":\".\",\"flags\":\"O_RDONLY|O_DIRECTORY\"", AT_FDCWD, ".",
		    O_RDONLY | O_DIRECTORY);
	fd = say(
		"openat", raw(syscall(SYS_openat, dirfd, "file", O_RDONLY | O_NOFOLLOW)),
		",\"path\":\"file\",\"file\":\"%s\",\"dirfd\":%d,\"flags\":\"O_RDONLY|O_NOFOLLOW\"",
		file, dirfd);
	SAY_CLOSE(fd, ",\"path\":\"%s\"", file);
	fd = say("openat2", raw(syscall(SYS_openat2, dirfd, "file", &how, sizeof(how))),
		 ",\"path\":\"file\",\"dirfd\":%d,\"flags\":\"O_RDONLY|O_CLOEXEC\",\"resolve\":"
		 "\"RESOLVE_NO_SYMLINKS|RESOLVE_BENEATH\"",
		 dirfd);
	SAY_CLOSE(fd, ",\"path\":\"%s\"", file);
	SAY(openat2, ",\"path\":\"../x\"", dirfd, "../x", &how, sizeof(how));
	SAY(openat2, ",\"path\":\"file\"", dirfd, "file", &how, 3);
	SAY_CLOSE(dirfd, ",\"path\":\"%s\",\"type\":\"directory\"", dir);

#ifdef SYS_open
	fd = SAY(open, ",\"path\":\"file\",\"dirfd\":null,\"flags\":\"O_RDWR|O_SYNC\"", "file",
		 O_RDWR | O_SYNC);
	SAY_CLOSE(fd, ",\"path\":\"%s\"", file);
	SAY(open, ",\"path\":\"gone\"", "gone", O_RDONLY);
	fd = SAY(creat,
		 ",\"path\":\"made\",\"dirfd\":null,\"flags\":\"O_WRONLY|O_CREAT|O_TRUNC\","
		 "\"mode\":\"0600\"",
		 "made", 0600);
	unlink("made");
	SAY_CLOSE(fd, ",\"path\":\"%s/made\"", dir);
	SAY(creat, ",\"path\":\"gone/x\"", "gone/x", 0600);
#endif

	/* PATH_MAX counts the NUL. */
	memset(longest, '/', sizeof(longest));
	memcpy(longest + sizeof(longest) - 9, "dev/null", 9);
	fd = say("openat", raw(syscall(SYS_openat, AT_FDCWD, longest, O_RDONLY)),
		 ",\"path\":\"%s\",\"file\":\"/dev/null\",\"truncated\":null", longest);
	SAY_CLOSE(fd, ",\"path\":\"/dev/null\",\"type\":\"char\"");
	memset(too_long, 'x', sizeof(too_long));
	too_long[sizeof(too_long) - 1] = '\0';
	say("openat", raw(syscall(SYS_openat, AT_FDCWD, too_long, O_RDONLY)),
	    ",\"path\":\"%.4095s\",\"truncated\":true", too_long);

	must(!getrlimit(RLIMIT_NOFILE, &limit), "trigger: read the limit of files");
	none = limit;
	none.rlim_cur = 3;
	must(!setrlimit(RLIMIT_NOFILE, &none), "trigger: lower the limit of files");
	say("openat", raw(syscall(SYS_openat, AT_FDCWD, "file", O_RDONLY)),
	    ",\"path\":\"file\",\"error\":\"EMFILE\",\"open_fds\":%d,\"fd_limit\":3", count_fds());
	must(!setrlimit(RLIMIT_NOFILE, &limit), "trigger: raise the limit of files");
}

static void closes(void)
{
	int fds[2], fd;

	SAY_CLOSE(-1, ",\"path\":null,\"type\":null");
	SAY_CLOSE(1000, ",\"path\":null,\"type\":null");
	must(!pipe(fds), "trigger: make a pipe");
	SAY_CLOSE(fds[0], ",\"type\":\"pipe\",\"path\":null");
	SAY_CLOSE(fds[1], ",\"type\":\"pipe\",\"path\":null");
	fd = eventfd(0, 0);
	SAY_CLOSE(fd, ",\"type\":\"eventfd\"");
	fd = epoll_create1(0);
	SAY_CLOSE(fd, ",\"type\":\"eventpoll\"");
	fd = memfd_create("some thing", 0);
	SAY_CLOSE(fd, ",\"type\":\"memfd\",\"path\":\"memfd:some thing\"");
	must((fd = dup(1)) >= 0, "trigger: duplicate stdout");
	say("close_range", raw(syscall(SYS_close_range, fd, fd + 7, 0)),
	    ",\"fd\":%d,\"last_fd\":%d,\"flags\":null", fd, fd + 7);
	SAY(close_range, ",\"fd\":500,\"last_fd\":4294967295,\"flags\":\"CLOSE_RANGE_CLOEXEC\"",
	    500, ~0U, 4);
	SAY(close_range, ",\"fd\":5,\"last_fd\":4", 5, 4, 0);
}

static void tcp(int family, const char *ip)
{
	const char *name = family == AF_INET ? "AF_INET" : "AF_INET6";
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	struct sockaddr_in in = {.sin_family = AF_INET};
	void *addr = family == AF_INET ? (void *)&in : (void *)&in6;
	in_port_t *port = family == AF_INET ? &in.sin_port : &in6.sin6_port;
	socklen_t len = family == AF_INET ? sizeof(in) : sizeof(in6);
	int server, client, accepted, server_port, client_port;
	long ret;

	inet_pton(family, ip, family == AF_INET ? (void *)&in.sin_addr : (void *)&in6.sin6_addr);
	server = listen_on(addr, len);
	must(!getsockname(server, addr, &len), "trigger: ask for the server's port");
	server_port = ntohs(*port);
	client = socket(family, SOCK_STREAM, 0);
	ret = do_connect(client, addr, len);
	must(!getsockname(client, addr, &len), "trigger: ask for the client's port");
	client_port = ntohs(*port);
	say("connect", ret,
	    ",\"fd\":%d,\"family\":\"%s\",\"addr\":\"%s\",\"port\":%d,\"local_addr\":\"%s\","
	    "\"local_port\":%d",
	    client, name, ip, server_port, ip, client_port);
	accepted = say("accept4",
		       raw(syscall(SYS_accept4, server, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK)),
		       ",\"fd\":%d,\"flags\":\"SOCK_CLOEXEC|SOCK_NONBLOCK\",\"family\":\"%s\","
		       "\"addr\":\"%s\",\"port\":%d,\"local_addr\":\"%s\",\"local_port\":%d",
		       server, name, ip, client_port, ip, server_port);
	SAY_CLOSE(client,
		  ",\"type\":\"socket\",\"family\":\"%s\",\"addr\":\"%s\",\"port\":%d,\"local_"
		  "addr\":\"%s\",\"local_port\":%d",
		  name, ip, server_port, ip, client_port);
	SAY_CLOSE(accepted, ",\"type\":\"socket\",\"port\":%d,\"local_port\":%d", client_port,
		  server_port);
	SAY_CLOSE(server,
		  ",\"type\":\"socket\",\"addr\":null,\"local_addr\":\"%s\",\"local_port\":%d", ip,
		  server_port);

	/* Nobody listens there any more. */
	*port = htons(server_port);
	client = socket(family, SOCK_STREAM, 0);
	say("connect", do_connect(client, addr, len), ",\"addr\":\"%s\",\"port\":%d", ip,
	    server_port);
	say("connect", do_connect(client, (void *)-1L, len), ",\"addr\":null,\"family\":null");
	say("connect", do_connect(-1, addr, len), ",\"fd\":-1,\"addr\":\"%s\"", ip);
	SAY_CLOSE(client, ",\"family\":\"%s\"", name);
}

static void on_alarm(int signal)
{
	(void)signal;
}

static void waits(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sigaction action = {.sa_handler = on_alarm};
	/* Again and again, lest the first one rings before accept waits. */
	struct itimerval none = {},
			 timer = {.it_value.tv_usec = 50000, .it_interval.tv_usec = 50000};
	int server = listen_on(&in, sizeof(in));

	must(!sigaction(SIGALRM, &action, 0) && !setitimer(ITIMER_REAL, &timer, 0),
	     "trigger: set an alarm");
	/* The kernel has an error of its own for it, which no program gets. */
	must(say("accept", do_accept(server), ",\"fd\":%d,\"addr\":null", server) == -EINTR,
	     "trigger: accept was not interrupted");
	must(!setitimer(ITIMER_REAL, &none, 0), "trigger: stop the alarm");
	fcntl(server, F_SETFL, O_NONBLOCK);
	say("accept", do_accept(server), ",\"fd\":%d,\"addr\":null,\"family\":null", server);
	say("accept", do_accept(-1), ",\"fd\":-1");
	SAY_CLOSE(server, ",\"type\":\"socket\"");
}

static void scoped(void)
{
	struct sockaddr_in6 in6 = {
		.sin6_family = AF_INET6, .sin6_port = htons(9), .sin6_scope_id = 77};
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);

	inet_pton(AF_INET6, "fe80::1", &in6.sin6_addr);
	say("connect", do_connect(fd, &in6, sizeof(in6)),
	    ",\"family\":\"AF_INET6\",\"addr\":\"fe80::1%%77\",\"port\":9");
	SAY_CLOSE(fd, ",\"family\":\"AF_INET6\"");
}

static void unix_sockets(const char *dir)
{
	struct sockaddr_un server_addr = {.sun_family = AF_UNIX}, client_addr = server_addr,
			   abstract = server_addr;
	socklen_t abstract_len;
	int server, client, accepted;

	snprintf(server_addr.sun_path, sizeof(server_addr.sun_path), "server");
	snprintf(client_addr.sun_path, sizeof(client_addr.sun_path), "client");
	must(!chdir(dir), "trigger: enter the folder");
	client = socket(AF_UNIX, SOCK_STREAM, 0);
	say("connect", do_connect(client, &server_addr, sizeof(server_addr)),
	    ",\"family\":\"AF_UNIX\",\"addr\":\"server\",\"port\":null");
	server = listen_on(&server_addr, sizeof(server_addr));
	must(!bind(client, (void *)&client_addr, sizeof(client_addr)), "trigger: bind the client");
	say("connect", do_connect(client, &server_addr, sizeof(server_addr)),
	    ",\"family\":\"AF_UNIX\",\"addr\":\"server\",\"local_addr\":\"client\"");
	accepted = say("accept", do_accept(server),
		       ",\"family\":\"AF_UNIX\",\"addr\":\"client\",\"local_addr\":\"server\"");
	SAY_CLOSE(accepted,
		  ",\"family\":\"AF_UNIX\",\"addr\":\"client\",\"local_addr\":\"server\"");
	SAY_CLOSE(client, ",\"family\":\"AF_UNIX\",\"local_addr\":\"client\"");
	SAY_CLOSE(server, ",\"family\":\"AF_UNIX\",\"addr\":null,\"local_addr\":\"server\"");

	snprintf(abstract.sun_path + 1, sizeof(abstract.sun_path) - 1, "copenclose-%d", getpid());
	abstract_len = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(abstract.sun_path + 1);
	server = listen_on(&abstract, abstract_len);
	client = socket(AF_UNIX, SOCK_STREAM, 0);
	say("connect", do_connect(client, &abstract, abstract_len), ",\"addr\":\"@%s\"",
	    abstract.sun_path + 1);
	accepted = say("accept", do_accept(server), ",\"addr\":null,\"local_addr\":\"@%s\"",
		       abstract.sun_path + 1);
	SAY_CLOSE(accepted, ",\"family\":\"AF_UNIX\"");
	SAY_CLOSE(client, ",\"family\":\"AF_UNIX\",\"addr\":\"@%s\"", abstract.sun_path + 1);
	SAY_CLOSE(server, ",\"family\":\"AF_UNIX\"");
}

static void *in_thread(void *unused)
{
	int fd = SAY(openat, ",\"path\":\"/dev/zero\"", AT_FDCWD, "/dev/zero", O_RDONLY);

	SAY_CLOSE(fd, ",\"path\":\"/dev/zero\"");
	return unused;
}

static void tasks(const char *dir)
{
	pthread_t thread;
	volatile int vforked_fd = -1;
	int status, fd;
	pid_t child;

	must(!pthread_create(&thread, 0, in_thread, 0) && !pthread_join(thread, 0),
	     "trigger: run a thread");

	fflush(stdout);
	if (!(child = fork())) {
		/* Another root: what is closed is called as the caller would. */
		must(!chroot(dir) && !chdir("/"), "trigger: change the root");
		fd = SAY(openat, ",\"path\":\"/file\"", AT_FDCWD, "/file", O_RDONLY);
		SAY_CLOSE(fd, ",\"path\":\"/file\"");
		fd = SAY(openat, ",\"path\":\"/\"", AT_FDCWD, "/", O_RDONLY | O_DIRECTORY);
		SAY_CLOSE(fd, ",\"path\":\"/\"");
		fflush(stdout);
		_exit(0);
	}
	must(waitpid(child, &status, 0) == child && !status, "trigger: run a child");

	/* The child shares this memory until it ends, so it must not print. */
	child = vfork();
	if (!child) {
		vforked_fd = syscall(SYS_openat, AT_FDCWD, "/dev/full", O_RDONLY);
		syscall(SYS_close, vforked_fd);
		_exit(0);
	}
	must(waitpid(child, &status, 0) == child && !status, "trigger: run a vforked child");
	printf("{\"syscall\":\"openat\",\"pid\":%d,\"tid\":%d,\"ppid\":%d,\"path\":\"/dev/"
	       "full\",\"ret\":%d}\n",
	       child, child, getpid(), vforked_fd);
	printf("{\"syscall\":\"close\",\"pid\":%d,\"tid\":%d,\"ppid\":%d,\"path\":\"/dev/full\","
	       "\"fd\":%d}\n",
	       child, child, getpid(), vforked_fd);
}

void details(const char *dir)
{
	opens(dir);
	closes();
	tcp(AF_INET, "127.0.0.1");
	tcp(AF_INET6, "::1");
	scoped();
	unix_sockets(dir);
	waits();
	tasks(dir);
}
