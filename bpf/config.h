/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_CONFIG_H
#define COPENCLOSE_CONFIG_H

#include "record.h"

/*
 * What the tool sets before load; config.go is the Go half. What is false here costs
 * nothing: to the verifier it is a constant, and it drops the code.
 */
struct config {
	__u64 traced;	   /* a bit for each enum syscall */
	__u64 only_closes; /* those of them that are recorded only if they close something */
	__u64 token;	   /* of the handshake, see struct shared */

	/*
	 * How many records of an owner there may be, see owner.h: one each so many ns, 0 for
	 * any number; and as many at once as fit into rate_burst ns.
	 */
	__u64 rate_interval;
	__u64 rate_burst;

	/* See totals.h. */
	__u32 samples_max; /* calls that a CPU samples in a slice of time; 0 for none */
	__u32 slice_jiffies;

	/*
	 * Which filters there are; their lists are in ids, comms, paths and cgroups. Those
	 * of other_* have exceptions alone, so that what is in no entry passes.
	 */
	__u32 only_cgroups;   /* how many */
	__u32 except_cgroups; /* how many come after them */
	__u32 one_id[ID_KINDS];
	bool only_ids[ID_KINDS]; /* by enum id_kind */
	bool other_ids[ID_KINDS];
	bool has_one_id[ID_KINDS]; /* a list of one needs no map */
	bool only_comms;
	bool other_comms;
	bool only_paths;
	bool other_paths;
	bool only_chosen; /* containers, see enum verdict */
	bool only_failed;
	bool ignore_host;
	bool follow; /* ids has the children of listed processes, too */

	bool want_hostname;
	bool want_details;
	bool want_latency;
	bool want_file; /* of opens, also the file's own path */
	bool use_ring_buffer;
	bool by_container; /* what is dropped is counted by owner, see owner.h */

	bool counting;
	bool count_users; /* by user, too */

	/* How many arguments the tracepoints of io_uring have here, see uring.h. */
	__u8 submit_arguments;
	__u8 complete_arguments;
	__u8 refuse_arguments;
	bool want_lifetime; /* of what is closed, see lifetime.h */
	bool all_closes;    /* also those that no call is for, see implied.h */
	bool all_opens;	    /* likewise, see opening.h */
	bool want_programs; /* records of what happens to processes, see process.h */
	bool receives;	    /* some that are traced receive descriptors, see control.h */
	__u8 reserved[5];
};

const volatile struct config cfg;

#endif
