//go:build ignore

// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

/*
 * Makes the calls that the tools trace, and measures how long they take.
 *
 *	generator [-c CPU] [-t THREADS | -g DIR -n PROCESSES | -x DIR -n PROGRAMS]
 *	generator -e
 *
 * Each line it reads is an order: "pairs N" opens and closes /dev/null N times,
 * "requests N" does that by requests of io_uring, one at a time, "fails N" opens N
 * files that are not there, "lives N" forks N processes, one after the other, which
 * execute this program with -e, which ends at once, and "getppid N" makes a call that
 * nobody traces. The answer is a line with the
 * nanoseconds it took, and those in which a worker was kept waiting because
 * others had its CPU. It ends with its input.
 *
 * The order "beacon 0" has no answer: until the next one comes, it tries each
 * millisecond to open /copenclose-bench/T, T being the microseconds since the
 * start, which is the first line it prints, in ns of CLOCK_MONOTONIC. The first
 * T that a tool shows is when that tool was attached. T is the dirfd too, for
 * tools that do not read the path.
 *
 * -c keeps it on one CPU. -t divides the calls among threads, and -g among
 * processes, each in a cgroup of its own below DIR. -x makes one pair as each of
 * DIR/0 to DIR/PROGRAMS-1, one after the other.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/io_uring.h>

/* How many pairs a process makes before another one's turn comes. */
#define TURN 10

enum kind { PAIRS, REQUESTS, FAILS, LIVES, GETPPID, END };

struct shared {
	pthread_barrier_t start, end;
	enum kind kind;
	long calls; /* of each worker */
	long waited;
	bool takes_turns;
};

static struct shared *shared;

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void make_pairs(long n)
{
	for (long i = 0; i < n; i++) {
		long fd = syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY);

		must(fd >= 0, "generator: open /dev/null");
		syscall(SYS_close, fd);
		if (shared->takes_turns && i % TURN == TURN - 1)
			sched_yield();
	}
}

/* A ring for one request. */
struct ring {
	int fd;
	struct io_uring_params params;
	char *rings;
	struct io_uring_sqe *entry;
};

static struct ring make_ring(void)
{
	struct ring r = {};

	r.fd = syscall(SYS_io_uring_setup, 1, &r.params);
	must(r.fd >= 0, "generator: set up a ring");
	r.rings = mmap(0, r.params.cq_off.cqes + r.params.cq_entries * sizeof(struct io_uring_cqe),
		       PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, IORING_OFF_SQ_RING);
	r.entry = mmap(0, sizeof(*r.entry), PROT_READ | PROT_WRITE, MAP_SHARED, r.fd,
		       IORING_OFF_SQES);
	must(r.rings != MAP_FAILED && r.entry != MAP_FAILED, "generator: map a ring");
	return r;
}

static int request(struct ring *r, struct io_uring_sqe entry)
{
	unsigned int *tail = (void *)(r->rings + r->params.sq_off.tail);
	unsigned int *head = (void *)(r->rings + r->params.cq_off.head);
	unsigned int *mask = (void *)(r->rings + r->params.cq_off.ring_mask);
	struct io_uring_cqe *results = (void *)(r->rings + r->params.cq_off.cqes);
	int result;

	*r->entry = entry;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	must(syscall(SYS_io_uring_enter, r->fd, 1, 1, IORING_ENTER_GETEVENTS, 0, 0) == 1,
	     "generator: submit a request");
	result = results[*head & *mask].res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return result;
}

static void make_requests(long n)
{
	static __thread struct ring r;

	if (!r.rings)
		r = make_ring();
	for (long i = 0; i < n; i++) {
		int fd = request(&r, (struct io_uring_sqe){.opcode = IORING_OP_OPENAT,
							   .fd = AT_FDCWD,
							   .addr = (unsigned long)"/dev/null"});

		must(fd >= 0, "generator: open /dev/null in a ring");
		request(&r, (struct io_uring_sqe){.opcode = IORING_OP_CLOSE, .fd = fd});
	}
}

static void make_lives(long n)
{
	char *const argv[] = {"generator", "-e", NULL};

	for (long i = 0; i < n; i++) {
		pid_t child = fork();

		if (!child) {
			execv("/proc/self/exe", argv);
			_exit(1);
		}
		must(child > 0 && waitpid(child, NULL, 0) == child, "generator: fork");
	}
}

/* Opens files that are not there, a hundred different ones. */
static void make_fails(long n)
{
	char path[32];

	for (long i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "/nowhere/%ld", i % 100);
		must(syscall(SYS_openat, AT_FDCWD, path, O_RDONLY) < 0, "generator: /nowhere");
	}
}

/* ns that this thread has waited for a CPU. */
static long waited(int schedstat)
{
	char text[64] = "";
	long ran, waited;

	must(pread(schedstat, text, sizeof(text) - 1, 0) > 0 &&
		     sscanf(text, "%ld %ld", &ran, &waited) == 2,
	     "generator: read /proc/thread-self/schedstat");
	return waited;
}

