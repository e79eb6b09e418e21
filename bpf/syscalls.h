/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_SYSCALLS_H
#define COPENCLOSE_SYSCALLS_H

/*
 * Generated from syscalls.go by go generate ./bpf; do not edit.
 *
 * One row per traced syscall: name, then its number on x86-64, i386, arm64 and arm,
 * which descriptors it makes, the flags that it implies, and the roles of its arguments.
 */
/* clang-format off */
enum creation {
	MAKES_NONE,
	MAKES_ONE,
	MAKES_SIGNALFD,
	MAKES_BY_COMMAND,
	MAKES_WITHOUT_FLAGS,
	MAKES_PAIR,
	COPIES_ONE,
	COPIES_ONTO,
	COPIES_BY_COMMAND,
	RECEIVES,
};

#define NO_NUMBER 0xffff
#define DEFAULT_SYSCALLS(ROW) \
	ROW(open, 2, 5, NO_NUMBER, 5, MAKES_ONE, 0, TEXT, FLAGS, MODE, UNUSED) \
	ROW(openat, 257, 295, 56, 322, MAKES_ONE, 0, FD, TEXT, FLAGS, MODE) \
	ROW(openat2, 437, 437, 437, 437, MAKES_ONE, 0, FD, TEXT, HOW, UNUSED) \
	ROW(creat, 85, 8, NO_NUMBER, 8, MAKES_ONE, 01101, TEXT, MODE, UNUSED, UNUSED) \
	ROW(accept, 43, NO_NUMBER, 202, 285, MAKES_ONE, 0, FD, UNUSED, UNUSED, UNUSED) \
	ROW(accept4, 288, 364, 242, 366, MAKES_ONE, 0, FD, UNUSED, UNUSED, FLAGS) \
	ROW(connect, 42, 362, 203, 283, MAKES_NONE, 0, FD, TEXT, LEN, UNUSED) \
	ROW(close, 3, 6, 57, 6, MAKES_NONE, 0, FD, UNUSED, UNUSED, UNUSED) \
	ROW(close_range, 436, 436, 436, 436, MAKES_NONE, 0, FD, LAST_FD, FLAGS, UNUSED) \
	ROW(dup2, 33, 63, NO_NUMBER, 63, COPIES_ONTO, 0, OTHER, FD, UNUSED, UNUSED) \
	ROW(dup3, 292, 330, 24, 358, COPIES_ONE, 0, OTHER, FD, FLAGS, UNUSED)

