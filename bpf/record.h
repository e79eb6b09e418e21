/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_RECORD_H
#define COPENCLOSE_RECORD_H

#include "vmlinux.h"

/*
 * The contract between the programs and the reader. record.go is the Go half;
 * its test compares the two through the BTF of the built object.
 *
 * A record is a struct event. With FLAG_DETAILS a struct details follows, then its
 * text, and then, each at a multiple of 8 bytes, the parts that details.parts names,
 * in the order of their bits.
 */

#define HOSTNAME_LEN 64 /* __NEW_UTS_LEN, include/uapi/linux/utsname.h */
#define COMM_LEN 16	/* TASK_COMM_LEN, include/linux/sched.h */
#define TEXT_MAX 4096	/* PATH_MAX, include/uapi/linux/limits.h */
#define ARGS_MAX 1024	/* of the arguments of a program */

/* What a record is about. */
enum kind {
	KIND_CALL,	     /* a syscall that returned */
	KIND_CGROUP_CREATED, /* a cgroup of the v2 hierarchy; its path is the text */
	KIND_CGROUP_REMOVED,
	/* What the tool keeps of processes, see process.h. */
	KIND_FORKED,   /* pid is new, details.other is who forked it, details.ppid its parent */
	KIND_EXECUTED, /* the details are those of an exec */
	KIND_ENDED,    /* the last thread of pid */
};

/* Bits of event.flags. */
enum flag {
	FLAG_INITIAL_PID_NS = 1, /* the caller is in it; only set with cfg.ignore_host */
	FLAG_DETAILS = 2,	 /* a struct details follows */
	FLAG_IO_URING = 4,	 /* a request of io_uring(7), not a syscall */
	FLAG_NO_RESULT = 8,	 /* what the call returned is not known */
	FLAG_EXEC = 16,		 /* what execve(2) did by itself, see opening.h */
};

enum abi {
	ABI_64,
	ABI_32,
};

struct event {
	__u64 time;	 /* CLOCK_MONOTONIC in ns, when the call returned */
	__u64 cgroup_id; /* in the v2 hierarchy */
	__u32 pid;	 /* thread group; like tid, in the initial PID namespace */
	__u32 tid;
	__u32 uid; /* like gid, in the initial user namespace */
	__u32 gid;
	__s32 ret;
	__u8 kind;    /* enum kind; of KIND_CALL alone is what follows here */
	__u8 flags;   /* enum flag */
	__u8 syscall; /* enum syscall */
	__u8 abi;     /* enum abi */
	char comm[COMM_LEN];
	char hostname[HOSTNAME_LEN]; /* no NUL when all of it is used */
};

/* What the call was about. */
enum target {
	TARGET_UNKNOWN,
	TARGET_PATH, /* only the path as the caller gave it is known */
	TARGET_FILE, /* the name is the absolute path of an open file */
	TARGET_SOCKET,
	TARGET_PIPE,
	TARGET_ANONYMOUS, /* the name is that of an anonymous inode, like [eventfd] */
	TARGET_MEMFD,	  /* the name is like memfd:name */
	TARGET_NAMESPACE, /* the name is its kind, like mnt, and inode its number */
};

/* Bits of details.remarks. */
enum remark {
	REMARK_TRUNCATED = 1,  /* the name, or without one the given path, is cut */
	REMARK_UNREADABLE = 2, /* the given path was not in memory when the call returned */
	REMARK_OUTCOME = 4,    /* what became of a connect that returned EINPROGRESS */
	REMARK_FAST_OPEN = 8,  /* a connect that a send made, see tcp(7) TCP_FASTOPEN */
	REMARK_REPLACED = 16,  /* the file is what a dup2 or dup3 closed */
	REMARK_ARGS_CUT = 32,  /* the arguments of a program are not all there */
	REMARK_FURTHER = 64,   /* of a call that has a record before, as it received more fds */
};

/* What closed a file, of a row that is no call's; details.by. */
enum closer {
	CLOSED_BY_CALL, /* the one that the row is of */
	CLOSED_BY_EXIT,
	CLOSED_BY_EXEC, /* because of FD_CLOEXEC */
	CLOSED_BY_RANGE,
};

