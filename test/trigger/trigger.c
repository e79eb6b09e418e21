// SPDX-License-Identifier: GPL-2.0
/*
 * trigger makes known calls and prints what it did, for tests to compare with
 * what copenclose saw. Linked statically it makes no other traced calls.
 * Built with -m32 it is a 32-bit program; "int80" makes 32-bit calls from
 * whatever it is.
 *
 * A line of output is: SYSCALL ABI RESULT, the result as the kernel returns
 * it (a negative number is an errno).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <arpa/inet.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define NATIVE_ABI (sizeof(long) == 8 ? "64" : "32")

static long did(const char *syscall_name, const char *abi, long result)
{
	printf("%s %s %ld\n", syscall_name, abi, result);
	return result;
}

/* The result as the kernel returned it, before libc split it in two. */
static long raw(long result)
{
	return result == -1 ? -errno : result;
}

#define CALL(name, ...) did(#name, NATIVE_ABI, raw(syscall(SYS_##name, ##__VA_ARGS__)))

static void files(void)
{
	long fd;

#ifdef SYS_open
	fd = CALL(open, "/dev/null", O_RDONLY);
	CALL(close, fd);
	CALL(open, "/nonexistent", O_RDONLY);
#endif
	fd = CALL(openat, AT_FDCWD, "/dev/null", O_RDONLY);
	CALL(close, fd);
	CALL(openat, AT_FDCWD, "/nonexistent", O_RDONLY);
	CALL(close, -1);
}

/* A listening socket on the loopback address and what connects to it. */
static int listener(struct sockaddr_in *addr)
{
	socklen_t len = sizeof(*addr);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	*addr = (struct sockaddr_in){.sin_family = AF_INET,
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd < 0 || bind(fd, (void *)addr, len) || listen(fd, 8) ||
	    getsockname(fd, (void *)addr, &len)) {
		perror("trigger: listen on the loopback address");
		exit(1);
	}
	return fd;
}

static void sockets(void)
{
	struct sockaddr_in addr;
	int server = listener(&addr);
	int client = socket(AF_INET, SOCK_STREAM, 0);
	int second = socket(AF_INET, SOCK_STREAM, 0);

#ifdef SYS_socketcall
	long connect_args[] = {client, (long)&addr, sizeof(addr)};
	long accept_args[] = {server, 0, 0};
	long accept4_args[] = {server, 0, 0, SOCK_CLOEXEC};

	did("connect", NATIVE_ABI, raw(syscall(SYS_socketcall, 3, connect_args)));
	did("accept", NATIVE_ABI, raw(syscall(SYS_socketcall, 5, accept_args)));
	CALL(connect, second, &addr, sizeof(addr));
	did("accept4", NATIVE_ABI, raw(syscall(SYS_socketcall, 18, accept4_args)));
	CALL(accept4, -1, 0, 0, 0);
#else
	CALL(connect, client, &addr, sizeof(addr));
	CALL(accept, server, 0, 0);
	CALL(connect, second, &addr, sizeof(addr));
	CALL(accept4, server, 0, 0, SOCK_CLOEXEC);
	CALL(accept, -1, 0, 0);
#endif
	CALL(connect, -1, &addr, sizeof(addr));
}

/*
 * Number 3 is read in a 32-bit program, and close in a 64-bit one; 6 is close
 * there and lstat here.
 */
static void reads(void)
{
	char byte;

	for (int i = 0; i < 100; i++)
		if (syscall(SYS_read, -1, &byte, 1) != -1)
			exit(1);
}

#if defined(__i386__) || defined(__x86_64__)
static long int80(long nr, long a, long b, long c)
{
	long ret;

	asm volatile("int $0x80"
		     : "=a"(ret)
		     : "0"(nr), "b"(a), "c"(b), "d"(c)
		     : "memory"
#ifdef __x86_64__
		       ,
		       "r8", "r9", "r10", "r11"
#endif
	);
	return (int)ret;
}