static void make_calls(int schedstat)
{
	long before = waited(schedstat);

	switch (shared->kind) {
	case REQUESTS:
		make_requests(shared->calls);
		break;
	case FAILS:
		make_fails(shared->calls);
		break;
	case LIVES:
		make_lives(shared->calls);
		break;
	case GETPPID:
		for (long i = 0; i < shared->calls; i++)
			syscall(SYS_getppid);
		break;
	default:
		make_pairs(shared->calls);
	}
	__sync_fetch_and_add(&shared->waited, waited(schedstat) - before);
}

static void *work(void *unused)
{
	int schedstat = open("/proc/thread-self/schedstat", O_RDONLY);

	for (;;) {
		pthread_barrier_wait(&shared->start);
		if (shared->kind == END)
			return unused;
		make_calls(schedstat);
		pthread_barrier_wait(&shared->end);
	}
}

static void enter_cgroup(const char *dir, int number)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%d", dir, number);
	must(!mkdir(path, 0755), path);
	strcat(path, "/cgroup.procs");
	fd = open(path, O_WRONLY);
	must(fd >= 0 && write(fd, "0", 1) == 1, path);
	close(fd);
}

static void start_workers(int workers, const char *dir)
{
	for (int i = 0; i < workers; i++) {
		pthread_t thread;
		pid_t child;

		if (!dir) {
			must(!pthread_create(&thread, 0, work, 0), "generator: create a thread");
			continue;
		}
		child = fork();
		must(child >= 0, "generator: fork");
		if (!child) {
			enter_cgroup(dir, i);
			work(0);
			_exit(0);
		}
	}
}

static void shine(long start)
{
	struct pollfd input = {.events = POLLIN};

	while (!poll(&input, 1, 1)) {
		char path[64];
		int t = (now() - start) / 1000;

		snprintf(path, sizeof(path), "/copenclose-bench/%d", t);
		syscall(SYS_openat, t, path, O_RDONLY);
	}
}

/* All workers at it, and back when the last one is done. */
static void have_calls_made(int schedstat)
{
	if (schedstat >= 0) {
		make_calls(schedstat);
		return;
	}
	pthread_barrier_wait(&shared->start);
	pthread_barrier_wait(&shared->end);
}

/* schedstat is -1 where there are workers to do it. */
static void obey(int workers, int schedstat, long start)
{
	char line[64], what[16];

	for (;;) {
		long began;

		if (!fgets(line, sizeof(line), stdin))
			break;
		must(sscanf(line, "%15s %ld", what, &shared->calls) == 2,
		     "generator: read an order");
		if (!strcmp(what, "beacon")) {
			shine(start);
			continue;
		}
		shared->calls /= workers;
		shared->kind = !strcmp(what, "getppid")	   ? GETPPID
			       : !strcmp(what, "fails")	   ? FAILS
			       : !strcmp(what, "requests") ? REQUESTS
			       : !strcmp(what, "lives")	   ? LIVES
							   : PAIRS;
		shared->waited = 0;
		began = now();
		have_calls_made(schedstat);
		printf("%ld %ld\n", now() - began, shared->waited);
	}
	shared->kind = END;
	if (schedstat < 0)
		pthread_barrier_wait(&shared->start);
}

static void stay_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	must(!sched_setaffinity(0, sizeof(set), &set), "generator: choose the CPU");
}

/* run_as_each makes a pair, and goes on as the next copy of this program. */
static void run_as_each(const char *dir, int programs, char **argv)
{
	const char *name = strrchr(argv[0], '/');
	int next = atoi(name ? name + 1 : argv[0]) + 1;
	char path[4096];

	close(open("/dev/null", O_RDONLY));
	if (next >= programs)
		exit(0);
	snprintf(path, sizeof(path), "%s/%d", dir, next);
	argv[0] = path;
	execv(path, argv);
	must(false, "generator: run the next program");
}

int main(int argc, char **argv)
{
	pthread_barrierattr_t attr;
	const char *dir = NULL, *crowd = NULL;
	int option, workers = 1, schedstat = -1;
	long start;

	while ((option = getopt(argc, argv, "c:eg:n:t:x:")) != -1) {
		switch (option) {
		case 'c':
			stay_on(atoi(optarg));
			break;
		case 'e':
			return 0;
		case 'g':
			dir = optarg;
			break;
		case 'x':
			crowd = optarg;
			break;
		case 't':
		case 'n':
			workers = atoi(optarg);
			break;
		default:
			return 2;
		}
	}
	if (crowd)
		run_as_each(crowd, workers, argv);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	must(shared != MAP_FAILED, "generator: map memory");
	shared->takes_turns = dir;
	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	must(!pthread_barrier_init(&shared->start, &attr, workers + 1) &&
		     !pthread_barrier_init(&shared->end, &attr, workers + 1),
	     "generator: make a barrier");
	shared->kind = PAIRS;
	if (workers == 1 && !dir)
		/* Threads make the calls of a process dearer, so this has none. */
		schedstat = open("/proc/thread-self/schedstat", O_RDONLY);
	else
		start_workers(workers, dir);
	/* When all have answered, all are where they belong. */
	have_calls_made(schedstat);

	setvbuf(stdout, NULL, _IOLBF, 0);
	/* poll() knows nothing of what stdio has read ahead. */
	setvbuf(stdin, NULL, _IONBF, 0);
	start = now();
	printf("%ld\n", start);
	obey(workers, schedstat, start);
	while (dir && wait(NULL) > 0)
		;
	return 0;
}
