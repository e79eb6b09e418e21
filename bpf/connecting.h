/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_CONNECTING_H
#define COPENCLOSE_CONNECTING_H

#include "call.h"
#include "describe.h"
#include "emit.h"
#include "filter.h"
#include "rate.h"

/*
 * What becomes of a TCP connect that returns before it is decided: the changes of
 * the socket's state tell it. A connect that returns the outcome itself has no
 * second record.
 */

#define IPPROTO_TCP 6

/* Whether a send carries the first data with the SYN. */
static __always_inline bool is_fast_open(struct sock *sk)
{
	return BPF_CORE_READ_BITFIELD_PROBED(sk, sk_protocol) == IPPROTO_TCP &&
	       kernel_read((struct tcp_sock *)sk, fastopen_req);
}

/* In the context of the caller, who sends the first packet. */
static __always_inline void connect_begins(struct sock *sk)
{
	struct task_struct *task = current_task();
	struct socket *socket = kernel_read(sk, sk_socket);
	struct file *file = socket ? kernel_read(socket, file) : NULL;
	__u64 key = (__u64)sk, pid_tgid = pid_tgid_of(task);
	struct call call = {};
	struct connecting c = {};

	if (!file || !shared.tool || pid_tgid >> 32 == shared.tool ||
	    !caller_passes(task, pid_tgid))
		return; /* without a file it is the kernel's own */
	c.in_call = call_from_registers(&call, user_regs(task), 0) && call.syscall == SYS_connect;
	if (!c.in_call) {
		if (!is_fast_open(sk))
			return;
		c.remarks = REMARK_FAST_OPEN;
		call = current_call(0, SYS_connect, abi_of(task), call.socketcall);
	}
	decode_arguments(&call);
	c.sk = key;
	c.fd = file_of(task, call.arg[0]) == file ? call.arg[0] : -1;
	c.ppid = task_walk(task, real_parent, tgid);
	if (cfg.want_programs)
		c.program_id = program_id_of(task);
	c.owner = owner_of_caller();
	fill(&c.event, &call);
	bpf_map_update_elem(&connecting, &key, &c, BPF_ANY);
}

/* Who deletes the note sends the record, so that there is one. */
static __always_inline void send_outcome(void *ctx, const struct connecting *c)
{
	struct slot *slot = take_slot();
	__u64 key = c->sk;

	if (!slot) {
		if (!bpf_map_delete_elem(&connecting, &key))
			count_lost(c->owner);
		return;
	}
	describe_sock(slot, (struct sock *)key);
	slot->event = c->event;
	slot->event.time = bpf_ktime_get_ns();
	slot->event.ret = c->ret;
	slot->details.latency = c->ended - c->event.time;
	slot->details.fd = c->fd;
	slot->details.ppid = c->ppid;
	slot->details.program_id = c->program_id;
	slot->details.remarks = c->remarks ?: REMARK_OUTCOME;
	if (bpf_map_delete_elem(&connecting, &key))
		goto out;
	if (!result_passes(slot->event.ret))
		count(filtered);
	else if (owner_within_rate(c->owner) && send_slot(ctx, slot, true))
		count_lost(c->owner);
out:
	give_back_slot(slot);
}

#define ECANCELED 125 /* asm-generic/errno.h */

/*
 * Often in a softirq. While connect(2) is under way it is left to connect_returns().
 * The additions are full barriers on x86: either we see that the call returned, or
 * it sees that the connection is decided.
 */
static __always_inline void connect_ends(void *ctx, struct sock *sk, int state)
{
	__u64 key = (__u64)sk;
	struct connecting *c = bpf_map_lookup_elem(&connecting, &key);
	int err;

	if (!c)
		return;
	err = kernel_read(sk, sk_err);
	c->ret = state == STATE_ESTABLISHED ? 0 : err ? -err : -ECANCELED;
	__sync_fetch_and_add(&c->ended, bpf_ktime_get_ns());
	if (!c->in_call)
		send_outcome(ctx, c);
}

/*
 * When connect(2) returned. A result that is the outcome ends the note; otherwise
 * returns the note if the outcome is there already, to be sent after the call.
 */
static __always_inline const struct connecting *connect_returns(struct call *call)
{
	struct connecting *c;
	struct file *file;
	__u64 key;

	decode_arguments(call);
	file = file_of(call->task, call->arg[0]);
	key = file ? (__u64)sock_of(file) : 0;
	if (!key)
		return NULL;
	c = bpf_map_lookup_elem(&connecting, &key);
	if (!c || !c->in_call || call->ret == -EALREADY || call->ret == -EISCONN)
		return NULL;
	if (call->ret != -EINPROGRESS && call->ret != -EINTR) {
		bpf_map_delete_elem(&connecting, &key);
		return NULL;
	}
	__sync_fetch_and_add(&c->in_call, -1);
	return c->ended ? c : NULL;
}

#endif
