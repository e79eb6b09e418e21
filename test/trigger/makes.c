// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors
/*
 * Each call that makes descriptors, and those of the same syscalls that make none. The
 * test has all syscalls traced, so whatever is called here is said.
 */
#include "trigger.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <sys/wait.h>

#define PIDFD_OPEN 434 /* where the C library is older than the call */
#define PIDFD_GETFD 438
#define IO_URING_SETUP 425
#define OPEN_TREE 428
#define FSOPEN 430
#define FSMOUNT 432
#define FSPICK 433
#define LANDLOCK_CREATE_RULESET 444
#define MEMFD_SECRET 447

static char dir[PATH_MAX], file[PATH_MAX + sizeof("/file")];

/*
 * Whether the kernel has a call, of which arguments are refused otherwise. A helper asks,
 * for the rows of helpers are nobody's concern.
 */
static int has(const char *name, long number)
{
	pid_t child = fork();
	int status;

	must(child >= 0, "trigger: start a helper");
	if (!child) {
		be_helper();
		_exit(syscall(number, -1L, -1L, -1L, -1L) == -1 && errno == ENOSYS);
	}
	must(waitpid(child, &status, 0) == child, "trigger: wait for a helper");
	if (status)
		skip(name, strerror(ENOSYS));
	return !status;
}

/* A call that makes an fd, and more about it where it does. */
static long made(const char *name, long fd, const char *more)
{
	if (fd < 0)
		return say(name, fd, ",\"fd\":null");
	return say(name, fd, ",\"fd\":%ld%s", fd, more);
}

#define MADE(name, more, ...) made(#name, raw(syscall(SYS_##name, ##__VA_ARGS__)), more)
#define MADE_BY(number, name, more, ...) made(name, raw(syscall(number, ##__VA_ARGS__)), more)

static void close_if(long fd, const char *more)
{
	if (fd >= 0)
		say("close", raw(syscall(SYS_close, fd)), ",\"fd\":%ld%s", fd, more);
}

/* The rest of a row, in text that the next one but one overwrites. */
static const char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *text(const char *format, ...)
{
	static char buffers[2][2 * PATH_MAX];
	static int n;
	char *buffer = buffers[++n % 2];
	va_list args;

	va_start(args, format);
	vsnprintf(buffer, sizeof(*buffers), format, args);
	va_end(args);
	return buffer;
}

static long open_file(void)
{
	return MADE(openat, ",\"path\":\"file\"", AT_FDCWD, "file", O_RDWR | O_CREAT, 0600);
}

static void copies(void)
{
	long fd = open_file(), copy, other;
	const char *is_file =
		text(",\"old_fd\":%ld,\"path\":\"%s\",\"type\":\"regular\"", fd, file);

	close_if(MADE(dup, is_file, fd), "");
	MADE(dup, ",\"old_fd\":-1", -1);
	copy = MADE(fcntl,
		    text(",\"old_fd\":%ld,\"request\":\"F_DUPFD\",\"value\":50,\"path\":\"%s\"", fd,
			 file),
		    fd, F_DUPFD, 50);
	must(copy >= 50 && syscall(SYS_fcntl, fd, F_GETFD) == 0, "trigger: copy an fd");
	close_if(copy, "");
	copy = MADE(fcntl, text(",\"old_fd\":%ld,\"request\":\"F_DUPFD_CLOEXEC\",\"value\":0", fd),
		    fd, F_DUPFD_CLOEXEC, 0);
#ifdef SYS_fcntl64
	close_if(MADE(fcntl64, text(",\"old_fd\":%ld,\"request\":\"F_DUPFD\",\"value\":60", fd), fd,
		      F_DUPFD, 60),
		 "");
#endif
	close_if(copy, text(",\"path\":\"%s\"", file));
	other = MADE(openat, "", AT_FDCWD, "/dev/null", O_RDONLY);
#ifdef SYS_dup2
	MADE(dup2, text(",\"old_fd\":%ld,\"path\":\"%s\",\"replaced\":null", fd, file), fd, 70);
	MADE(dup2, text(",\"old_fd\":%ld,\"path\":\"%s\",\"replaced\":true", other, file), other,
	     70);
	MADE(dup2, text(",\"old_fd\":%ld,\"path\":\"%s\",\"replaced\":null", fd, file), fd, fd);
	say("dup2", raw(syscall(SYS_dup2, -1, 70)),
	    ",\"fd\":70,\"old_fd\":-1,\"path\":null,\"replaced\":null");
	close_if(70, ",\"path\":\"/dev/null\"");
#endif
	MADE(dup3,
	     text(",\"old_fd\":%ld,\"path\":\"%s\",\"replaced\":null,\"flags\":\"O_CLOEXEC\"", fd,
		  file),
	     fd, 71, O_CLOEXEC);
	MADE(dup3,
	     text(",\"old_fd\":%ld,\"path\":\"%s\",\"replaced\":true,\"flags\":null", other, file),
	     other, 71, 0);
	close_if(71, ",\"path\":\"/dev/null\"");
	close_if(other, "");
	if (has("pidfd_getfd", PIDFD_GETFD)) {
		long pidfd = MADE_BY(PIDFD_OPEN, "pidfd_open",
				     text(",\"target_pid\":%d,\"type\":\"pidfd\",\"flags\":null",
					  getpid()),
				     getpid(), 0);

		close_if(MADE_BY(PIDFD_GETFD, "pidfd_getfd",
				 text(",\"pidfd\":%ld,\"old_fd\":%ld,\"path\":\"%s\"", pidfd, fd,
				      file),
				 pidfd, fd, 0),
			 "");
		close_if(pidfd, ",\"type\":\"pidfd\"");
		MADE_BY(PIDFD_OPEN, "pidfd_open", "", -7, 0);
	}
	close_if(fd, "");
}

