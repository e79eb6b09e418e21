// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors
/*
 * Threads that share a table make, copy, pass on and close descriptors by every call
 * that can, and log what they hold: each line is a JSON object for a descriptor with
 * what a row of copenclose fds -l -d -o json must have. Keys that begin with _ are times
 * between which its call, and that which opened its file, were made.
 */
#include "trigger.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/landlock.h>
#include <linux/perf_event.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/un.h>

#define THREADS 16
#define HELD_MAX 120 /* by one thread */
#define CHILDREN 2

/* A call that made a descriptor. */
struct birth {
	const char *call;
	pid_t pid;
	int fd;
	int64_t from, to;
};

struct held {
	int fd;
	struct birth own, file; /* file: which opened its file */
};

struct thread {
	pthread_t thread;
	int number, n, listener, sender, receiver;
	unsigned int random;
	long rounds;
	struct sockaddr_un address;
	socklen_t address_len;
	struct held held[HELD_MAX];
	int64_t from, to; /* of the last call */
};

static const char *folder;

/* Makes a call, and notes when. */
#define TIMED(t, call)             \
	({                         \
		(t)->from = now(); \
		int made = (call); \
		(t)->to = now();   \
		made;              \
	})
#define CALL(t, name, ...) TIMED(t, syscall(SYS_##name, ##__VA_ARGS__))

/* Each returns how many descriptors it has made, 0 where it could not. */
#define MAKES(name, ...)                                   \
	static int make_##name(struct thread *t, int *fds) \
	{                                                  \
		fds[0] = CALL(t, name, ##__VA_ARGS__);     \
		return fds[0] >= 0;                        \
	}

#ifdef SYS_open
MAKES(open, "/dev/null", O_RDONLY)
MAKES(eventfd, 0)
MAKES(epoll_create, 1)
MAKES(inotify_init)
#endif
MAKES(openat, AT_FDCWD, "/dev/null", O_RDWR | (rand_r(&t->random) & 1 ? O_CLOEXEC : O_PATH))
MAKES(socket, AF_UNIX, SOCK_DGRAM, 0)
MAKES(eventfd2, 0, 0)
MAKES(epoll_create1, 0)
MAKES(memfd_create, "ledger", 0)
MAKES(inotify_init1, 0)
MAKES(timerfd_create, CLOCK_MONOTONIC, 0)
#ifdef SYS_memfd_secret
MAKES(memfd_secret, 0)
#endif
MAKES(fanotify_init, 0, O_RDONLY)
MAKES(pidfd_open, getpid(), 0)
MAKES(userfaultfd, 0)
MAKES(open_tree, AT_FDCWD, "/", 0)
MAKES(fsopen, "tmpfs", 0)
MAKES(fspick, AT_FDCWD, "/", 0)

static int make_openat2(struct thread *t, int *fds)
{
	uint64_t how[3] = {O_RDONLY};

	fds[0] = CALL(t, openat2, AT_FDCWD, "/dev/zero", how, sizeof(how));
	return fds[0] >= 0;
}

#ifdef SYS_creat
static int make_creat(struct thread *t, int *fds)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%d", folder, t->number);
	fds[0] = CALL(t, creat, path, 0600);
	return fds[0] >= 0;
}
#endif

static int make_open_by_handle_at(struct thread *t, int *fds)
{
	struct {
		struct file_handle handle;
		char bytes[MAX_HANDLE_SZ];
	} of = {.handle.handle_bytes = MAX_HANDLE_SZ};
	int mount_id, mount = open(folder, O_RDONLY);

	fds[0] = -1;
	if (!name_to_handle_at(AT_FDCWD, folder, &of.handle, &mount_id, 0))
		fds[0] = CALL(t, open_by_handle_at, mount, &of.handle, O_RDONLY);
	close(mount);
	return fds[0] >= 0;
}

static int make_socketpair(struct thread *t, int *fds)
{
	return CALL(t, socketpair, AF_UNIX, SOCK_STREAM, 0, fds) ? 0 : 2;
}

#ifdef SYS_pipe
static int make_pipe(struct thread *t, int *fds)
{
	return CALL(t, pipe, fds) ? 0 : 2;
}
#endif

static int make_pipe2(struct thread *t, int *fds)
{
	return CALL(t, pipe2, fds, O_CLOEXEC) ? 0 : 2;
}

static int connect_to_itself(struct thread *t)
{
	int client = socket(AF_UNIX, SOCK_STREAM, 0);

	must(!connect(client, (void *)&t->address, t->address_len), "connect");
	return client;
}

