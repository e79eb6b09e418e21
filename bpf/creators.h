/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_CREATORS_H
#define COPENCLOSE_CREATORS_H

#include "syscalls.h"

/* How a call makes descriptors. */
enum creation {
	MAKES, /* the result is one, of a new file */
	MAKES_SIGNALFD,
	MAKES_BY_COMMAND,
	MAKES_PAIR,	  /* of new files, at the first argument */
	MAKES_SOCKETPAIR, /* likewise at the fourth */
	COPIES,		  /* the result is one more of a file that was open */
	COPIES_ONTO,
	COPIES_BY_COMMAND,
	RECEIVES, /* such ones, in a message at the second argument */
};

/*
 * The calls that make descriptors, in the order of creators.go, and how: numbers on
 * x86-64, i386, arm64 and arm.
 */
/* clang-format off */
#define CREATORS(ROW) \
	ROW(open, MAKES, 2, 5, NO_NUMBER, 5) \
	ROW(openat, MAKES, 257, 295, 56, 322) \
	ROW(openat2, MAKES, 437, 437, 437, 437) \
	ROW(creat, MAKES, 85, 8, NO_NUMBER, 8) \
	ROW(open_by_handle_at, MAKES, 304, 342, 265, 371) \
	ROW(socket, MAKES, 41, 359, 198, 281) \
	ROW(accept, MAKES, 43, NO_NUMBER, 202, 285) \
	ROW(accept4, MAKES, 288, 364, 242, 366) \
	ROW(socketpair, MAKES_SOCKETPAIR, 53, 360, 199, 288) \
	ROW(pipe, MAKES_PAIR, 22, 42, NO_NUMBER, 42) \
	ROW(pipe2, MAKES_PAIR, 293, 331, 59, 359) \
	ROW(eventfd, MAKES, 284, 323, NO_NUMBER, 351) \
	ROW(eventfd2, MAKES, 290, 328, 19, 356) \
	ROW(epoll_create, MAKES, 213, 254, NO_NUMBER, 250) \
	ROW(epoll_create1, MAKES, 291, 329, 20, 357) \
	ROW(memfd_create, MAKES, 319, 356, 279, 385) \
	ROW(memfd_secret, MAKES, 447, 447, 447, NO_NUMBER) \
	ROW(inotify_init, MAKES, 253, 291, NO_NUMBER, 316) \
	ROW(inotify_init1, MAKES, 294, 332, 26, 360) \
	ROW(fanotify_init, MAKES, 300, 338, 262, 367) \
	ROW(timerfd_create, MAKES, 283, 322, 85, 350) \
	ROW(signalfd, MAKES_SIGNALFD, 282, 321, NO_NUMBER, 349) \
	ROW(signalfd4, MAKES_SIGNALFD, 289, 327, 74, 355) \
	ROW(pidfd_open, MAKES, 434, 434, 434, 434) \
	ROW(perf_event_open, MAKES, 298, 336, 241, 364) \
	ROW(bpf, MAKES_BY_COMMAND, 321, 357, 280, 386) \
	ROW(userfaultfd, MAKES, 323, 374, 282, 388) \
	ROW(io_uring_setup, MAKES, 425, 425, 425, 425) \
	ROW(mq_open, MAKES, 240, 277, 180, 274) \
	ROW(open_tree, MAKES, 428, 428, 428, 428) \
	ROW(fsopen, MAKES, 430, 430, 430, 430) \
	ROW(fsmount, MAKES, 432, 432, 432, 432) \
	ROW(fspick, MAKES, 433, 433, 433, 433) \
	ROW(landlock_create_ruleset, MAKES, 444, 444, 444, 444) \
	ROW(dup, COPIES, 32, 41, 23, 41) \
	ROW(dup2, COPIES_ONTO, 33, 63, NO_NUMBER, 63) \
	ROW(dup3, COPIES, 292, 330, 24, 358) \
	ROW(fcntl, COPIES_BY_COMMAND, 72, 55, 25, 55) \
	ROW(fcntl64, COPIES_BY_COMMAND, NO_NUMBER, 221, NO_NUMBER, 221) \
	ROW(pidfd_getfd, COPIES, 438, 438, 438, 438) \
	ROW(recvmsg, RECEIVES, 47, 372, 212, 297)
/* clang-format on */

#define CREATOR_ENUM(name, ...) MADE_BY_##name,
enum creator {
	CREATORS(CREATOR_ENUM) MADE_BY_COUNT,
};

#endif
