/* SPDX-License-Identifier: GPL-2.0 */
#ifndef COPENCLOSE_EVENT_H
#define COPENCLOSE_EVENT_H

/*
 * The contract between the programs and the reader. event.go is the Go half;
 * its test compares the two through the BTF of the built object.
 *
 * A record is a struct event, and where details are asked for, a struct details
 * and its texts behind it.
 */

#define HOSTNAME_LEN 64 /* __NEW_UTS_LEN, include/uapi/linux/utsname.h */
#define COMM_LEN 16	/* TASK_COMM_LEN, include/linux/sched.h */
#define TEXT_MAX 4096	/* PATH_MAX, include/uapi/linux/limits.h */

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
	__u8 syscall;		/* enum syscall */
	__u8 abi;		/* enum abi */
	__u8 in_initial_pid_ns; /* only told where ignore_host is set */
	__u8 reserved;
	char comm[COMM_LEN];
	char hostname[HOSTNAME_LEN]; /* no NUL when all of it is used */
};

/*
 * A record can also be news of a cgroup, which has these as its syscall. It has
 * details, and of a new cgroup the path as its text.
 */
enum cgroup_news {
	CGROUP_MADE = 254,
	CGROUP_REMOVED,
};

/* What the call was about. */
enum target {
	TARGET_UNKNOWN,
	TARGET_PATH, /* text is a path as the caller gave it */
	TARGET_FILE, /* text is the absolute path of an open file */
	TARGET_SOCKET,
	TARGET_PIPE,
	TARGET_ANONYMOUS, /* text is its name, like [eventfd] */
	TARGET_MEMFD,	  /* text is its name, like memfd:name */
};

/* An address: of IPv4 the first 4 bytes. */
struct address {
	__u8 ip[16];
	__u32 scope_id;
	__u16 port;	/* as a number, not in network order */
	__u16 text_len; /* of a unix address: bytes of text, the first is 0 if abstract */
};

struct details {
	__u64 latency; /* ns, 0 if not asked for */
	__u64 resolve; /* openat2 */
	__u32 ppid;
	__s32 fd;      /* the call's own: what is closed, connected, or listens; or a dirfd */
	__u32 last_fd; /* close_range */
	__u32 flags;   /* of the call */
	__u32 mode;
	__u16 file_mode; /* st_mode of the target */
	__u16 family;	 /* AF_*, 0 if there is no socket address */
	__u8 target;	 /* enum target */
	__u8 truncated;	 /* text is not all of it */
	__u16 reserved;
	struct address peer;
	struct address local; /* its text is behind that of peer */
	/* Right before the text: together they are a key of struct bpf_lpm_trie_key. */
	__u32 text_len; /* bytes of text that follow, with those of peer and local */
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
	__u32 verdicts_complete; /* the table verdicts has every cgroup of the host */
};

/* What the tool knows of a cgroup. */
enum verdict {
	VERDICT_UNKNOWN,
	VERDICT_HOST,	   /* no container's */
	VERDICT_CONTAINER, /* a container's, but none that was chosen */
	VERDICT_CHOSEN,
};

/*
 * A set of the table verdicts has the cgroups whose id has its number as
 * remainder, each in one word: the id, and below it 2 bits of verdict. A cgroup
 * that finds no room is not known.
 */
#define VERDICT_SETS 32768
#define VERDICT_WAYS 4
#define VERDICT_BITS 2

struct verdict_set {
	__u64 ways[VERDICT_WAYS];
};

/* Per CPU; the reader adds them up. */
struct counters {
	__u64 filtered;
	__u64 lost;
};

/* A key of the map ids: one entry of a filter's list. */
enum id_kind {
	ID_PID,
	ID_TID,
	ID_UID,
	ID_GID,
	ID_ERRNO,
};

struct id {
	__u32 kind; /* enum id_kind */
	__u32 value;
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
