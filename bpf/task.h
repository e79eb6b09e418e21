/* SPDX-License-Identifier: GPL-2.0 */
#ifndef COPENCLOSE_TASK_H
#define COPENCLOSE_TASK_H

/*
 * task_read(a, b, c) is current->a->b->c, a null pointer on the way giving 0.
 * From 5.11 (3ca1032ab7ab, "bpf: Implement get_current_task_btf and RET_PTR_TO_BTF_ID")
 * these are plain loads; before, each arrow is a bpf_probe_read_kernel().
 */
#define HAVE_CURRENT_TASK_BTF \
	bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)

#define task_read(...)                                               \
	(HAVE_CURRENT_TASK_BTF                                       \
		 ? ___arrow(bpf_get_current_task_btf(), __VA_ARGS__) \
		 : BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), __VA_ARGS__))

#endif
