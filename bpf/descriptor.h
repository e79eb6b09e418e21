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
	/* From the map births, 0 for what it does not have: CLOCK_MONOTONIC in ns. */
	__u64 time;	    /* when this descriptor was made by a call of its own, like dup */
	__u64 file_time;    /* when the file was opened */
	__u64 opener_table; /* where, and as what */
	__u32 pid;	    /* thread group; like tid, in the initial PID namespace */
	__u32 tid;
	__u32 ppid;
	__u32 uid; /* real, in the initial user namespace */
	__u32 fd;
	__u32 device;	  /* of the file system; the kernel's dev_t, 12 bits major, 20 minor */
	__u32 open_flags; /* f_flags */
	__u8 is_cloexec;
	__u8 is_deleted;
	__u8 state;	  /* of an IP socket, net/tcp_states.h */
	__u8 creator;	  /* 1 + enum creator, where there is a time */
	__u32 opener_pid; /* where there is a file_time */
	__u32 opener_fd;
	__u32 file_creator;  /* 1 + enum creator */
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

/* What a process has open, and may have. */
struct usage {
	__u64 cgroup_id; /* in the v2 hierarchy */
	__u64 limit;	 /* RLIMIT_NOFILE, soft */
	__u32 open;
	__u32 pid;
};

/* A key of the map births: a file, or a descriptor in a table. */
#define OF_FILE 0xffffffff

struct birth_key {
	__u64 address; /* of the struct file, or of the files_struct */
	__u32 fd;      /* OF_FILE for a file */
	__u32 reserved;
};

struct birth {
	__u64 time;	/* CLOCK_MONOTONIC in ns */
	__u64 identity; /* of a file's inode and operations; of a descriptor its file */
	__u64 table;	/* the files_struct in which it was made */
	__u32 pid;
	__u32 fd;
	__u32 creator; /* enum creator, or BEFORE */
	__u32 reserved;
};

/*
 * The creator of a descriptor that was open when births began to be noted: the tool writes
 * such records, and only for a ledger that is kept, see kept.go.
 */
#define BEFORE MADE_BY_COUNT

struct birth_counts {
	__u64 noted;
	__u64 lost; /* of these, those that found no room */
	/* What the tool writes, because it can be another one that goes on with the ledger. */
	__u64 noted_at_prune;
	__u64 kept_by_prune;
	__u64 since; /* CLOCK_MONOTONIC in ns; of a ledger that is kept */
};

/* A key of the map made. */
struct maker {
	__u32 pid;
	__u32 creator; /* enum creator */
};

/* What became of the descriptors that a process made by one call. */
struct made {
	__u64 made;
	__u64 refused; /* calls that failed with EMFILE or ENFILE */
	/* Only where closes are looked at: those that close(2) closed. */
	__u64 closed;
	__u64 lived;   /* ns in all */
	__u64 longest; /* ns */
};

/* A value of the map suspects: how many stacks were copied since when. */
struct suspect {
	__u64 since; /* CLOCK_MONOTONIC in ns */
	__u32 copied;
	__u32 reserved;
};

#define FRAMES_MAX 64
#define REGISTERS_MAX 34 /* those that DWARF numbers: 17 on x86-64, 33 on arm64 */
#define STACK_PIECE 1024 /* read at once; a page has whole ones */
#define STACK_MAX (16 << 10)

/*
 * Where in its program a descriptor was made: what the tool unwinds, which knows the
 * program's files.
 */
struct call_stack {
	__u64 time; /* that of the birth */
	__u64 table;
	__u64 file;
	__u32 pid;
	__u32 fd;
	__u32 creator;	/* enum creator */
	__u8 is_32_bit; /* a 32-bit call, of which there are frames only */
	__u8 reserved[3];
	__u64 start_stack; /* as /proc/PID/stat has them: others after exec */
	__u64 start_code;
	__u64 registers[REGISTERS_MAX]; /* by their numbers in DWARF */
	__u64 stack_at;			/* the address that stack begins at */
	__u32 stack_len;
	__u32 frames_num;
	__u64 frames[FRAMES_MAX]; /* what the kernel finds by frame pointers, innermost first */
	__u8 stack[STACK_MAX];
};

#endif
