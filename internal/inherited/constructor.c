// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

#include <fcntl.h>
#include <unistd.h>

int inherited_stdout;

// Runs before Go's runtime.
__attribute__((constructor)) static void look(void)
{
	inherited_stdout = fcntl(STDOUT_FILENO, F_GETFD) >= 0;
}
