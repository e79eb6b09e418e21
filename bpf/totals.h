/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_TOTALS_H
#define COPENCLOSE_TOTALS_H

#include "call.h"
#include "count.h"
#include "describe.h"
#include "emit.h"
#include "filter.h"
#include "slots.h"

/*
 * Calls that are counted here instead of recorded: a call costs one lookup in a table
 * of this CPU and one addition, and the reader nothing.
 *
 * Programs on functions can be preempted (see count.h), so additions are atomic. They are
 * to memory of this CPU, which no other one writes.
 */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1); /* the tool sizes it */
	__type(key, struct total_key);
	__uint(value_size, sizeof(struct total)); /* without latencies sizeof(__u64) */
} totals SEC(".maps");

/* What found no room in totals: the calls that returned a result, and those that failed. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * SYS_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} other_totals SEC(".maps");

/*
 * The paths of the executables that totals has got since the tool last took what is
 * here. Where there is no room, an executable is called by its numbers until the next
 * entry of totals for it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct executable);
	__type(value, struct executable_path);
} executables SEC(".maps");

static const struct total no_total;

/* NULL for a thread of the kernel. */
static __always_inline struct file *executable_file(struct task_struct *task)
{
	return task_walk(task, mm, exe_file);
}

static __always_inline struct executable executable_of(struct file *file)
{
	struct executable exe = {};
	struct inode *inode;

	if (!file)
		return exe;
	inode = kernel_read(file, f_inode);
	exe.inode = kernel_read(inode, i_ino);
	exe.device = kernel_read(inode, i_sb, s_dev);
	return exe;
}

static __always_inline void note_executable(const struct executable *exe, struct task_struct *task)
{
	struct file *file = BPF_CORE_READ(task, mm, exe_file);
	struct slot *slot;

	if (!file || bpf_map_lookup_elem(&executables, exe))
		return;
	slot = take_slot();
	if (!slot)
		return;
	describe_file(slot, file);
	bpf_map_update_elem(&executables, exe, &slot->details.text_len, BPF_NOEXIST);
	give_back_slot(slot);
}

/* Returns NULL if there is no room. */
static __always_inline struct total *make_total(const struct total_key *key,
						struct task_struct *task)
{
	struct total *total;

	/* Another CPU may have made it meanwhile. */
	bpf_map_update_elem(&totals, key, &no_total, BPF_NOEXIST);
	total = bpf_map_lookup_elem(&totals, key);
	if (total)
		note_executable(&key->executable, task);
	return total;
}

/* The power of two at or below n, up to the one that the last counter has. */
static __always_inline __u32 latency_counter(__u64 n)
{
	__u32 power = 0;

	n >>= LATENCY_SHIFT;
	for (__u32 half = 16; half; half /= 2) {
		if (n >> half) {
			n >>= half;
			power += half;
		}
	}
	return power < LATENCIES ? power : LATENCIES - 1;
}

static __always_inline struct total_key key_of(const struct call *call)
{
	struct total_key key = {
		.executable = executable_of(executable_file(call->task)),
		.cgroup_id = cgroup_id_of(call->task),
		.syscall = call->syscall,
		.error = call->ret < 0 ? -call->ret : 0,
	};

	if (cfg.ignore_host && in_initial_pid_namespace(call->task))
		key.flags = FLAG_INITIAL_PID_NS;
	if (cfg.count_users)
		key.uid = uid_gid_of(call->task);
	return key;
}

static __always_inline void add_calls(const struct total_key *key, const struct call *call,
				      __u64 entry_time, __u32 n)
{
	struct total *total = bpf_map_lookup_elem(&totals, key);

	if (!total)
		total = make_total(key, call->task);
	if (!total) {
		__u32 index = 2 * (__u32)call->syscall + (call->ret < 0);
		__u64 *other = bpf_map_lookup_elem(&other_totals, &index);

		if (other)
			__sync_fetch_and_add(other, n);
		return;
	}
	__sync_fetch_and_add(&total->calls, n);
	if (cfg.want_latency && entry_time) {
		__u32 i = latency_counter(bpf_ktime_get_ns() - entry_time);

		if (i < LATENCIES)
			__sync_fetch_and_add(&total->latencies[i], n);
	}
}

