// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors
/* A path whose memory is gone when the call returns. */
#include "trigger.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE 4096

static char fifo[200];
static char *page;
static pid_t opener;
static void (*meddle)(void);

static void on_signal(int signal)
{
	(void)signal;
}

static void unmap(void)
{
	must(!munmap(page, PAGE), "trigger: unmap the path");
}

static void protect(void)
{
	must(!mprotect(page, PAGE, PROT_NONE), "trigger: protect the path");
}

static void let_open(void)
{
	int fd = open(fifo, O_WRONLY);

	must(fd >= 0, "trigger: open the FIFO for writing");
	close(fd);
}

static void signal_opener(void)
{
	must(!syscall(SYS_tgkill, getpid(), opener, SIGUSR1), "trigger: send a signal");
}

static void unmap_and_let_open(void)
{
	unmap();
	let_open();
}

static void protect_and_let_open(void)
{
	protect();
	let_open();
}

static void unmap_and_signal(void)
{
	unmap();
	signal_opener();
}

static void *meddler(void *unused)
{
	be_helper();
	await_blocked(getpid(), opener, SYS_openat);
	meddle();
	return unused;
}

/* Opens the FIFO by a path that the meddler takes away while the call waits. */
static long open_meanwhile(void (*do_meanwhile)(void), int handler_flags)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = handler_flags};
	pthread_t thread;
	long ret;

	meddle = do_meanwhile;
	page = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(page != MAP_FAILED, "trigger: map a page");
	strcpy(page, fifo);
	must(!sigaction(SIGUSR1, &action, 0), "trigger: set a handler");
	must(!pthread_create(&thread, 0, meddler, 0), "trigger: start a thread");
	ret = raw(syscall(SYS_openat, AT_FDCWD, page, O_RDONLY));
	must(!pthread_join(thread, 0), "trigger: wait for the thread");
	return ret;
}

void gone_paths(const char *dir)
{
	static void (*const opened[])(void) = {unmap_and_let_open, protect_and_let_open};
	long ret;

	must(!chdir(dir), "trigger: enter the folder");
	opener = syscall(SYS_gettid);
	snprintf(fifo, sizeof(fifo), "%s/gone-path", dir);
	unlink(fifo);
	must(!mkfifo(fifo, 0600), "trigger: make a FIFO");

	for (size_t i = 0; i < sizeof(opened) / sizeof(*opened); i++) {
		ret = open_meanwhile(opened[i], 0);
		must(ret >= 0, "trigger: open the FIFO");
		say("openat", ret, ",\"path\":null,\"file\":\"%s\",\"unreadable\":true", fifo);
		SAY_CLOSE(ret, ",\"path\":\"%s\",\"type\":\"fifo\"", fifo);
	}
	ret = open_meanwhile(unmap_and_signal, 0);
	must(ret == -EINTR, "trigger: the open was not interrupted");
	say("openat", ret, ",\"path\":null,\"file\":null,\"unreadable\":true");
	/* It is made again, and there is no path any more. */
	ret = open_meanwhile(unmap_and_signal, SA_RESTART);
	must(ret == -EFAULT, "trigger: the open was not made again");
	say("openat", ret, ",\"path\":null,\"file\":null,\"unreadable\":true");

	/* A relative path is not all that is known of what was opened. */
	ret = say("openat", raw(syscall(SYS_openat, AT_FDCWD, "gone-path", O_RDONLY | O_NONBLOCK)),
		  ",\"path\":\"gone-path\",\"file\":\"%s\",\"unreadable\":null", fifo);
	SAY_CLOSE(ret, ",\"path\":\"%s\"", fifo);
}
