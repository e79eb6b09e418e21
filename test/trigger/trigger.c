// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors
/*
 * trigger makes known calls and prints what it did, for tests to compare with
 * what copenclose saw. Linked statically it makes no other traced calls.
 * Built with -m32 it is a 32-bit program; "int80" makes 32-bit calls from
 * whatever it is.
 *
 * A line of output is: SYSCALL ABI RESULT, the result as the kernel returns
 * it (a negative number is an errno).
 */
#include "trigger.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <sys/wait.h>

#define NATIVE_ABI (sizeof(long) == 8 ? "64" : "32")

static long did(const char *syscall_name, const char *abi, long result)
{
	printf("%s %s %ld\n", syscall_name, abi, result);
	return result;
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

/* Two calls with one handler. */
static void int80_copies(void)
{
	did("fcntl", "32", int80(55, 0, F_DUPFD, 50));
	did("fcntl64", "32", int80(221, 0, F_DUPFD, 60));
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

/* Calls that succeed and calls that fail in three ways, each n times. */
static void mix(long n)
{
	for (long i = 0; i < n; i++) {
		syscall(SYS_openat, AT_FDCWD, "/nonexistent", O_RDONLY);
		syscall(SYS_openat, AT_FDCWD, "/dev/null/below", O_RDONLY);
		syscall(SYS_close, -1);
	}
	pairs(n);
}

/*
 * Some processes of one CPU make pairs at the same time, so that one is preempted
 * wherever the kernel can be.
 */
static void crowd(int processes, long n)
{
	int start[2], status;
	cpu_set_t cpus;
	char byte;

	must(!sched_getaffinity(0, sizeof(cpus), &cpus), "trigger: ask for the CPUs");
	for (int cpu = 0, found = 0; cpu < CPU_SETSIZE; cpu++) {
		if (found)
			CPU_CLR(cpu, &cpus);
		else if (CPU_ISSET(cpu, &cpus))
			found = 1;
	}
	must(!sched_setaffinity(0, sizeof(cpus), &cpus), "trigger: stay on one CPU");
	must(!pipe(start), "trigger: make a pipe");
	for (int i = 0; i < processes; i++) {
		pid_t child = fork();

		must(child >= 0, "trigger: start a child");
		if (!child) {
			must(read(start[0], &byte, 1) == 1, "trigger: wait for the start");
			pairs(n);
			_exit(0);
		}
	}
	for (int i = 0; i < processes; i++)
		must(write(start[1], "", 1) == 1, "trigger: start the children");
	for (int i = 0; i < processes; i++)
		must(wait(&status) > 0 && !status, "trigger: run a child");
}

/* Connects to a unix socket, and waits for its end. */
static void connect_unix(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char byte;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	must(!connect(fd, (void *)&addr, sizeof(addr)), "trigger: connect");
	must(!read(fd, &byte, 1), "trigger: wait for the end of the connection");
}

static const struct {
	const char *name;
	void (*run)(void);
	void (*run_in)(const char *dir);
} subjects[] = {
	{"details", 0, details},
	{"sockets", sockets_of_all_kinds, 0},
	{"connects", outcomes, 0},
	{"signals", 0, interrupted},
	{"seccomp", filtered_by_seccomp, 0},
	{"closes", 0, closed_files},
	{"ends", 0, ends},
	{"ends-exit", exits_at_once, 0},
	{"paths", 0, gone_paths},
	{"requests", 0, requests},
	{"makes", 0, makes},
	{"receives", 0, receives},
	{"holds", 0, holds},
	{"holds-without-leader", 0, holds_without_leader},
};

static int run_subject(const char *name, const char *dir)
{
	for (size_t i = 0; i < sizeof(subjects) / sizeof(*subjects); i++) {
		if (strcmp(name, subjects[i].name) || (subjects[i].run_in && !dir))
			continue;
		if (subjects[i].run_in)
			subjects[i].run_in(dir);
		else
			subjects[i].run();
		return 1;
	}
	return 0;
}

static void usage(void)
{
	fprintf(stderr,
		"usage: trigger [hostname NAME] calls | int80 | int80-copies | pairs N | busy |\n"
		"       crowd PROCESSES N | mix N | hang THREADS MILLISECONDS | unix SOCKET |\n"
		"       sockets | connects | seccomp | ends-exit | (details | signals | closes | "
		"ends | paths "
		"| requests | makes | receives | holds |\n"
		"       holds-without-leader) DIR | holds-many N | requests-hang N |\n"
		"       request-pairs FILE N [polled] |\n"
		"       leaks (sockets | dup | nothing) MILLISECONDS | births DIR SEED ROUNDS |\n"
		"       chains MILLISECONDS | lives SEED ROUNDS\n");
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
	} else if (!strcmp(what, "int80-copies")) {
		int80_copies();
#endif
	} else if (!strcmp(what, "pairs") && argc > 2) {
		pairs(atol(argv[2]));
	} else if (!strcmp(what, "mix") && argc > 2) {
		mix(atol(argv[2]));
	} else if (!strcmp(what, "crowd") && argc > 3) {
		crowd(atoi(argv[2]), atol(argv[3]));
	} else if (!strcmp(what, "unix") && argc > 2) {
		connect_unix(argv[2]);
	} else if (!strcmp(what, "hang") && argc > 3) {
		hang(atoi(argv[2]), atoi(argv[3]));
	} else if (!strcmp(what, "requests-hang") && argc > 2) {
		hanging_requests(atoi(argv[2]));
	} else if (!strcmp(what, "request-pairs") && argc > 3) {
		request_pairs(argv[2], atol(argv[3]), argc > 4 && !strcmp(argv[4], "polled"));
	} else if (!strcmp(what, "holds-many") && argc > 2) {
		holds_many(atoi(argv[2]));
	} else if (!strcmp(what, "births") && argc > 4) {
		births(argv[2], atoi(argv[3]), atol(argv[4]));
	} else if (!strcmp(what, "leaks") && argc > 3) {
		leaks(argv[2], atoi(argv[3]));
	} else if (!strcmp(what, "chains") && argc > 2) {
		chains(atoi(argv[2]));
	} else if (!strcmp(what, "lives") && argc > 3) {
		lives(atoi(argv[2]), atoi(argv[3]));
	} else if (!strcmp(what, "busy")) {
		for (;;) {
			pairs(10);
			usleep(2000);
		}
	} else if (!run_subject(what, argc > 2 ? argv[2] : 0)) {
		usage();
	}
	return 0;
}
