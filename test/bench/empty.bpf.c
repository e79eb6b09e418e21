//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// SPDX-FileCopyrightText: The copenclose authors

/* What it costs that a program is attached at all: these return at once. */
#define SEC(name) __attribute__((section(name), used))

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tp_btf/sys_enter")
int sys_enter(void *ctx)
{
	return 0;
}

SEC("tp_btf/sys_exit")
int sys_exit(void *ctx)
{
	return 0;
}
