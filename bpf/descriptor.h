/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_DESCRIPTOR_H
#define COPENCLOSE_DESCRIPTOR_H

#include "record.h"

/*
 * A row of a snapshot: one open descriptor, as the kernel's table has it. A struct
 * details, its text and parts follow, as in a record of a call, see record.h; descriptor.go
 * is the Go half of both.
 *
 * Addresses only tell things apart; the tool does not show them.
 */
struct descriptor {
	__u64 table;	  /* the files_struct, which all threads of a process share */
	__u64 file;	  /* the open file, which dup, fork and SCM_RIGHTS share */
	__u64 object;	  /* of a socket the struct sock, else the inode */
	__u64 peer;	  /* of a connected unix socket, the struct sock at the other end */
	__u64 inode;	  /* its number */
	__u64 size;	  /* of the file, in bytes */
	__u64 held;	  /* bytes that a deleted file still takes on its file system */
	__u64 cgroup_id;  /* of the process, in the v2 hierarchy */
	__u64 started;	  /* when the process started, CLOCK_MONOTONIC in ns */
	__u64 limit;	  /* RLIMIT_NOFILE of the process, soft */
	__u64 hard_limit; /* and hard */
	__u32 pid;	  /* thread group; like tid, in the initial PID namespace */
	__u32 tid;
	__u32 ppid;
	__u32 uid; /* real, in the initial user namespace */
	__u32 fd;
	__u32 device;	  /* of the file system; the kernel's dev_t, 12 bits major, 20 minor */
	__u32 open_flags; /* f_flags */
	__u8 is_cloexec;
	__u8 is_deleted;
	__u8 state; /* of an IP socket, net/tcp_states.h */
	__u8 reserved;
	char comm[COMM_LEN]; /* of the process's first thread */
	/*
	 * Of an inotify instance: who it counts for, and what the kernel has counted for
	 * them; fs/notify/inotify and kernel/ucount.c.
	 */
	__u32 owner; /* uid in the initial user namespace */
	__u32 instances;
	__u32 instances_max;
	__u32 watches;
	__u32 watches_max;
	__u32 net_ns; /* of a socket: the inode number of its network namespace */
};

#endif
