/* SPDX-License-Identifier: GPL-2.0 */
#ifndef COPENCLOSE_EVENT_H
#define COPENCLOSE_EVENT_H

/*
 * The contract between the programs and the reader. event.go is the Go half;
 * its test compares the two through the BTF of the built object.
 */

#define HOSTNAME_LEN 64 /* __NEW_UTS_LEN, include/uapi/linux/utsname.h */
#define COMM_LEN 16	/* TASK_COMM_LEN, include/linux/sched.h */

enum abi {
	ABI_64,
	ABI_32,
};

struct event {
	__u64 time; /* CLOCK_MONOTONIC in ns, when the call returned */
	__u64 cgroup_id;
	__u32 pid; /* thread group; like tid, in the initial PID namespace */
	__u32 tid;
	__u32 uid; /* like gid, in the initial user namespace */
	__u32 gid;
	__s32 ret;
	__u8 syscall; /* enum syscall */
	__u8 abi;     /* enum abi */
	__u16 reserved;
	char comm[COMM_LEN];
	char hostname[HOSTNAME_LEN]; /* no NUL when all of it is used */
};

/*
 * Written by both sides while tracing runs; the reader maps it.
 *
 * The reader sets reader_waits before it goes to sleep, and the first event
 * after that clears it and wakes the reader. A wakeup costs more than an
 * event, so nobody else pays for one.
 *
 * tool is the thread group that traces, in the initial PID namespace. It is
 * 0, and nothing is sent, until the tool's first call that bears the knock:
 * so all programs start at once, and the tool is recognised from inside a PID
 * namespace too, where it cannot know this number. heard has a bit for each
 * syscall whose program heard the knock.
 */
struct shared {
	__u32 reader_waits;
	__u32 tool;
	__u32 heard;
};

/* Per CPU; the reader adds them up. */
struct counters {
	__u64 filtered;
	__u64 lost;
};

#endif