#ifdef SYS_accept
static int make_accept(struct thread *t, int *fds)
{
	int client = connect_to_itself(t);

	fds[0] = CALL(t, accept, t->listener, 0, 0);
	close(client);
	return fds[0] >= 0;
}
#endif

static int make_accept4(struct thread *t, int *fds)
{
	int client = connect_to_itself(t);

	fds[0] = CALL(t, accept4, t->listener, 0, 0, SOCK_CLOEXEC);
	close(client);
	return fds[0] >= 0;
}

static int make_signalfd4(struct thread *t, int *fds)
{
	uint64_t set = 1 << SIGUSR1;

	fds[0] = CALL(t, signalfd4, -1, &set, sizeof(set), 0);
	if (fds[0] < 0)
		return 0;
	/* This one makes nothing, though it returns a descriptor. */
	must(syscall(SYS_signalfd4, fds[0], &set, sizeof(set), 0) == fds[0], "signalfd4");
	return 1;
}

static int make_perf_event_open(struct thread *t, int *fds)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE, .size = sizeof(attr), .config = PERF_COUNT_SW_DUMMY};

	fds[0] = CALL(t, perf_event_open, &attr, 0, -1, -1, 0);
	return fds[0] >= 0;
}

static int make_bpf(struct thread *t, int *fds)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 1};

	fds[0] = CALL(t, bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
	if (fds[0] < 0)
		return 0;
	/*
	 * A command that returns 0, which is a descriptor, too; not one that changes a map:
	 * where the kernel preempts that, it hides others' calls, see docs/DESCRIPTORS.md.
	 */
	memset(&attr, 0, sizeof(attr));
	attr.map_fd = fds[0];
	must(!syscall(SYS_bpf, BPF_MAP_FREEZE, &attr, sizeof(attr)), "bpf");
	return 1;
}

static int make_io_uring_setup(struct thread *t, int *fds)
{
	char params[120] = {};

	fds[0] = CALL(t, io_uring_setup, 1, params);
	return fds[0] >= 0;
}

static int make_mq_open(struct thread *t, int *fds)
{
	char name[32];

	snprintf(name, sizeof(name), "births-%d-%d", getpid(), t->number);
	fds[0] = CALL(t, mq_open, name, O_CREAT | O_RDWR, 0600, 0);
	syscall(SYS_mq_unlink, name);
	return fds[0] >= 0;
}

static int make_fsmount(struct thread *t, int *fds)
{
	int context = syscall(SYS_fsopen, "tmpfs", 0);

	fds[0] = -1;
	if (context >= 0 && !syscall(SYS_fsconfig, context, 6 /* FSCONFIG_CMD_CREATE */, 0, 0, 0))
		fds[0] = CALL(t, fsmount, context, 0, 0);
	close(context);
	return fds[0] >= 0;
}

static int make_landlock_create_ruleset(struct thread *t, int *fds)
{
	uint64_t attr = 1;

	fds[0] = CALL(t, landlock_create_ruleset, &attr, sizeof(attr), 0);
	return fds[0] >= 0;
}

/* The rare ones are slow, or few are allowed. */
#define MAKER(name, weight)                \
	{                                  \
#name, make_##name, weight \
	}
static const struct {
	const char *name;
	int (*make)(struct thread *t, int *fds);
	int weight;
} makers[] = {
#ifdef SYS_open
	MAKER(open, 8),
	MAKER(eventfd, 4),
	MAKER(epoll_create, 4),
	MAKER(inotify_init, 1),
#endif
	MAKER(openat, 16),
	MAKER(openat2, 8),
#ifdef SYS_creat
	MAKER(creat, 4),
#endif
	MAKER(open_by_handle_at, 2),
	MAKER(socket, 16),
#ifdef SYS_accept
	MAKER(accept, 8),
#endif
	MAKER(accept4, 8),
	MAKER(socketpair, 8),
#ifdef SYS_pipe
	MAKER(pipe, 4),
#endif
	MAKER(pipe2, 8),
	MAKER(eventfd2, 8),
	MAKER(epoll_create1, 8),
	MAKER(memfd_create, 4),
#ifdef SYS_memfd_secret
	MAKER(memfd_secret, 1),
#endif
	MAKER(inotify_init1, 1),
	MAKER(fanotify_init, 1),
	MAKER(timerfd_create, 8),
	MAKER(signalfd4, 4),
	MAKER(pidfd_open, 4),
	MAKER(perf_event_open, 1),
	MAKER(bpf, 1),
	MAKER(userfaultfd, 2),
	MAKER(io_uring_setup, 1),
	MAKER(mq_open, 1),
	MAKER(open_tree, 2),
	MAKER(fsopen, 1),
	MAKER(fsmount, 1),
	MAKER(fspick, 1),
	MAKER(landlock_create_ruleset, 2),
};