/* Bits of details.parts. */
enum part {
	PART_SOCKET = 1,   /* struct socket_part */
	PART_LIFETIME = 2, /* struct lifetime_part */
};

/*
 * The text is the path as given (of an exec the arguments, each with a NUL behind it,
 * as many as fit into ARGS_MAX) and then the name; of a socket, the unix addresses
 * peer, local and asked in this order; and of a close_range, for each file that it
 * closed a struct details with its text and parts, as far as there is room, each
 * filled up to 8 bytes.
 */
struct details {
	__u64 latency; /* ns, 0 if not asked for */
	__u32 request; /* a command or a clock; the lower half of resolve, signals or a time */
	__s32 other;   /* what is copied, the second of two fds, a pid, or the socket of a receipt;
			  the upper half of these */
	__u64 inode;   /* of a namespace; or a program_id, of a fork the forker's, of an exec the
			  parent's */
	__u64 program_id; /* what the process runs, see task.h; 0 if not asked for */
	__u32 ppid;
	__s32 fd; /* the call's own: what is closed, connected, or listens; a dirfd; the first of
		     two; one that was received */
	__u32 last_fd;	  /* close_range; of EMFILE, how many fds the process may have */
	__u32 flags;	  /* of the call; of an exit the status that wait(2) returns */
	__u32 mode;	  /* or another number */
	__u32 num_closed; /* files that a close_range closed; with by and an fd of -1, files that
			     have no record each, and of a receipt likewise; of EMFILE, fds that
			     are open */
	__u16 file_mode;  /* st_mode of the target */
	__u16 given_len;  /* bytes of text that are the path as given */
	__u8 target;	  /* enum target */
	__u8 remarks;	  /* enum remark */
	__u8 parts;	  /* enum part */
	__u8 by;	  /* enum closer */
	__u32 slot_after; /* 1 + a direct descriptor of io_uring, 0 if there is none */
	/* Right before the text: together they are a key of struct bpf_lpm_trie_key. */
	__u32 text_len; /* bytes of text that follow, in all */
};

/*
 * An address: of IPv4 the first 4 bytes; of a vsock the first 4 bytes are the cid
 * in the machine's byte order, and scope_id is the port.
 */
struct address {
	__u8 ip[16];
	__u32 scope_id;
	__u16 port;	/* as a number, not in network order */
	__u16 text_len; /* of a unix address: bytes of text, the first is 0 if abstract */
};

/* A socket, and the processes at its other end. */
struct socket_part {
	__u64 peer_cgroup; /* of who is at the other end of a unix socket, 0 if not known */
	__u32 peer_pid;	   /* of who is at the other end of a unix socket, 0 if not known */
	__u32 peer_uid;	   /* where there is a peer_pid */
	__u16 family;	   /* AF_* */
	__u16 protocol;	   /* with type */
	__u8 type;	   /* SOCK_*, 0 if the socket is not known */
	__u8 reserved[3];
	struct address peer;
	struct address local;
	struct address asked; /* what connect, or a bind that failed, was given */
};

/* How a descriptor was made. */
#define HOW_UNKNOWN 0 /* before it was noted, or by a call that is not seen */
#define HOW_INHERITED 255
/* else 1 + enum creator */

/* How long a descriptor that is closed was open, and its file. */
struct lifetime_part {
	__u64 lived;	  /* ns, where how is known */
	__u64 file_lived; /* ns, where file_how is known */
	__u32 opener_pid; /* who opened the file, and as what, where file_how is known */
	__u32 opener_fd;
	__u8 how;
	__u8 file_how;
	__u8 is_last; /* nobody else had the file */
	__u8 reserved[5];
};

/*
 * Written by both sides while tracing runs; the reader maps it.
 *
 * The reader sets reader_waits before it goes to sleep, and the first event
 * after that clears it and wakes the reader. A wakeup costs more than an
 * event, so nobody else pays for one.
 *
 * tool is the thread group that traces, in the initial PID namespace. It is
 * 0, and nothing is sent, until the handshake, which is the tool's first call with
 * cfg.token as its first argument, or where only what happens to processes is traced the end
 * of a thread of that name: so all programs start at once, and the tool
 * is recognised from inside a PID namespace too, where it cannot know this number.
 * answered has a bit for each syscall whose program has seen the token.
 */