#define OTHER_SYSCALLS(ROW) \
	ROW(dup, 32, 41, 23, 41, COPIES_ONE, 0, OTHER, UNUSED, UNUSED, UNUSED) \
	ROW(fcntl, 72, 55, 25, 55, COPIES_BY_COMMAND, 0, OTHER, REQUEST, MODE, UNUSED) \
	ROW(fcntl64, NO_NUMBER, 221, NO_NUMBER, 221, COPIES_BY_COMMAND, 0, OTHER, REQUEST, MODE, UNUSED) \
	ROW(socket, 41, 359, 198, 281, MAKES_ONE, 0, FAMILY, TYPE, PROTOCOL, UNUSED) \
	ROW(socketpair, 53, 360, 199, 288, MAKES_PAIR, 0, FAMILY, TYPE, PROTOCOL, FDS) \
	ROW(bind, 49, 361, 200, 282, MAKES_NONE, 0, FD, TEXT, LEN, UNUSED) \
	ROW(listen, 50, 363, 201, 284, MAKES_NONE, 0, FD, MODE, UNUSED, UNUSED) \
	ROW(pipe, 22, 42, NO_NUMBER, 42, MAKES_PAIR, 0, FDS, UNUSED, UNUSED, UNUSED) \
	ROW(pipe2, 293, 331, 59, 359, MAKES_PAIR, 0, FDS, FLAGS, UNUSED, UNUSED) \
	ROW(eventfd, 284, 323, NO_NUMBER, 351, MAKES_ONE, 0, MODE, UNUSED, UNUSED, UNUSED) \
	ROW(eventfd2, 290, 328, 19, 356, MAKES_ONE, 0, MODE, FLAGS, UNUSED, UNUSED) \
	ROW(timerfd_create, 283, 322, 85, 350, MAKES_ONE, 0, REQUEST, FLAGS, UNUSED, UNUSED) \
	ROW(signalfd, 282, 321, NO_NUMBER, 349, MAKES_SIGNALFD, 0, UNUSED, SIGNALS, UNUSED, UNUSED) \
	ROW(signalfd4, 289, 327, 74, 355, MAKES_SIGNALFD, 0, UNUSED, SIGNALS, UNUSED, FLAGS) \
	ROW(epoll_create, 213, 254, NO_NUMBER, 250, MAKES_ONE, 0, MODE, UNUSED, UNUSED, UNUSED) \
	ROW(epoll_create1, 291, 329, 20, 357, MAKES_ONE, 0, FLAGS, UNUSED, UNUSED, UNUSED) \
	ROW(inotify_init, 253, 291, NO_NUMBER, 316, MAKES_ONE, 0, UNUSED, UNUSED, UNUSED, UNUSED) \
	ROW(inotify_init1, 294, 332, 26, 360, MAKES_ONE, 0, FLAGS, UNUSED, UNUSED, UNUSED) \
	ROW(fanotify_init, 300, 338, 262, 367, MAKES_ONE, 0, FLAGS, UNUSED, UNUSED, UNUSED) \
	ROW(memfd_create, 319, 356, 279, 385, MAKES_ONE, 0, TEXT, FLAGS, UNUSED, UNUSED) \
	ROW(memfd_secret, 447, 447, 447, NO_NUMBER, MAKES_ONE, 0, FLAGS, UNUSED, UNUSED, UNUSED) \
	ROW(pidfd_open, 434, 434, 434, 434, MAKES_ONE, 0, OTHER, FLAGS, UNUSED, UNUSED) \
	ROW(pidfd_getfd, 438, 438, 438, 438, COPIES_ONE, 0, MODE, OTHER, UNUSED, UNUSED) \
	ROW(open_by_handle_at, 304, 342, 265, 371, MAKES_ONE, 0, FD, UNUSED, FLAGS, UNUSED) \
	ROW(open_tree, 428, 428, 428, 428, MAKES_ONE, 0, FD, TEXT, FLAGS, UNUSED) \
	ROW(fsopen, 430, 430, 430, 430, MAKES_ONE, 0, TEXT, FLAGS, UNUSED, UNUSED) \
	ROW(fspick, 433, 433, 433, 433, MAKES_ONE, 0, FD, TEXT, FLAGS, UNUSED) \
	ROW(fsmount, 432, 432, 432, 432, MAKES_ONE, 0, OTHER, FLAGS, UNUSED, UNUSED) \
	ROW(userfaultfd, 323, 374, 282, 388, MAKES_ONE, 0, FLAGS, UNUSED, UNUSED, UNUSED) \
	ROW(perf_event_open, 298, 336, 241, 364, MAKES_ONE, 0, EVENT, OTHER, MODE, UNUSED) \
	ROW(bpf, 321, 357, 280, 386, MAKES_BY_COMMAND, 0, REQUEST, UNUSED, UNUSED, UNUSED) \
	ROW(mq_open, 240, 277, 180, 274, MAKES_ONE, 0, TEXT, FLAGS, MODE, UNUSED) \
	ROW(io_uring_setup, 425, 425, 425, 425, MAKES_ONE, 0, MODE, RING, UNUSED, UNUSED) \
	ROW(landlock_create_ruleset, 444, 444, 444, 444, MAKES_WITHOUT_FLAGS, 0, UNUSED, UNUSED, UNUSED, UNUSED) \
	ROW(recvmsg, 47, 372, 212, 297, RECEIVES, 0, OTHER, UNUSED, FLAGS, UNUSED) \
	ROW(recvmmsg, 299, 337, 243, 365, RECEIVES, 0, OTHER, UNUSED, UNUSED, FLAGS) \
	ROW(recvmmsg_time64, NO_NUMBER, 417, NO_NUMBER, 417, RECEIVES, 0, OTHER, UNUSED, UNUSED, FLAGS)

/* What is no syscall, but happens to a process. */
#define EVENTS(ROW) \
	ROW(exec, NO_NUMBER, NO_NUMBER, NO_NUMBER, NO_NUMBER, MAKES_NONE, 0, UNUSED, UNUSED, UNUSED, UNUSED) \
	ROW(exit, NO_NUMBER, NO_NUMBER, NO_NUMBER, NO_NUMBER, MAKES_NONE, 0, UNUSED, UNUSED, UNUSED, UNUSED)