/*
 * Which targets there are is estimated from calls that are recorded all the same, so
 * many that they cost the same whatever the rate is. Each says for how many it stands.
 *
 * Of a CPU each sampler has the cgroups whose id has its number as remainder, so that
 * a busy container does not hide a quiet one. It takes one call of 1 << shift, at
 * random, because calls come in patterns. When it has taken as many in a slice of time
 * as it may, it takes half as many from then on; when it took less than half of that,
 * twice as many in the next one. A sampler may take SAMPLES_FEW when all of the CPU have
 * taken cfg.samples_max.
 */
#define SAMPLERS 64
#define SAMPLES_FEW 2
#define SHIFT_MAX 24

struct sampler {
	__u64 slice_end; /* in jiffies */
	__u32 left;	 /* calls until the next one that is taken */
	__u32 taken;	 /* in this slice */
	__u32 shift;
	__u32 reserved;
};

/* The last one has what all of them took. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SAMPLERS + 1);
	__type(key, __u32);
	__type(value, struct sampler);
} samplers SEC(".maps");

/* From 1 to twice as many as a sample stands for, less one. */
static __always_inline void draw_next(struct sampler *sampler)
{
	sampler->left = 1 + bpf_get_prandom_u32() % ((2U << (sampler->shift & 31)) - 1);
}

static __always_inline void begin_slice(struct sampler *sampler, __u64 now, __u32 may_take)
{
	__u64 idle = now - sampler->slice_end;

	sampler->slice_end = now + cfg.slice_jiffies;
	if (sampler->taken <= may_take / 2 && sampler->shift) {
		sampler->shift = idle < cfg.slice_jiffies ? sampler->shift - 1 : 0;
		draw_next(sampler);
	}
	sampler->taken = 0;
}

/*
 * Returns for how many calls this one is to stand, 0 if it is not taken. A program that
 * is preempted here disturbs the sampler, which then takes some calls more or less.
 */
static __always_inline __u32 sample_weight(__u64 cgroup_id)
{
	__u32 number = cgroup_id % SAMPLERS, last = SAMPLERS, weight, may_take;
	struct sampler *sampler = bpf_map_lookup_elem(&samplers, &number);
	struct sampler *all = bpf_map_lookup_elem(&samplers, &last);
	__u64 now = bpf_jiffies64();

	if (!sampler || !all)
		return 0;
	if (now >= all->slice_end) {
		all->slice_end = now + cfg.slice_jiffies;
		all->taken = 0;
	}
	may_take = all->taken < cfg.samples_max ? cfg.samples_max / 2 : SAMPLES_FEW;
	if (now >= sampler->slice_end)
		begin_slice(sampler, now, may_take);
	if (sampler->left > 1) {
		sampler->left--;
		return 0;
	}
	weight = 1U << (sampler->shift & 31);
	all->taken++;
	if (++sampler->taken >= may_take && sampler->shift < SHIFT_MAX) {
		sampler->shift++;
		sampler->taken = 0;
	}
	draw_next(sampler);
	return weight;
}

/* The event is filled in. */
static __always_inline void send_sample(void *ctx, struct slot *slot, const struct total_key *key,
					__u32 weight)
{
	struct sampled sampled = {.executable = key->executable, .weight = weight};

	__builtin_memcpy(slot->event.hostname, &sampled, sizeof(sampled));
	send_slot(ctx, slot, true);
}

/*
 * A call that passed all filters but that of paths. Its slot, if it has one, is given
 * back.
 */
static __always_inline void count_call(void *ctx, struct call *call, struct slot *slot,
				       __u64 entry_time)
{
	struct total_key key;
	__u32 weight = 0;

	if (cfg.only_paths) {
		if (!slot)
			slot = take_slot();
		if (!slot) {
			count_lost(owner_of_caller());
			return;
		}
		if (!describe_call(slot, call)) {
			count(filtered);
			goto out;
		}
	}
	key = key_of(call);
	add_calls(&key, call, entry_time, 1);
	if (cfg.samples_max && !closes(call))
		weight = sample_weight(key.cgroup_id);
	if (weight) {
		if (!slot) {
			slot = take_slot();
			if (slot)
				describe_call(slot, call);
		}
		if (slot) {
			fill(&slot->event, call);
			send_sample(ctx, slot, &key, weight);
		}
	}
out:
	if (slot)
		give_back_slot(slot);
}

#endif