static void int80_calls(void)
{
	/* Pointers must fit in 32 bits. */
	char *path = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT,
			  -1, 0);
	long fd;

	if (path == MAP_FAILED) {
		perror("trigger: map memory below 4 GiB");
		exit(1);
	}
	strcpy(path, "/dev/null");
	fd = did("open", "32", int80(5, (long)path, O_RDONLY, 0));
	did("close", "32", int80(6, fd, 0, 0));
	fd = did("openat", "32", int80(295, AT_FDCWD, (long)path, O_RDONLY));
	int80(3, fd, (long)path, 1); /* read */
	did("close", "32", int80(6, fd, 0, 0));
	did("connect", "32", int80(362, -1, 0, 0));
	did("accept4", "32", int80(364, -1, 0, 0));
}
#endif

static void pairs(long n)
{
	for (long i = 0; i < n; i++) {
		long fd = syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY);

		if (fd < 0 || syscall(SYS_close, fd)) {
			perror("trigger: open and close /dev/null");
			exit(1);
		}
	}
}

/*
 * What follows says more: each line is a JSON object with what an event of
 * copenclose -o json must have; null is a key that it must not have.
 */
#define ABI_NAME (sizeof(long) == 8 ? "x86_64" : "i386")

static __attribute__((format(printf, 3, 4))) long say(const char *name, long ret, const char *more,
						      ...)
{
	va_list args;

	printf("{\"syscall\":\"%s\",\"abi\":\"%s\",\"pid\":%d,\"tid\":%ld,\"ppid\":%d,\"ret\":%ld,",
	       name, ABI_NAME, getpid(), syscall(SYS_gettid), getppid(), ret);
	if (ret == -512)
		printf("\"error\":\"ERESTARTSYS\"");
	else if (ret < 0)
		printf("\"error\":\"%s\"", strerrorname_np(-ret));
	else
		printf("\"error\":null");
	va_start(args, more);
	vprintf(more, args);
	va_end(args);
	printf("}\n");
	return ret;
}

#define SAY(name, more, ...) say(#name, raw(syscall(SYS_##name, ##__VA_ARGS__)), more)
#define SAY_CLOSE(fd, more, ...) \
	say("close", raw(syscall(SYS_close, fd)), ",\"fd\":%d" more, fd, ##__VA_ARGS__)

static void must(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
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
		 ",\"path\":\"file\",\"dirfd\":-100,\"flags\":\"O_RDWR|O_CREAT|O_EXCL\",\"mode\":"
		 "\"0640\",\"truncated\":null");
	SAY_CLOSE(fd, ",\"path\":\"%s\",\"type\":\"regular\"", file);
	SAY(openat,
	    ",\"path\":\"file\",\"flags\":\"O_RDWR|O_CREAT|O_EXCL\",\"mode\":\"0600\",\"fd\":null",
	    AT_FDCWD, "file", O_RDWR | O_CREAT | O_EXCL, 0600);
	SAY(openat, ",\"path\":\"gone\",\"flags\":\"O_WRONLY|O_APPEND\",\"mode\":null", AT_FDCWD,
	    "gone", O_WRONLY | O_APPEND);
	SAY(openat, ",\"path\":null", AT_FDCWD, (void *)-1L, O_RDONLY);
	SAY(openat, ",\"path\":\"file\",\"dirfd\":1234", 1234, "file", O_RDONLY);
	SAY(openat, ",\"path\":\"\"", AT_FDCWD, "", O_RDONLY);

	dirfd = SAY(openat, ",\"path\":\".\",\"flags\":\"O_RDONLY|O_DIRECTORY\"", AT_FDCWD, ".",
		    O_RDONLY | O_DIRECTORY);
	fd = say("openat", raw(syscall(SYS_openat, dirfd, "file", O_RDONLY | O_NOFOLLOW)),
		 ",\"path\":\"file\",\"dirfd\":%d,\"flags\":\"O_RDONLY|O_NOFOLLOW\"", dirfd);
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
		 ",\"path\":\"%s\",\"truncated\":null", longest);
	SAY_CLOSE(fd, ",\"path\":\"/dev/null\",\"type\":\"char\"");
	memset(too_long, 'x', sizeof(too_long));
	too_long[sizeof(too_long) - 1] = '\0';
	say("openat", raw(syscall(SYS_openat, AT_FDCWD, too_long, O_RDONLY)),
	    ",\"path\":\"%.4095s\",\"truncated\":true", too_long);

	must(!getrlimit(RLIMIT_NOFILE, &limit), "trigger: read the limit of files");
	none = limit;
	none.rlim_cur = 3;
	must(!setrlimit(RLIMIT_NOFILE, &none), "trigger: lower the limit of files");
	SAY(openat, ",\"path\":\"file\"", AT_FDCWD, "file", O_RDONLY);
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