#define SYSCALLS(ROW) DEFAULT_SYSCALLS(ROW) OTHER_SYSCALLS(ROW)

/* Those that socketcall(2) has, by their number there. */
#define SOCKETCALLS(ROW) \
	ROW(5, accept) \
	ROW(18, accept4) \
	ROW(3, connect) \
	ROW(1, socket) \
	ROW(8, socketpair) \
	ROW(2, bind) \
	ROW(4, listen) \
	ROW(17, recvmsg) \
	ROW(19, recvmmsg)

#define SYSCALL_ENUM(name, ...) SYS_##name,
enum syscall {
	SYSCALLS(SYSCALL_ENUM) EVENTS(SYSCALL_ENUM) SYS_COUNT,
};

/* Sets of syscalls, a bit for each. */
#define BIT(name) (1ULL << SYS_##name)
#define OTHERS \
	(BIT(dup) | BIT(fcntl) | BIT(fcntl64) | BIT(socket) | BIT(socketpair) | BIT(bind) | BIT(listen) | BIT(pipe) | BIT(pipe2) | BIT(eventfd) | BIT(eventfd2) | BIT(timerfd_create) | BIT(signalfd) | BIT(signalfd4) | BIT(epoll_create) | BIT(epoll_create1) | BIT(inotify_init) | BIT(inotify_init1) | BIT(fanotify_init) | BIT(memfd_create) | BIT(memfd_secret) | BIT(pidfd_open) | BIT(pidfd_getfd) | BIT(open_by_handle_at) | BIT(open_tree) | BIT(fsopen) | BIT(fspick) | BIT(fsmount) | BIT(userfaultfd) | BIT(perf_event_open) | BIT(bpf) | BIT(mq_open) | BIT(io_uring_setup) | BIT(landlock_create_ruleset) | BIT(recvmsg) | BIT(recvmmsg) | BIT(recvmmsg_time64))
#define IS_EVENT \
	(BIT(exec) | BIT(exit))
#define MAKES_FD \
	(BIT(open) | BIT(openat) | BIT(openat2) | BIT(creat) | BIT(accept) | BIT(accept4) | BIT(dup2) | BIT(dup3) | BIT(dup) | BIT(fcntl) | BIT(fcntl64) | BIT(socket) | BIT(eventfd) | BIT(eventfd2) | BIT(timerfd_create) | BIT(signalfd) | BIT(signalfd4) | BIT(epoll_create) | BIT(epoll_create1) | BIT(inotify_init) | BIT(inotify_init1) | BIT(fanotify_init) | BIT(memfd_create) | BIT(memfd_secret) | BIT(pidfd_open) | BIT(pidfd_getfd) | BIT(open_by_handle_at) | BIT(open_tree) | BIT(fsopen) | BIT(fspick) | BIT(fsmount) | BIT(userfaultfd) | BIT(perf_event_open) | BIT(bpf) | BIT(mq_open) | BIT(io_uring_setup) | BIT(landlock_create_ruleset))
#define MAKES_FDS \
	(BIT(socketpair) | BIT(pipe) | BIT(pipe2))
#define RECEIVES_FDS \
	(BIT(recvmsg) | BIT(recvmmsg) | BIT(recvmmsg_time64))
#define MAKES_SOMETIMES \
	(BIT(fcntl) | BIT(fcntl64) | BIT(signalfd) | BIT(signalfd4) | BIT(bpf) | BIT(landlock_create_ruleset))
#define SHARES_HANDLER \
	(BIT(fcntl) | BIT(fcntl64))
#define CLOSES \
	(BIT(close) | BIT(close_range) | BIT(dup2) | BIT(dup3))
#define HAS_PATH \
	(BIT(open) | BIT(openat) | BIT(openat2) | BIT(creat) | BIT(open_tree) | BIT(fspick) | BIT(mq_open))
#define HAS_NAME \
	(BIT(memfd_create) | BIT(fsopen))
#define HAS_ADDRESS \
	(BIT(connect))
#define HAS_OWN_ADDRESS \
	(BIT(bind))
#define HAS_FAMILY \
	(BIT(socket) | BIT(socketpair))
