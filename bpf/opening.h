/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_OPENING_H
#define COPENCLOSE_OPENING_H

#include "trace.h"

/*
 * The files that execve(2) opens by itself, in this order: a script, or what binfmt_misc
 * has an interpreter for; the program that runs; and its ELF interpreter, which is what
 * loads shared libraries. There is no call for them and no fd, and no tracepoint where
 * they are opened: they are found when the exec has succeeded.
 */

#define AT_FDCWD -100 /* include/uapi/linux/fcntl.h */
#define EBUSY 16      /* asm-generic/errno-base.h */

/* A frame of its own, and code that is there once. given and file are 0 if not known. */
static __noinline void send_exec_open(void *ctx, __u64 given, __u64 file)
{
	struct call call = {
		.task = current_task(),
		.syscall = SYS_openat,
		.abi = abi_of(current_task()),
		.flags = FLAG_EXEC | FLAG_NO_RESULT,
	};
	enum listing listing = cfg.only_paths ? LISTING_NONE : LISTING_ONLY;
	struct slot *slot = take_slot();

	if (!slot) {
		count_lost(owner_of_caller());
		return;
	}
	slot->details.fd = AT_FDCWD;
	if (given) {
		note_given_path(slot,
				bpf_probe_read_kernel_str(slot->text, TEXT_MAX + 1, (void *)given));
		listing = listing_of_given(slot);
	}
	if (given && !wants_file(slot, listing))
		file = 0;
	if (!describe_opened_file(slot, listing, (struct file *)file))
		count(filtered);
	else if (within_rate())
		send_described(ctx, slot, &call, 0);
	give_back_slot(slot);
}

/*
 * Of a script there is no file any more, and of the scripts between it and the program, if
 * there are any, no name either.
 */
static __always_inline int opened_by_exec(void *ctx, struct linux_binprm *bprm,
					  __u64 elf_interpreter)
{
	const char *given = kernel_read(bprm, filename), *runs = kernel_read(bprm, interp);

	if (given != runs)
		send_exec_open(ctx, (__u64)given, 0);
	send_exec_open(ctx, (__u64)runs, (__u64)BPF_CORE_READ(current_task(), mm, exe_file));
	if (elf_interpreter)
		send_exec_open(ctx, 0, elf_interpreter);
	return 0;
}

/*
 * Where the ELF interpreter of the current task's new program begins, 0 if it has none: then
 * the first instruction is the program's own. That the file mapped there is another one than
 * the program's does not say it, because overlayfs maps other files than are executed.
 */
static __always_inline __u64 start_of_interpreter(struct task_struct *task)
{
	__u64 start = INSTRUCTION_POINTER(user_regs(task));

	if (start >= task_walk(task, mm, start_code) && start < task_walk(task, mm, end_code))
		return 0;
	return start;
}

static long take_file(struct task_struct *task, struct vm_area_struct *area, void *file)
{
	bpf_probe_read_kernel(file, sizeof(area->vm_file), &area->vm_file);
	return 0;
}

/* The file that is mapped there, 0 if there is none. */
static __always_inline __u64 file_mapped_at(struct task_struct *task, __u64 address)
{
	__u64 file = 0;

	if (address && bpf_find_vma(task, address, take_file, &file, 0) == -EBUSY)
		count_lost(owner_of_caller());
	return file;
}

/*
 * The same before 5.17 (7c7e3d31e785, "bpf: Introduce helper bpf_find_vma"), when mappings
 * were in a list (until 6.1; 763ecb035029, "mm: remove the vma linked list").
 */
struct vm_area_struct___listed {
	unsigned long vm_start;
	unsigned long vm_end;
	struct vm_area_struct___listed *vm_next;
	struct file *vm_file;
} __attribute__((preserve_access_index));

struct mm_struct___listed {
	struct vm_area_struct___listed *mmap;
} __attribute__((preserve_access_index));

/* A program that has just begun has far fewer. */
#define MAPPINGS_WALKED 32

static __always_inline __u64 file_listed_at(struct task_struct *task, __u64 address)
{
	struct mm_struct___listed *mm = (void *)task_walk(task, mm);
	struct vm_area_struct___listed *area = BPF_CORE_READ(mm, mmap);

	for (int i = 0; address && area && i < MAPPINGS_WALKED; i++) {
		if (address < BPF_CORE_READ(area, vm_end))
			return (__u64)BPF_CORE_READ(area, vm_file);
		area = BPF_CORE_READ(area, vm_next);
	}
	return 0;
}

#endif
