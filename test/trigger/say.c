// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors
/* How the program says what it did. */
#include "trigger.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>

#if defined(__x86_64__)
#define ABI_NAME "x86_64"
#elif defined(__i386__)
#define ABI_NAME "i386"
#elif defined(__aarch64__)
#define ABI_NAME "aarch64"
#else
#define ABI_NAME "arm"
#endif

/* What the kernel returns of a call that it means to make again; linux/errno.h. */
#define ERESTARTSYS 512

static const char *error_name(long error)
{
	return error == ERESTARTSYS ? "ERESTARTSYS" : strerrorname_np(error);
}

static void print(struct caller caller, const char *name, long ret, const char *more, va_list args)
{
	printf("{\"syscall\":\"%s\",\"abi\":\"%s\",\"pid\":%d,\"tid\":%d,\"ppid\":%d", name,
	       ABI_NAME, caller.pid, caller.tid, caller.ppid);
	if (ret == NO_RESULT)
		;
	else if (ret < 0)
		printf(",\"ret\":%ld,\"error\":\"%s\"", ret, error_name(-ret));
	else
		printf(",\"ret\":%ld,\"error\":null", ret);
	vprintf(more, args);
	printf("}\n");
}

struct caller self(void)
{
	return (struct caller){getpid(), syscall(SYS_gettid), getppid()};
}

long say_of(struct caller caller, const char *name, long ret, const char *more, ...)
{
	va_list args;

	va_start(args, more);
	print(caller, name, ret, more, args);
	va_end(args);
	return ret;
}

long say(const char *name, long ret, const char *more, ...)
{
	va_list args;

	va_start(args, more);
	print(self(), name, ret, more, args);
	va_end(args);
	return ret;
}

void skip(const char *what, const char *why)
{
	printf("{\"skip\":\"%s: %s\"}\n", what, why);
}

void must(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

long do_connect(int fd, const void *addr, socklen_t len)
{
#ifdef SYS_socketcall
	long args[] = {fd, (long)addr, len};

	if (fd & 1)
		return raw(syscall(SYS_socketcall, 3, args));
#endif
	return raw(syscall(SYS_connect, fd, addr, len));
}

long do_accept(int fd)
{
#ifdef SYS_accept
	return raw(syscall(SYS_accept, fd, 0, 0));
#else
	long args[] = {fd, 0, 0};

	return raw(syscall(SYS_socketcall, 5, args));
#endif
}

int listen_on(const void *addr, socklen_t len)
{
	int fd = socket(((const struct sockaddr *)addr)->sa_family, SOCK_STREAM, 0);

	must(fd >= 0 && !bind(fd, addr, len) && !listen(fd, 8), "trigger: listen");
	return fd;
}