/* The two that a call has put into fds. */
static void say_pair(const char *name, long ret, const int *fds, const char *more)
{
	if (ret < 0) {
		say(name, ret, ",\"fd\":null,\"fd2\":null");
		return;
	}
	say(name, ret, ",\"fd\":%d,\"fd2\":%d%s", fds[0], fds[1], more);
	close_if(fds[0], "");
	close_if(fds[1], "");
}

#define PAIR(name, more, ...)                                       \
	do {                                                        \
		long ret = raw(syscall(SYS_##name, ##__VA_ARGS__)); \
                                                                    \
		say_pair(#name, ret, fds, more);                    \
	} while (0)

static void pairs_of_fds(void)
{
	int fds[2];

#ifdef SYS_pipe
	PAIR(pipe, ",\"type\":\"pipe\"", fds);
	PAIR(pipe, "", (void *)-1L);
#endif
	PAIR(pipe2, ",\"type\":\"pipe\",\"flags\":\"O_NONBLOCK|O_CLOEXEC\"", fds,
	     O_CLOEXEC | O_NONBLOCK);
	PAIR(socketpair, ",\"type\":\"socket\",\"family\":\"AF_UNIX\",\"protocol\":\"unix-dgram\"",
	     AF_UNIX, SOCK_DGRAM, 0, fds);
	PAIR(socketpair, "", AF_INET, SOCK_STREAM, 0, fds);
#ifdef SYS_socketcall
	long args[] = {AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, (long)fds};
	long ret = raw(syscall(SYS_socketcall, 8, args));

	say_pair("socketpair", ret, fds,
		 ",\"protocol\":\"unix-stream\",\"flags\":\"SOCK_CLOEXEC\"");
#endif
}

static void sockets(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "socket"};
	socklen_t len = sizeof(in);
	long server, second, ret;
	int port;

	server = MADE(socket,
		      ",\"family\":\"AF_INET\",\"protocol\":\"tcp\",\"flags\":\"SOCK_CLOEXEC\","
		      "\"type\":\"socket\"",
		      AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	second = MADE(socket, ",\"family\":\"AF_INET\",\"protocol\":\"tcp\",\"flags\":null",
		      AF_INET, SOCK_STREAM, IPPROTO_TCP);
	say("socket", raw(syscall(SYS_socket, AF_INET6, SOCK_STREAM, 250)),
	    ",\"fd\":null,\"family\":\"AF_INET6\",\"protocol\":\"ip-250\"");
	ret = raw(syscall(SYS_bind, server, &in, len));
	must(!getsockname(server, (void *)&in, &len), "trigger: ask for the port");
	port = ntohs(in.sin_port);
	say("bind", ret,
	    ",\"fd\":%ld,\"local_addr\":\"127.0.0.1\",\"local_port\":%d,\"protocol\":\"tcp\"",
	    server, port);
	say("listen", raw(syscall(SYS_listen, server, 7)),
	    ",\"fd\":%ld,\"value\":7,\"local_addr\":\"127.0.0.1\",\"local_port\":%d", server, port);
	say("bind", raw(syscall(SYS_bind, second, &in, len)),
	    ",\"fd\":%ld,\"local_addr\":\"127.0.0.1\",\"local_port\":%d", second, port);
	say("bind", raw(syscall(SYS_bind, -1, &in, len)), ",\"fd\":-1");
	say("bind", raw(syscall(SYS_bind, second, (void *)-1L, len)),
	    ",\"fd\":%ld,\"local_addr\":null", second);
	say("listen", raw(syscall(SYS_listen, -1, 1)), ",\"fd\":-1,\"local_addr\":null");
	close_if(second, "");
	close_if(server, text(",\"local_port\":%d", port));
	server = MADE(socket, ",\"family\":\"AF_UNIX\",\"protocol\":\"unix-seqpacket\"", AF_UNIX,
		      SOCK_SEQPACKET, 0);
	say("bind", raw(syscall(SYS_bind, server, &un, sizeof(un))),
	    ",\"fd\":%ld,\"local_addr\":\"socket\"", server);
	say("listen", raw(syscall(SYS_listen, server, 1)), ",\"local_addr\":\"socket\"");
	close_if(server, ",\"local_addr\":\"socket\"");
#ifdef SYS_socketcall
	long args[] = {AF_INET, SOCK_DGRAM, 0};

	server = made("socket", raw(syscall(SYS_socketcall, 1, args)), ",\"protocol\":\"udp\"");
	in.sin_port = 0;

	long bind_args[] = {server, (long)&in, len};

	ret = raw(syscall(SYS_socketcall, 2, bind_args));
	must(!getsockname(server, (void *)&in, &len), "trigger: ask for the port");
	say("bind", ret, ",\"fd\":%ld,\"protocol\":\"udp\",\"local_port\":%d", server,
	    ntohs(in.sin_port));

	long listen_args[] = {server, 5};

	say("listen", raw(syscall(SYS_socketcall, 4, listen_args)), ",\"fd\":%ld,\"value\":5",
	    server);
	close_if(server, "");
#endif
}

static void events(void)
{
	uint64_t set = 1ULL << (SIGINT - 1) | 1ULL << (SIGTERM - 1);
	struct perf_event_attr event = {
		.type = PERF_TYPE_SOFTWARE, .size = sizeof(event), .config = PERF_COUNT_SW_DUMMY};
	uint32_t ring[30] = {};
	long fd;

#ifdef SYS_eventfd
	close_if(MADE(eventfd, ",\"value\":5,\"type\":\"eventfd\"", 5), ",\"type\":\"eventfd\"");
#endif
	close_if(MADE(eventfd2, ",\"value\":6,\"flags\":\"EFD_SEMAPHORE|EFD_CLOEXEC\"", 6,
		      O_CLOEXEC | 1),
		 "");
	MADE(eventfd2, "", 6, 2);
	close_if(MADE(timerfd_create,
		      ",\"request\":\"CLOCK_MONOTONIC\",\"flags\":\"TFD_NONBLOCK\",\"type\":"
		      "\"timerfd\"",
		      CLOCK_MONOTONIC, O_NONBLOCK),
		 "");
	MADE(timerfd_create, "", 77, 0);
#ifdef SYS_signalfd
	close_if(MADE(signalfd, ",\"signals\":\"SIGINT|SIGTERM\",\"type\":\"signalfd\"", -1, &set,
		      sizeof(set)),
		 "");
#endif
	fd = MADE(signalfd4, ",\"signals\":\"SIGINT|SIGTERM\",\"flags\":\"SFD_CLOEXEC\"", -1, &set,
		  sizeof(set), O_CLOEXEC);
	must(syscall(SYS_signalfd4, fd, &set, sizeof(set), 0) == fd, "trigger: change a signalfd");
	close_if(fd, "");
#ifdef SYS_epoll_create
	close_if(MADE(epoll_create, ",\"value\":9,\"type\":\"eventpoll\"", 9), "");
#endif
	close_if(MADE(epoll_create1, ",\"flags\":\"EPOLL_CLOEXEC\",\"type\":\"eventpoll\"",
		      O_CLOEXEC),
		 "");
#ifdef SYS_inotify_init
	close_if(MADE(inotify_init, ",\"type\":\"inotify\""), "");
#endif
	close_if(MADE(inotify_init1, ",\"flags\":\"IN_CLOEXEC\"", O_CLOEXEC), "");
	close_if(MADE(fanotify_init, ",\"flags\":\"FAN_CLOEXEC\"", 1, O_RDONLY), "");
	if (has("userfaultfd", SYS_userfaultfd))
		close_if(MADE(userfaultfd, ",\"flags\":\"O_CLOEXEC\"", O_CLOEXEC), "");
	close_if(MADE(perf_event_open,
		      text(",\"request\":\"PERF_TYPE_SOFTWARE\",\"target_pid\":%d,\"value\":-1,"
			   "\"type\":\"perf_event\"",
			   getpid()),
		      &event, getpid(), -1, -1, 0),
		 "");
	if (has("io_uring_setup", IO_URING_SETUP)) {
		ring[2] = 1 << 4;
		close_if(MADE_BY(IO_URING_SETUP, "io_uring_setup",
				 ",\"value\":3,\"flags\":\"IORING_SETUP_CLAMP\"", 3, ring),
			 "");
		MADE_BY(IO_URING_SETUP, "io_uring_setup", "", 3, (void *)-1L);
	}
}

static void kernel_objects(void)
{
	union bpf_attr map = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
	union bpf_attr lookup = {};
	uint64_t ruleset = 1;
	long fd;

	fd = MADE(bpf, ",\"request\":\"BPF_MAP_CREATE\",\"type\":\"bpf-map\"", BPF_MAP_CREATE, &map,
		  sizeof(map));
	lookup.map_fd = fd;
	must(syscall(SYS_bpf, BPF_MAP_GET_NEXT_KEY, &lookup, sizeof(lookup)) < 0,
	     "trigger: use a map badly");
	close_if(fd, ",\"type\":\"bpf-map\"");
	if (!has("landlock_create_ruleset", LANDLOCK_CREATE_RULESET))
		return;
	syscall(LANDLOCK_CREATE_RULESET, 0, 0, 1); /* asks for the version */
	close_if(MADE_BY(LANDLOCK_CREATE_RULESET, "landlock_create_ruleset", "", &ruleset,
			 sizeof(ruleset), 0),
		 "");
}

static void other_files(void)
{
	struct {
		struct file_handle head;
		char bytes[MAX_HANDLE_SZ];
	} handle = {.head.handle_bytes = MAX_HANDLE_SZ};
	char queue[50], refused[] = "x"; /* in memory, though the kernel does not read it */
	long fd, dirfd;
	int mount;

	close_if(MADE(memfd_create,
		      ",\"name\":\"some memory\",\"path\":\"memfd:some "
		      "memory\",\"type\":\"memfd\",\"flags\":\"MFD_CLOEXEC\"",
		      "some memory", 1),
		 ",\"path\":\"memfd:some memory\"");
	say("memfd_create", raw(syscall(SYS_memfd_create, refused, 0x8000)),
	    ",\"name\":\"x\",\"path\":null,\"flags\":\"0x8000\"");
#ifdef SYS_memfd_secret
	if (has("memfd_secret", MEMFD_SECRET))
		close_if(MADE(memfd_secret, ",\"path\":null", 0), "");
#endif
	dirfd = MADE(openat, "", AT_FDCWD, dir, O_RDONLY | O_DIRECTORY);
	if (!name_to_handle_at(AT_FDCWD, "file", &handle.head, &mount, 0))
		close_if(MADE(open_by_handle_at,
			      text(",\"dirfd\":%ld,\"path\":\"%s\",\"type\":\"regular\",\"flags\":"
				   "\"O_RDONLY|O_CLOEXEC\"",
				   dirfd, file),
			      dirfd, &handle, O_RDONLY | O_CLOEXEC),
			 "");
	else
		skip("open_by_handle_at", strerror(errno));
	handle.head.handle_bytes = 0;
	say("open_by_handle_at", raw(syscall(SYS_open_by_handle_at, dirfd, &handle, O_RDONLY)),
	    ",\"path\":null");
	if (has("open_tree", OPEN_TREE)) {
		close_if(MADE_BY(OPEN_TREE, "open_tree",
				 text(",\"dirfd\":%ld,\"path\":\"file\",\"file\":\"%s\",\"flags\":"
				      "\"OPEN_TREE_CLOEXEC\"",
				      dirfd, file),
				 dirfd, "file", O_CLOEXEC),
			 text(",\"path\":\"%s\"", file));
		MADE_BY(OPEN_TREE, "open_tree", "", dirfd, "gone", 0);
		close_if(MADE_BY(FSPICK, "fspick", ",\"path\":\"/\",\"flags\":null", AT_FDCWD, "/",
				 0),
			 "");
		say("fsopen", raw(syscall(FSOPEN, "no such fs", 1)),
		    ",\"name\":\"no such fs\",\"flags\":\"FSOPEN_CLOEXEC\"");
		fd = MADE_BY(FSOPEN, "fsopen", ",\"name\":\"tmpfs\"", "tmpfs", 0);
		syscall(431, fd, 6, 0, 0, 0); /* fsconfig(FSCONFIG_CMD_CREATE) */
		close_if(MADE_BY(FSMOUNT, "fsmount",
				 text(",\"old_fd\":%ld,\"flags\":\"FSMOUNT_CLOEXEC\"", fd), fd, 1,
				 0),
			 "");
		close_if(fd, "");
	}
	close_if(dirfd, "");
	snprintf(queue, sizeof(queue), "copenclose-%d", getpid());
	fd = MADE(mq_open,
		  text(",\"path\":\"%s\",\"file\":\"/"
		       "%s\",\"flags\":\"O_RDWR|O_CREAT|O_EXCL\",\"mode\":\"0600\"",
		       queue, queue),
		  queue, O_RDWR | O_CREAT | O_EXCL, 0600, 0);
	close_if(fd, "");
	if (fd >= 0)
		syscall(SYS_mq_unlink, queue);
}

/* Whatever needs a descriptor says how many there are where there is none left. */
static void none_left(void)
{
	struct rlimit limit, none;
	char more[100];
	int fds[2], lowest = 0, n = 0;

	must(!getrlimit(RLIMIT_NOFILE, &limit), "trigger: ask for the limit of files");
	while (syscall(SYS_fcntl, lowest, F_GETFD) >= 0)
		lowest++;
	for (int fd = 0; fd < 1000; fd++)
		n += syscall(SYS_fcntl, fd, F_GETFD) >= 0;
	none = limit;
	none.rlim_cur = lowest;
	must(!setrlimit(RLIMIT_NOFILE, &none), "trigger: set the limit of files");
	snprintf(more, sizeof(more), ",\"fd\":null,\"open_fds\":%d,\"fd_limit\":%d", n, lowest);
	say("socket", raw(syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0)),
	    "%s,\"protocol\":\"unix-stream\"", more);
	say("socketpair", raw(syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, fds)), "%s", more);
	say("pipe2", raw(syscall(SYS_pipe2, fds, 0)), "%s,\"fd2\":null", more);
	say("dup", raw(syscall(SYS_dup, 0)), "%s,\"old_fd\":0", more);
	say("fcntl", raw(syscall(SYS_fcntl, 0, F_DUPFD, 0)), "%s,\"request\":\"F_DUPFD\"", more);
	say("eventfd2", raw(syscall(SYS_eventfd2, 0, 0)), "%s", more);
	say("epoll_create1", raw(syscall(SYS_epoll_create1, 0)), "%s", more);
	say("timerfd_create", raw(syscall(SYS_timerfd_create, CLOCK_REALTIME, 0)),
	    "%s,\"request\":\"CLOCK_REALTIME\"", more);
	say("memfd_create", raw(syscall(SYS_memfd_create, "x", 0)), "%s,\"name\":\"x\"", more);
	say("inotify_init1", raw(syscall(SYS_inotify_init1, 0)), "%s", more);
	must(!setrlimit(RLIMIT_NOFILE, &limit), "trigger: set the limit of files back");
}

void makes(const char *folder)
{
	snprintf(dir, sizeof(dir), "%s", folder);
	snprintf(file, sizeof(file), "%s/file", dir);
	must(!chdir(dir), "trigger: enter the folder");
	copies();
	pairs_of_fds();
	sockets();
	events();
	kernel_objects();
	other_files();
	none_left();
}