#define IS_ON_FD \
	(BIT(listen))

/* Calls that make descriptors, in the order of Creators; rows as above. */
#define CREATORS(ROW) \
	ROW(open, 2, 5, NO_NUMBER, 5, MAKES_ONE) \
	ROW(openat, 257, 295, 56, 322, MAKES_ONE) \
	ROW(openat2, 437, 437, 437, 437, MAKES_ONE) \
	ROW(creat, 85, 8, NO_NUMBER, 8, MAKES_ONE) \
	ROW(accept, 43, NO_NUMBER, 202, 285, MAKES_ONE) \
	ROW(accept4, 288, 364, 242, 366, MAKES_ONE) \
	ROW(dup2, 33, 63, NO_NUMBER, 63, COPIES_ONTO) \
	ROW(dup3, 292, 330, 24, 358, COPIES_ONE) \
	ROW(dup, 32, 41, 23, 41, COPIES_ONE) \
	ROW(fcntl, 72, 55, 25, 55, COPIES_BY_COMMAND) \
	ROW(fcntl64, NO_NUMBER, 221, NO_NUMBER, 221, COPIES_BY_COMMAND) \
	ROW(socket, 41, 359, 198, 281, MAKES_ONE) \
	ROW(socketpair, 53, 360, 199, 288, MAKES_PAIR) \
	ROW(pipe, 22, 42, NO_NUMBER, 42, MAKES_PAIR) \
	ROW(pipe2, 293, 331, 59, 359, MAKES_PAIR) \
	ROW(eventfd, 284, 323, NO_NUMBER, 351, MAKES_ONE) \
	ROW(eventfd2, 290, 328, 19, 356, MAKES_ONE) \
	ROW(timerfd_create, 283, 322, 85, 350, MAKES_ONE) \
	ROW(signalfd, 282, 321, NO_NUMBER, 349, MAKES_SIGNALFD) \
	ROW(signalfd4, 289, 327, 74, 355, MAKES_SIGNALFD) \
	ROW(epoll_create, 213, 254, NO_NUMBER, 250, MAKES_ONE) \
	ROW(epoll_create1, 291, 329, 20, 357, MAKES_ONE) \
	ROW(inotify_init, 253, 291, NO_NUMBER, 316, MAKES_ONE) \
	ROW(inotify_init1, 294, 332, 26, 360, MAKES_ONE) \
	ROW(fanotify_init, 300, 338, 262, 367, MAKES_ONE) \
	ROW(memfd_create, 319, 356, 279, 385, MAKES_ONE) \
	ROW(memfd_secret, 447, 447, 447, NO_NUMBER, MAKES_ONE) \
	ROW(pidfd_open, 434, 434, 434, 434, MAKES_ONE) \
	ROW(pidfd_getfd, 438, 438, 438, 438, COPIES_ONE) \
	ROW(open_by_handle_at, 304, 342, 265, 371, MAKES_ONE) \
	ROW(open_tree, 428, 428, 428, 428, MAKES_ONE) \
	ROW(fsopen, 430, 430, 430, 430, MAKES_ONE) \
	ROW(fspick, 433, 433, 433, 433, MAKES_ONE) \
	ROW(fsmount, 432, 432, 432, 432, MAKES_ONE) \
	ROW(userfaultfd, 323, 374, 282, 388, MAKES_ONE) \
	ROW(perf_event_open, 298, 336, 241, 364, MAKES_ONE) \
	ROW(bpf, 321, 357, 280, 386, MAKES_BY_COMMAND) \
	ROW(mq_open, 240, 277, 180, 274, MAKES_ONE) \
	ROW(io_uring_setup, 425, 425, 425, 425, MAKES_ONE) \
	ROW(landlock_create_ruleset, 444, 444, 444, 444, MAKES_WITHOUT_FLAGS) \
	ROW(recvmsg, 47, 372, 212, 297, RECEIVES) \
	ROW(recvmmsg, 299, 337, 243, 365, RECEIVES) \
	ROW(recvmmsg_time64, NO_NUMBER, 417, NO_NUMBER, 417, RECEIVES)

#define CREATOR_ENUM(name, ...) MADE_BY_##name,
enum creator {
	CREATORS(CREATOR_ENUM) MADE_BY_COUNT,
};
/* clang-format on */

#endif