/* How connect, accept and accept4 are called: i386 can do it in two ways. */
static long do_connect(int fd, const void *addr, socklen_t len)
{
#ifdef SYS_socketcall
	long args[] = {fd, (long)addr, len};

	if (fd & 1)
		return raw(syscall(SYS_socketcall, 3, args));
#endif
	return raw(syscall(SYS_connect, fd, addr, len));
}

static long do_accept(int fd)
{
#ifdef SYS_accept
	return raw(syscall(SYS_accept, fd, 0, 0));
#else
	long args[] = {fd, 0, 0};

	return raw(syscall(SYS_socketcall, 5, args));
#endif
}

static int listen_on(const void *addr, socklen_t len)
{
	int fd = socket(((const struct sockaddr *)addr)->sa_family, SOCK_STREAM, 0);

	must(fd >= 0 && !bind(fd, addr, len) && !listen(fd, 8), "trigger: listen");
	return fd;
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

	inet_pton(family, ip, family == AF_INET ? (void *)&in.sin_addr : (void *)&in6.sin6_addr);
	server = listen_on(addr, len);
	must(!getsockname(server, addr, &len), "trigger: ask for the server's port");
	server_port = ntohs(*port);
	client = socket(family, SOCK_STREAM, 0);
	say("connect", do_connect(client, addr, len),
	    ",\"fd\":%d,\"family\":\"%s\",\"addr\":\"%s\",\"port\":%d,\"local_addr\":null", client,
	    name, ip, server_port);
	must(!getsockname(client, addr, &len), "trigger: ask for the client's port");
	client_port = ntohs(*port);
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
	struct itimerval timer = {.it_value.tv_usec = 50000};
	int server = listen_on(&in, sizeof(in));

	must(!sigaction(SIGALRM, &action, 0) && !setitimer(ITIMER_REAL, &timer, 0),
	     "trigger: set an alarm");
	/* The caller sees EINTR, the kernel returned ERESTARTSYS. */
	must(do_accept(server) == -EINTR, "trigger: accept was not interrupted");
	say("accept", -512, ",\"fd\":%d,\"addr\":null", server);
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
	    ",\"family\":\"AF_UNIX\",\"addr\":\"server\",\"local_addr\":null");
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
	printf("{\"syscall\":\"openat\",\"pid\":%d,\"ppid\":%d,\"path\":\"/dev/"
	       "full\",\"ret\":%d}\n",
	       child, getpid(), vforked_fd);
	printf("{\"syscall\":\"close\",\"pid\":%d,\"ppid\":%d,\"path\":\"/dev/full\",\"fd\":%d}\n",
	       child, getpid(), vforked_fd);
}

static void details(const char *dir)
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

static void usage(void)
{
	fprintf(stderr,
		"usage: trigger [hostname NAME] calls | int80 | pairs N | busy | details DIR\n");
	exit(2);
}

int main(int argc, char **argv)
{
	const char *what;

	if (argc > 2 && !strcmp(argv[1], "hostname")) {
		if (sethostname(argv[2], strlen(argv[2]))) {
			perror("trigger: set the hostname");
			exit(1);
		}
		argc -= 2;
		argv += 2;
	}
	what = argc > 1 ? argv[1] : "";
	if (!strcmp(what, "calls")) {
		files();
		reads();
		sockets();
#if defined(__i386__) || defined(__x86_64__)
	} else if (!strcmp(what, "int80")) {
		int80_calls();
#endif
	} else if (!strcmp(what, "pairs") && argc > 2) {
		pairs(atol(argv[2]));
	} else if (!strcmp(what, "details") && argc > 2) {
		details(argv[2]);
	} else if (!strcmp(what, "busy")) {
		for (;;) {
			pairs(10);
			usleep(2000);
		}
	} else {
		usage();
	}
	return 0;
}