/* Each makes a descriptor of the same file as fd, of a held one over that one's. */
#define COPIES(name, ...)                                          \
	static int copy_##name(struct thread *t, int fd, int over) \
	{                                                          \
		return CALL(t, name, ##__VA_ARGS__);               \
	}

#ifdef SYS_fcntl64
#define FCNTL fcntl64
#else
#define FCNTL fcntl
#endif
#define COPIES_BY(name, ...) COPIES(name, ##__VA_ARGS__)

COPIES(dup, fd)
#ifdef SYS_dup2
COPIES(dup2, fd, over)
#endif
COPIES(dup3, fd, over, O_CLOEXEC)
COPIES_BY(FCNTL, fd, F_DUPFD, 700)

static int copy_pidfd_getfd(struct thread *t, int fd, int over)
{
	int pidfd = syscall(SYS_pidfd_open, getpid(), 0), copy;

	copy = CALL(t, pidfd_getfd, pidfd, fd, 0);
	close(pidfd);
	return copy;
}

static int copy_message(struct thread *t, int fd, int many)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	char byte = 0;
	struct iovec data = {&byte, 1};
	struct mmsghdr vector = {.msg_hdr = {.msg_iov = &data,
					     .msg_iovlen = 1,
					     .msg_control = &control,
					     .msg_controllen = sizeof(control)}};
	int copy;

	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	if (sendmsg(t->sender, &vector.msg_hdr, 0) != 1)
		return -1; /* a socket of io_uring cannot be sent */
	if (many)
		must(CALL(t, recvmmsg, t->receiver, &vector, 1, 0, NULL) == 1, "recvmmsg");
	else
		must(TIMED(t, recvmsg(t->receiver, &vector.msg_hdr, 0)) == 1, "recvmsg");
	must(vector.msg_hdr.msg_controllen > 0, "receive a descriptor");
	memcpy(&copy, CMSG_DATA(&control.header), sizeof(copy));
	return copy;
}

static int copy_recvmsg(struct thread *t, int fd, int over)
{
	return copy_message(t, fd, 0);
}

static int copy_recvmmsg(struct thread *t, int fd, int over)
{
	return copy_message(t, fd, 1);
}

#define COPIER(name)               \
	{                          \
#name, copy_##name \
	}
#define COPIER_BY(name) COPIER(name)
static const struct {
	const char *name;
	int (*copy)(struct thread *t, int fd, int over);
} copiers[] = {
	COPIER(dup),
#ifdef SYS_dup2
	COPIER(dup2),
#endif
	COPIER(dup3), COPIER_BY(FCNTL), COPIER(pidfd_getfd), COPIER(recvmsg), COPIER(recvmmsg),
};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* What holds nothing any more is overwritten by the last one. */
static void drop(struct thread *t, int i)
{
	t->held[i] = t->held[--t->n];
}

static struct held *hold_new(struct thread *t, const char *call, int fd)
{
	struct held *h = &t->held[t->n++];

	h->fd = fd;
	h->own = (struct birth){call, getpid(), fd, t->from, t->to};
	h->file = h->own;
	return h;
}

static void make_some(struct thread *t, int which)
{
	int fds[2], n = makers[which].make(t, fds);

	for (int i = 0; i < n; i++)
		hold_new(t, makers[which].name, fds[i]);
}

static void make_one(struct thread *t)
{
	int all = 0, chosen;

	for (size_t i = 0; i < COUNT(makers); i++)
		all += makers[i].weight;
	chosen = rand_r(&t->random) % all;
	for (size_t i = 0; i < COUNT(makers); i++) {
		if (chosen < makers[i].weight) {
			make_some(t, i);
			return;
		}
		chosen -= makers[i].weight;
	}
}

static void copy_one(struct thread *t)
{
	int from = rand_r(&t->random) % t->n, over = rand_r(&t->random) % t->n;
	size_t by = rand_r(&t->random) % COUNT(copiers);
	struct birth file = t->held[from].file;
	int fd;

	if (from == over)
		return;
	fd = copiers[by].copy(t, t->held[from].fd, t->held[over].fd);
	if (fd < 0)
		return;
	if (fd == t->held[over].fd)
		drop(t, over);
	hold_new(t, copiers[by].name, fd)->file = file;
}

