//go:build ignore

// SPDX-License-Identifier: GPL-2.0
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "event.h"
#include "syscalls.h"
#include "task.h"
#include "arch.h"

char LICENSE[] SEC("license") = "GPL";

/* Set before load: what is false costs nothing, the verifier drops it. */
const volatile bool ignore_host;
const volatile bool want_hostname;
const volatile bool use_ring_buffer;
const volatile __u32 traced; /* a bit for each enum syscall */
const volatile __u64 knock;

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

/* Keep the contract's types in the object's BTF, which event_test.go reads. */
const struct event *const event_in_btf SEC(".rodata");
const enum abi abi_in_btf SEC(".rodata");
const enum syscall syscall_in_btf SEC(".rodata");

/*
 * Atomic although per CPU: since 5.12 (ca06f55b9002, "bpf: Add per-program
 * recursion prevention mechanism") programs on functions can be preempted, and
 * two of them can count on one CPU.
 */
#define count(counter)                                                      \
	({                                                                  \
		__u32 zero = 0;                                             \
		struct counters *c = bpf_map_lookup_elem(&counters, &zero); \
		if (c)                                                      \
			__sync_fetch_and_add(&c->counter, 1);               \
	})

/*
 * Level 0 is the initial PID namespace, whatever its inode number. This is
 * where the task is, not where its next child will be (nsproxy).
 */
static __always_inline bool in_initial_pid_namespace(void)
{
	return task_read(thread_pid, level) == 0;
}

static __always_inline void fill(struct event *e, long ret, enum syscall syscall, enum abi abi,
				 __u64 pid_tgid)
{
	__u64 uid_gid = bpf_get_current_uid_gid();

	e->time = bpf_ktime_get_ns();
	e->cgroup_id = bpf_get_current_cgroup_id();
	e->pid = pid_tgid >> 32;
	e->tid = pid_tgid;
	e->uid = uid_gid;
	e->gid = uid_gid >> 32;
	e->ret = ret;
	e->syscall = syscall;
	e->abi = abi;
	e->reserved = 0;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	e->hostname[0] = '\0';
	if (want_hostname)
		bpf_probe_read_kernel(e->hostname, sizeof(e->hostname),
				      task_read(nsproxy, uts_ns, name.nodename));
}

/*
 * The reader sleeps only when it has set reader_waits and the ring is empty,
 * a reserved record counting as there. So it is read after the reservation:
 * either the reader saw the record, or this sees that the reader waits. (The
 * reader looks again after 100 ms in any case.)
 */
static __always_inline __u64 doorbell(void)
{
	if (!shared.reader_waits)
		return BPF_RB_NO_WAKEUP;
	shared.reader_waits = 0;
	return BPF_RB_FORCE_WAKEUP;
}

static __always_inline void hear_knock(const struct pt_regs *regs, enum syscall syscall,
				       enum abi abi, __u32 pid)
{
	if (arg0(regs, abi) != knock)
		return;
	shared.tool = pid;
	shared.heard |= 1 << syscall;
}

/* Every event comes through here, however its syscall was caught. */
static __always_inline int returned(void *ctx, const struct pt_regs *regs, long ret,
				    enum syscall syscall, enum abi abi)
{
	__u64 pid_tgid;
	__u32 pid, tool;

	if (syscall == SYS_COUNT || !(traced & (1 << syscall)))
		return 0;

	pid_tgid = bpf_get_current_pid_tgid();
	pid = pid_tgid >> 32;
	tool = shared.tool;
	if (!tool || pid == tool) {
		hear_knock(regs, syscall, abi, pid);
		return 0;
	}
	if (ignore_host && in_initial_pid_namespace()) {
		count(filtered);
		return 0;
	}

	if (use_ring_buffer) {
		struct event *e = bpf_ringbuf_reserve(&ring, sizeof(*e), 0);

		if (!e) {
			count(lost);
			return 0;
		}
		fill(e, ret, syscall, abi, pid_tgid);
		bpf_ringbuf_submit(e, doorbell());
	} else {
		struct event e;

		__builtin_memset(&e, 0, sizeof(e));
		fill(&e, ret, syscall, abi, pid_tgid);
		if (bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, &e, sizeof(e)))
			count(lost);
	}
	return 0;
}

/* i386 has one number for all socket calls, and its first argument says which. */
static __always_inline enum syscall of_socketcall(const struct pt_regs *regs)
{
	switch (arg0(regs, ABI_32)) {
	case SOCKETCALL_CONNECT:
		return SYS_connect;
	case SOCKETCALL_ACCEPT:
		return SYS_accept;
	case SOCKETCALL_ACCEPT4:
		return SYS_accept4;
	}
	return SYS_COUNT;
}

/*
 * The function way: a program on each handler. Handlers of 32-bit programs are
 * functions of their own (arm64: some), so each syscall has a second program;
 * the tool names the function, and loads only what the kernel has.
 */
#define ON_HANDLERS(name, ...)                                               \
	SEC("fexit")                                                         \
	int BPF_PROG(exit_##name, const struct pt_regs *regs, long ret)      \
	{                                                                    \
		return returned(ctx, regs, ret, SYS_##name, current_abi());  \
	}                                                                    \
	SEC("fexit")                                                         \
	int BPF_PROG(exit_##name##_32, const struct pt_regs *regs, long ret) \
	{                                                                    \
		return returned(ctx, regs, ret, SYS_##name, current_abi());  \
	}

SYSCALLS(ON_HANDLERS)

SEC("fexit")
int BPF_PROG(exit_socketcall_32, const struct pt_regs *regs, long ret)
{
	return returned(ctx, regs, ret, of_socketcall(regs), ABI_32);
}

/*
 * The tracepoint way: every syscall of the machine comes here, so what is not
 * traced must leave at once.
 */
#define IF_NR_64(name, ...)                                         \
	if (NR_64(__VA_ARGS__) != NONE && nr == NR_64(__VA_ARGS__)) \
		return SYS_##name;
#define IF_NR_32(name, ...)                                         \
	if (NR_32(__VA_ARGS__) != NONE && nr == NR_32(__VA_ARGS__)) \
		return SYS_##name;

static __always_inline enum syscall of_registers(const struct pt_regs *regs, enum abi abi)
{
	__u32 nr = syscall_nr(regs);

	if (abi == ABI_64) {
		SYSCALLS(IF_NR_64)
		return SYS_COUNT;
	}
	SYSCALLS(IF_NR_32)
	return nr == NR_SOCKETCALL ? of_socketcall(regs) : SYS_COUNT;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(sys_exit, const struct pt_regs *regs, long ret)
{
	enum abi abi = current_abi();

	return returned(ctx, regs, ret, of_registers(regs, abi), abi);
}
