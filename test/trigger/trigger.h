/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef TRIGGER_H
#define TRIGGER_H

#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/*
 * Programs say what they did: each line is a JSON object with what an event of
 * copenclose -o json must have; null is a key that it must not have. Keys that
 * begin with _ say more to the test:
 *
 *	_latency_at_least, _latency_at_most	bounds of latency_ns
 *	_any_order	the row comes at any time
 *	_refused	the call did not reach its handler
 *	_not_file	what file must not be
 *	_may_end	closed may end early, but has 8 files at least
 *	_no_latency	how long it took may not be there
 *	_since	older kernels show no such row
 *	_again	another row of a request that has one
 *
 * {"skip":"why"} says that the kernel lacks something.
 */

/* Whose call it was. */
struct caller {
	pid_t pid, tid, ppid;
};

/* A result that the program never got, so that it can say none. */
#define NO_RESULT LONG_MIN

/* The result as the kernel returned it, before libc split it in two. */
static inline long raw(long result)
{
	return result == -1 ? -errno : result;
}

struct caller self(void);
long say_of(struct caller caller, const char *name, long ret, const char *more, ...)
	__attribute__((format(printf, 4, 5)));
long say(const char *name, long ret, const char *more, ...) __attribute__((format(printf, 3, 4)));
void skip(const char *what, const char *why);
void must(int ok, const char *what);

#define SAY(name, more, ...) say(#name, raw(syscall(SYS_##name, ##__VA_ARGS__)), more)
#define SAY_CLOSE(fd, more, ...) \
	say("close", raw(syscall(SYS_close, fd)), ",\"fd\":%d" more, (int)(fd), ##__VA_ARGS__)

/* How connect and accept are called: i386 can do it in two ways. */
#ifdef SYS_accept
#define ACCEPT_NUMBER SYS_accept
#else
#define ACCEPT_NUMBER SYS_socketcall
#endif
long do_connect(int fd, const void *addr, socklen_t len);
long do_accept(int fd);
int listen_on(const void *addr, socklen_t len);

/*
 * A helper does what a call waits for. It has a name of its own: what it calls
 * itself is nobody's concern.
 */
#define HELPER_COMM "helper"
void be_helper(void);
pid_t start_helper(void (*help)(void));
void join_helper(pid_t helper);
void await_blocked(pid_t pid, pid_t tid, long number);
void await_state(pid_t pid, pid_t tid, char state);
void *shared_memory(size_t size);
int64_t now(void);

void details(const char *dir);
void sockets_of_all_kinds(void);
void outcomes(void);
void interrupted(const char *dir);
void filtered_by_seccomp(void);
void closed_files(const char *dir);
void ends(const char *dir);
void exits_at_once(void);
void gone_paths(const char *dir);
void requests(const char *dir);
void makes(const char *dir);
void receives(const char *dir);
void hanging_requests(int n);
void request_pairs(const char *path, long n, int polled);
void holds(const char *dir);
void holds_without_leader(const char *dir);
void holds_many(int n);
void *wait_for_end(void *unused);
void births(const char *dir, unsigned int seed, long rounds);
void leaks(const char *kind, int milliseconds);
void chains(int milliseconds);
void lives(int seed, int rounds);
void hang(int threads, int milliseconds);

#endif