struct shared {
	__u64 answered;
	__u32 reader_waits;
	__u32 tool;
	__u32 verdicts_complete; /* the table verdicts has every cgroup of the host */
	__u32 interrupted;	 /* how many entries the map interrupted has */
	__u32 processes_lost;	 /* records of KIND_FORKED and KIND_EXECUTED, without room */
	__u32 reserved;
};

/* What the tool knows of a cgroup. */
enum verdict {
	VERDICT_UNKNOWN,
	VERDICT_HOST,	   /* no container's */
	VERDICT_CONTAINER, /* a container's, but none that was chosen */
	VERDICT_CHOSEN,
	VERDICT_OWN_CGROUP = 4, /* with one of these: a container's own cgroup, not one inside */
};

/*
 * verdicts is a set-associative table: cgroup id % VERDICT_SETS picks a set of
 * VERDICT_WAYS words, each id << KNOWN_BITS | verdict and flag. A full set drops new ids.
 */
#define VERDICT_SETS 32768
#define VERDICT_WAYS 4
#define KNOWN_BITS 3

struct verdict_set {
	__u64 ways[VERDICT_WAYS];
};

/* Per CPU; the reader adds them up. */
struct counters {
	__u64 filtered;
	__u64 lost;
	__u64 limited;	  /* over cfg.rate_interval */
	__u64 unfollowed; /* children that found no room in the map ids */
};

/* An executable file; its numbers are 0 for a thread of the kernel. */
struct executable {
	__u64 inode;
	__u32 device; /* of its file system, as the kernel has it */
	__u32 reserved;
};

/* What calls are counted by. */
struct total_key {
	struct executable executable;
	__u64 cgroup_id; /* in the v2 hierarchy */
	__u32 uid;	 /* in the initial user namespace; 0 where users are not counted */
	__u16 error;	 /* errno, 0 of a call that did not fail */
	__u8 syscall;	 /* enum syscall */
	__u8 flags;	 /* enum flag, but for FLAG_DETAILS */
};

/*
 * Per CPU, like what it counts; the reader adds them up. Counter i of latencies has the
 * calls that took from 2 to the power of LATENCY_SHIFT + i ns up to twice that; the
 * first also those that took less, and the last those that took more.
 */
#define LATENCY_SHIFT 8
#define LATENCIES 28

struct total {
	__u64 calls;
	__u64 latencies[LATENCIES];
};

/* The path up to the root of who runs it, as struct details and its text have it. */
#define EXECUTABLE_PATH_MAX 252

struct executable_path {
	__u32 text_len; /* of the path, also where that is cut */
	char text[EXECUTABLE_PATH_MAX];
};

/* A record of a call that was also counted has this as its hostname. */
struct sampled {
	struct executable executable;
	__u32 weight; /* for how many calls of its like it stands */
	__u32 reserved;
};

/* What was dropped of an owner's calls; those of id 0 are of all that found no room. */
struct cgroup_counts {
	__u64 lost;
	__u64 limited;
};

/* A key of the map ids: one entry of a filter's list. */
enum id_kind {
	ID_PID,
	ID_TID,
	ID_UID,
	ID_GID,
	ID_ERRNO,
	ID_KINDS,
};

struct id {
	__u32 kind; /* enum id_kind */
	__u32 value;
};

/* What an entry of the maps ids, comms and paths says of what it matches. */
enum listing {
	LISTING_NONE, /* there is no entry */
	LISTING_ONLY,
	LISTING_EXCEPT,
};

/* Keys of the maps comms and paths: prefixes, a whole comm including its NUL. */
#define PREFIX_MAX 255

struct comm_prefix {
	__u32 bits;
	char comm[COMM_LEN];
};

struct path_prefix {
	__u32 bits;
	char path[PREFIX_MAX];
};

#endif
