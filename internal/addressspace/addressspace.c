// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

/* What Go 1.26 reserves for itself and 8 threads; little of it is ever used. */
#define NEEDED (2UL << 30)

/* Constructors run before Go's runtime. */
__attribute__((constructor)) static void check(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY ||
	    limit.rlim_cur >= NEEDED)
		return;
	fprintf(stderr,
		"copenclose: the limit of address space is %lu KiB, and at least %lu are reserved "
		"(though not used): ulimit -v unlimited\n",
		(unsigned long)limit.rlim_cur >> 10, NEEDED >> 10);
	_Exit(1);
}
