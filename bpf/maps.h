/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_MAPS_H
#define COPENCLOSE_MAPS_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "config.h"

struct shared shared SEC(".data.shared");

/* One of ring and perf is created; the tool sizes it. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
} perf SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
} counters SEC(".maps");

/*
 * A record with details is put together in a slot: it does not fit on the
 * stack, and per-CPU memory is not ours alone since programs on functions can
 * be preempted (5.12). The first CLOSING_SLOTS are for calls that close something
 * and are under way, because what they close is gone when they return; the others
 * are for an instant. So whatever somebody has under way, there is a slot for who
 * returns. free_slots and closing_slots have the numbers of those that nobody uses;
 * they are stacks so that the next one taken is still in the CPU's caches.
 */
#define CLOSING_SLOTS 512
#define FREE_SLOTS 64	  /* or two for each CPU, if these are more */
#define COMPONENT_MAX 256 /* NAME_MAX and the slash before it */

/* Whether calls have slots; without them, only cgroups that are made and removed. */
#define USES_SLOTS (cfg.want_details || cfg.only_paths)
/* Whether their records have details. */
#define SENDS_DETAILS (cfg.want_details || cfg.want_programs)
/* Whether there are slots for an instant that describe something. */
#define DESCRIBES (USES_SLOTS || cfg.counting || cfg.want_programs || cfg.receives)

struct slot {
	struct event event;
	struct details details;
	char text[2 * TEXT_MAX + COMPONENT_MAX];
	struct socket_part socket;	     /* until it is put behind the text */
	struct lifetime_part lifetime;	     /* likewise */
	char path[TEXT_MAX + COMPONENT_MAX]; /* where a path grows from its end */
	__u64 sk;			     /* the socket that is being described */
	__u64 since;  /* when its call was entered, in jiffies; 0 if none is under way */
	__u64 owner;  /* of a call that is lost if it loses the slot */
	__u32 tid;    /* whose call that is */
	__u32 number; /* its own */
};

/* A slot begins like a record, and ends of text are looked up in the map paths. */
_Static_assert(__builtin_offsetof(struct slot, details) == sizeof(struct event),
	       "details follow the event");
_Static_assert(__builtin_offsetof(struct slot, text) ==
		       __builtin_offsetof(struct slot, details) + sizeof(struct details),
	       "text follows the details");
_Static_assert(__builtin_offsetof(struct slot, text) ==
		       __builtin_offsetof(struct slot, details.text_len) + sizeof(__u32),
	       "text_len and the text are a key of the map paths");
_Static_assert(sizeof(struct event) % 8 == 0 && sizeof(struct details) % 8 == 0 &&
		       sizeof(struct socket_part) % 8 == 0,
	       "parts are aligned");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CLOSING_SLOTS + FREE_SLOTS);
	__type(key, __u32);
	__type(value, struct slot);
} slots SEC(".maps");

/*
 * Before 6.8 (2afae08c9dcb, "bpf: Validate global subprogs lazily") the verifier looks
 * at functions that are not called, too, so where there are no slots it must see that.
 */
static __always_inline struct slot *slot_of(__u32 number)
{
	return DESCRIBES ? bpf_map_lookup_elem(&slots, &number) : NULL;
}

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, FREE_SLOTS);
	__uint(key_size, 0);
	__type(value, __u32);
} free_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, CLOSING_SLOTS);
	__uint(key_size, 0);
	__type(value, __u32);
} closing_slots SEC(".maps");

/*
 * What was noted when a call that closes something was entered, by tid. Who
 * deletes an entry has its slot; so two that want it cannot both have it. There
 * are more entries than slots, so that there is always room.
 */
struct closing {
	__u64 time; /* ns, 0 if not asked for */
	__u32 slot;
	__u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * CLOSING_SLOTS);
	__type(key, __u32);
	__type(value, struct closing);
} closing SEC(".maps");

/*
 * When other calls were entered, in ns, by tid, where latencies are asked for. The
 * oldest make room, so that nobody's waiting calls take it from others.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, __u64);
} entered SEC(".maps");

/* A call that returned ERESTARTSYS or the like: how it ends is not known yet. By tid. */
struct interrupted {
	__u64 time;  /* of the first entry, 0 if not asked for */
	__u64 sp;    /* of the caller, which a handler's own calls do not have */
	__u64 first; /* argument */
	__s32 ret;
	__u8 syscall;
	__u8 abi;
	bool socketcall;
	bool restarts; /* it will be made again, when the handler has returned */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, struct interrupted);
} interrupted SEC(".maps");

/* A process, whoever had or will have its number. */
struct ended_process {
	__u64 started; /* CLOCK_MONOTONIC in ns */
	__u32 pid;
	__u32 reserved;
};

/* Those whose last thread has just ended, see process.h. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct ended_process);
	__type(value, __u8);
} ended_processes SEC(".maps");

/*
 * A TCP connection that is being made, by the address of its struct sock, from its
 * first packet until it is made or fails. The oldest make room, so that nobody's
 * connects to hosts that do not answer take it from others.
 */
struct connecting {
	struct event event; /* the caller, and when it began */
	__u64 sk;
	__u64 owner;
	__u64 program_id;
	__u64 ended; /* in ns, 0 as long as it is not decided */
	__u32 ppid;
	__s32 fd;
	__s32 ret;     /* where ended is set */
	__u32 in_call; /* connect(2) has not returned yet, which can tell the outcome itself */
	__u32 remarks;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct connecting);
} connecting SEC(".maps");

/*
 * What was dropped, by owner, so that a flood of one does not hide another's losses. The
 * tool puts the entry 0 in; who finds no room is counted there.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__type(key, __u64);
	__type(value, struct cgroup_counts);
} cgroup_counts SEC(".maps");

/* By owner: when it will have paid for its records, see rate.h. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, __s64);
} rates SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct id);
	__type(value, __u8);
} ids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct comm_prefix);
	__type(value, __u8);
} comms SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct path_prefix);
	__type(value, __u8);
} paths SEC(".maps");

#define CGROUPS_MAX 32

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
	__uint(max_entries, CGROUPS_MAX);
	__type(key, __u32);
	__type(value, __u32);
} cgroups SEC(".maps");

/*
 * Verdicts by cgroup id, see struct verdict_set: a table that the tool maps and
 * writes, for a lookup in a hash table costs a host's call more than all else
 * that -I does.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VERDICT_SETS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct verdict_set);
} verdicts SEC(".maps");

#endif
