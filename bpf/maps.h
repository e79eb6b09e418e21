/* SPDX-License-Identifier: GPL-2.0 */
#ifndef COPENCLOSE_MAPS_H
#define COPENCLOSE_MAPS_H

/*
 * What the tool sets before load. What is false here costs nothing: the
 * verifier knows it and drops the code.
 */
const volatile bool ignore_host;
const volatile bool want_hostname;
const volatile bool want_details;
const volatile bool want_latency;
const volatile bool want_opened_path; /* of opens, instead of the path as given */
const volatile bool use_ring_buffer;
const volatile __u32 traced; /* a bit for each enum syscall */
const volatile __u64 knock;

/* Which filters there are; their lists are in ids, comms, paths and cgroups. */
const volatile bool only_failed;
const volatile bool only_ids[ID_ERRNO + 1];   /* by enum id_kind */
const volatile bool has_one_id[ID_ERRNO + 1]; /* a list of one needs no map */
const volatile __u32 one_id[ID_ERRNO + 1];
const volatile bool only_comms;
const volatile bool only_paths;
const volatile __u32 only_cgroups; /* how many */
const volatile bool only_chosen;   /* containers, see enum verdict */

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
 * be preempted (5.12). free_slots has the numbers of those that nobody uses; it
 * is a stack so that the next one taken is still in the CPU's caches.
 */
#define SLOTS 512
#define COMPONENT_MAX 256 /* NAME_MAX and the slash before it */

struct slot {
	struct event event;
	struct details details;
	char text[TEXT_MAX + COMPONENT_MAX];
	char path[TEXT_MAX + COMPONENT_MAX]; /* where a path grows from its end */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, SLOTS);
	__uint(key_size, 0);
	__type(value, __u32);
} free_slots SEC(".maps");

/* What had to be noted when a call was entered, by tid. */
#define NO_SLOT 0xffffffff

struct entered {
	__u64 time; /* ns, 0 if not asked for */
	__u32 slot; /* or NO_SLOT */
	__u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct entered);
} entered SEC(".maps");

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