static void close_one(struct thread *t)
{
	int i = rand_r(&t->random) % t->n, fd = t->held[i].fd;

	if (rand_r(&t->random) % 4 || syscall(SYS_close_range, fd, fd, 0))
		close(fd);
	drop(t, i);
}

static void *work(void *arg)
{
	struct thread *t = arg;

	for (long i = 0; i < t->rounds; i++) {
		int chosen = rand_r(&t->random) % 16;

		if (t->n > HELD_MAX - 3 || (t->n > 10 && chosen < 7))
			close_one(t);
		else if (t->n > 10 && chosen < 11)
			copy_one(t);
		else
			make_one(t);
	}
	return 0;
}

static void prepare(struct thread *t, int number, unsigned int seed, long rounds)
{
	int pair[2];

	t->number = number;
	t->random = seed + number;
	t->rounds = rounds;
	t->address.sun_family = AF_UNIX;
	snprintf(t->address.sun_path + 1, sizeof(t->address.sun_path) - 1, "births-%d-%d", getpid(),
		 number);
	t->address_len =
		offsetof(struct sockaddr_un, sun_path) + 1 + strlen(t->address.sun_path + 1);
	t->listener = CALL(t, socket, AF_UNIX, SOCK_STREAM, 0);
	must(!bind(t->listener, (void *)&t->address, t->address_len) && !listen(t->listener, 8),
	     "listen");
	hold_new(t, "socket", t->listener);
	must(!CALL(t, socketpair, AF_UNIX, SOCK_SEQPACKET, 0, pair), "socketpair");
	hold_new(t, "socketpair", t->sender = pair[0]);
	hold_new(t, "socketpair", t->receiver = pair[1]);
}

/* What a thread needs itself is none of what it closes. */
static void keep(struct thread *t, struct thread *kept)
{
	memcpy(kept->held, t->held, sizeof(kept->held));
	kept->n = t->n;
	t->n = 0;
}

static void say_held(const struct thread *t)
{
	for (int i = 0; i < t->n; i++) {
		const struct held *h = &t->held[i];

		printf("{\"pid\":%d,\"fd\":%d,\"how\":\"%s\",\"_from\":%lld,\"_to\":%lld,"
		       "\"_file_from\":%lld,\"_file_to\":%lld,\"_by\":\"%d fd %d %s\"}\n",
		       getpid(), h->fd, h->own.call, (long long)h->own.from, (long long)h->own.to,
		       (long long)h->file.from, (long long)h->file.to, h->file.pid, h->file.fd,
		       h->file.call);
	}
}

/* A child has what fork gave it, closes some of that, and makes more. */
static void be_child(struct thread *t, struct thread *kept, int64_t from, unsigned int seed)
{
	int64_t to = now();

	for (int i = 0; i < THREADS; i++) {
		for (int j = 0; j < t[i].n + kept[i].n; j++) {
			struct held *h = j < t[i].n ? &t[i].held[j] : &kept[i].held[j - t[i].n];

			h->own = (struct birth){"inherited", getpid(), h->fd, from, to};
		}
		t[i].random = seed + i;
		t[i].rounds /= 256;
		work(&t[i]);
		say_held(&t[i]);
		say_held(&kept[i]);
	}
	fflush(stdout);
}

void births(const char *dir, unsigned int seed, long rounds)
{
	struct thread *t = calloc(THREADS, sizeof(*t)), *kept = calloc(THREADS, sizeof(*kept));
	int *said = shared_memory(sizeof(*said));
	pid_t parent = getpid();
	struct rlimit limit;

	folder = dir;
	must(!getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
	limit.rlim_cur = limit.rlim_max;
	must(!setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
	for (int i = 0; i < THREADS; i++) {
		prepare(&t[i], i, seed, rounds);
		keep(&t[i], &kept[i]);
	}
	for (int i = 0; i < THREADS; i++)
		must(!pthread_create(&t[i].thread, 0, work, &t[i]), "pthread_create");
	for (int i = 0; i < THREADS; i++)
		must(!pthread_join(t[i].thread, 0), "pthread_join");
	for (int i = 1; i <= CHILDREN; i++) {
		int64_t from = now();

		fflush(stdout);
		if (!fork()) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (getppid() != parent)
				_exit(0);
			be_child(t, kept, from, seed * (i + 1));
			__atomic_store_n(said, i, __ATOMIC_SEQ_CST);
			for (;;)
				pause();
		}
		while (__atomic_load_n(said, __ATOMIC_SEQ_CST) < i)
			sched_yield();
	}
	for (int i = 0; i < THREADS; i++) {
		say_held(&t[i]);
		say_held(&kept[i]);
	}
	wait_for_end(0);
}
