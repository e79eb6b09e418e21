// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors
/* A program that opens files at places that it knows: the functions that lead there. */
#include "trigger.h"

#include <alloca.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

/*
 * chain_X calls the function that the next letter names, and the last one makes a
 * descriptor. Each has a frame of another kind.
 */
static const char *next_letter;
static int made;

static void follow(void);

/* So that no call is the last thing a function does, or another's. */
#define CHAIN __attribute__((noinline, noclone)) static void
#define AFTER __asm__ volatile("" ::: "memory")

CHAIN chain_a(void)
{
	follow();
	AFTER;
}

/* A frame whose size is not known before it runs. */
CHAIN chain_b(void)
{
	volatile char *more = alloca(16 + strlen(next_letter) * 8);

	more[0] = 1;
	follow();
	made += more[0] - 1;
}

/* A large one. */
CHAIN chain_c(void)
{
	volatile char more[1500];

	more[0] = 1;
	follow();
	made += more[0] - 1;
}

/* One that is aligned to more than the stack is. */
CHAIN chain_d(void)
{
	_Alignas(128) volatile char more[128];

	more[0] = 1;
	follow();
	made += more[0] - 1;
}

/* One that needs every register that a function must keep. */
CHAIN chain_e(void)
{
	volatile long in[8] = {1, 2, 3, 4, 5, 6, 7, 8};
	long a = in[0], b = in[1], c = in[2], d = in[3], e = in[4], f = in[5], g = in[6];

	follow();
	in[7] = a + b * c + d * e + f * g;
}

static void handle(int number)
{
	(void)number;
	follow();
	AFTER;
}

/* Through a signal that is handled. */
CHAIN chain_s(void)
{
	signal(SIGUSR1, handle);
	raise(SIGUSR1);
	AFTER;
}

static int compare(const void *a, const void *b)
{
	(void)a;
	(void)b;
	if (next_letter) {
		follow();
		next_letter = NULL;
	}
	return 0;
}

/* Through the C library, which calls back. */
CHAIN chain_q(void)
{
	int two[2] = {};

	qsort(two, 2, sizeof(two[0]), compare);
	AFTER;
}

CHAIN make_open(void)
{
	made = open("/dev/null", O_RDONLY);
	AFTER;
}

CHAIN make_fopen(void)
{
	made = fileno(fopen("/dev/null", "r"));
	AFTER;
}

CHAIN make_opendir(void)
{
	made = dirfd(opendir("/dev"));
	AFTER;
}

CHAIN make_socket(void)
{
	made = socket(AF_UNIX, SOCK_STREAM, 0);
	AFTER;
}

CHAIN make_dup(void)
{
	made = dup(0);
	AFTER;
}

static const struct link {
	char letter;
	void (*function)(void);
	const char *name;
} links[] = {
	{'a', chain_a, "chain_a"},	   {'b', chain_b, "chain_b"},
	{'c', chain_c, "chain_c"},	   {'d', chain_d, "chain_d"},
	{'e', chain_e, "chain_e"},	   {'s', chain_s, "chain_s handle"},
	{'q', chain_q, "chain_q compare"}, {'1', make_open, "make_open"},
	{'2', make_fopen, "make_fopen"},   {'3', make_opendir, "make_opendir"},
	{'4', make_socket, "make_socket"}, {'5', make_dup, "make_dup"},
};

static const struct link *link_of(char letter)
{
	for (unsigned long i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (links[i].letter == letter)
			return &links[i];
	must(0, "link_of");
	return NULL;
}

__attribute__((noinline, noclone)) static void follow(void)
{
	link_of(*next_letter++)->function();
	AFTER;
}

static const char *const paths[] = {"a1",     "ab2",  "abc3",  "abcd4",	   "abcde5", "d1",
				    "edcba1", "sa1",  "dsbe4", "cq1",	   "qd5",    "bbbb1",
				    "e2",     "cde4", "bdbd3", "aeaeaeae1"};

__attribute__((noinline, noclone)) static void walk(const char *path)
{
	next_letter = path;
	follow();
	AFTER;
}

/* Says the paths, then makes one descriptor by each of them every so often. */
void chains(int milliseconds)
{
	struct rlimit limit;

	must(!getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
	limit.rlim_cur = limit.rlim_max;
	must(!setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
	for (unsigned long i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		printf("{\"pid\":%d,\"_chain\":\"", getpid());
		for (const char *letter = paths[i]; *letter; letter++)
			printf("%s%s", letter == paths[i] ? "" : " ", link_of(*letter)->name);
		printf("\"}\n");
	}
	printf("{\"ready\":true}\n");
	fflush(stdout);
	for (;;) {
		for (unsigned long i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
			walk(paths[i]);
			must(made > 0, paths[i]);
		}
		usleep(1000 * milliseconds);
	}
}
