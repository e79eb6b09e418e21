// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors
/* Sockets of all kinds: their protocols, both ends, and who is at the other end. */
#include "trigger.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <sys/un.h>
#include <sys/wait.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#define TEXT 300

union any {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
	struct sockaddr_vm vm;
};

/* An address under the keys prefix_addr and prefix_port. */
static void tell(char text[TEXT], const char *prefix, const union any *addr)
{
	char ip[INET6_ADDRSTRLEN] = "";
	int port = 0;

	if (addr->sa.sa_family == AF_INET) {
		inet_ntop(AF_INET, &addr->in.sin_addr, ip, sizeof(ip));
		port = ntohs(addr->in.sin_port);
	} else {
		inet_ntop(AF_INET6, &addr->in6.sin6_addr, ip, sizeof(ip));
		port = ntohs(addr->in6.sin6_port);
	}
	snprintf(text, TEXT, ",\"%saddr\":\"%s\",\"%sport\":%d", prefix, ip, prefix, port);
}

/* What the socket itself says of its end. */
static const char *local_end(int fd)
{
	static char text[TEXT];
	union any addr;
	socklen_t len = sizeof(addr);

	must(!getsockname(fd, &addr.sa, &len), "trigger: ask for this end");
	tell(text, "local_", &addr);
	return text;
}

static const char *other_end(int fd)
{
	static char text[TEXT];
	union any addr;
	socklen_t len = sizeof(addr);

	must(!getpeername(fd, &addr.sa, &len), "trigger: ask for the other end");
	tell(text, "", &addr);
	return text;
}

static union any ip_address(int family, const char *ip, int port)
{
	union any addr = {.sa.sa_family = family};

	if (family == AF_INET) {
		inet_pton(family, ip, &addr.in.sin_addr);
		addr.in.sin_port = htons(port);
	} else {
		inet_pton(family, ip, &addr.in6.sin6_addr);
		addr.in6.sin6_port = htons(port);
	}
	return addr;
}

static long connect_ip(int fd, union any addr)
{
	return do_connect(fd, &addr,
			  addr.sa.sa_family == AF_INET ? sizeof(addr.in) : sizeof(addr.in6));
}

static int port_of(int fd)
{
	union any addr;
	socklen_t len = sizeof(addr);

	must(!getsockname(fd, &addr.sa, &len), "trigger: ask for the port");
	return ntohs(addr.in.sin_port); /* at the same place in both */
}

/* Listens at any address, so that what connects to none in particular arrives. */
static int listen_ip(int family, int protocol)
{
	union any addr = ip_address(family, family == AF_INET ? "0.0.0.0" : "::", 0);
	int fd = socket(family, SOCK_STREAM, protocol);

	if (fd < 0)
		return -errno;
	must(!bind(fd, &addr.sa, sizeof(addr.in6)) && !listen(fd, 8), "trigger: listen");
	return fd;
}

/* asked is what connect is given, and peer what that comes to. */
static void stream(const char *name, int family, int protocol, const char *asked, const char *peer)
{
	const char *family_name = family == AF_INET ? "AF_INET" : "AF_INET6";
	int server = listen_ip(family, protocol);
	char more[2 * TEXT] = ",\"asked_addr\":null,\"asked_port\":null";
	int client, accepted, port;
	long ret;

	if (server < 0) {
		skip(name, strerror(-server));
		return;
	}
	port = port_of(server);
	if (strcmp(asked, peer))
		snprintf(more, sizeof(more), ",\"asked_addr\":\"%s\",\"asked_port\":%d", asked,
			 port);
	client = socket(family, SOCK_STREAM, protocol);
	ret = connect_ip(client, ip_address(family, asked, port));
	say("connect", ret,
	    ",\"fd\":%d,\"family\":\"%s\",\"protocol\":\"%s\",\"addr\":\"%s\",\"port\":%d%s%s",
	    client, family_name, name, peer, port, local_end(client), more);
	accepted = do_accept(server);
	say("accept", accepted, ",\"fd\":%d,\"protocol\":\"%s\"%s%s", server, name,
	    other_end(accepted), local_end(accepted));
	snprintf(more, sizeof(more), "%s%s", other_end(client), local_end(client));
	SAY_CLOSE(client, ",\"protocol\":\"%s\"%s", name, more);
	SAY_CLOSE(server, ",\"protocol\":\"%s\"", name);
	SAY_CLOSE(accepted, ",\"protocol\":\"%s\"", name);

	/* Nobody listens there any more: what was asked is all there is. */
	client = socket(family, SOCK_STREAM, protocol);
	ret = connect_ip(client, ip_address(family, peer, port));
	say("connect", ret,
	    ",\"fd\":%d,\"protocol\":\"%s\",\"addr\":\"%s\",\"port\":%d,"
	    "\"asked_addr\":null",
	    client, name, peer, port);
	SAY_CLOSE(client, ",\"protocol\":\"%s\"", name);
}

/* Sockets of no connections, that connect tells where to send to. */
static void datagram(const char *name, int family, int type, int protocol, int port)
{
	const char *ip = family == AF_INET ? "127.0.0.1" : "::1";
	int fd = socket(family, type, protocol);
	char named[50] = "", local[TEXT] = "";
	long ret;

	if (fd < 0) {
		skip(name, strerror(errno));
		return;
	}
	snprintf(named, sizeof(named), ",\"protocol\":\"%s\"", name);
	ret = connect_ip(fd, ip_address(family, ip, port));
	/* A raw socket is not bound to a port, whatever it says. */
	if (type == SOCK_RAW)
		snprintf(local, sizeof(local), ",\"local_addr\":\"%s\"", ip);
	else
		snprintf(local, sizeof(local), "%s", local_end(fd));
	say("connect", ret, ",\"fd\":%d%s,\"addr\":\"%s\",\"port\":%d,\"asked_addr\":null%s", fd,
	    named, ip, port, local);
	SAY_CLOSE(fd, "%s,\"addr\":\"%s\",\"port\":%d%s", named, ip, port, local);
}

/* A child that is another user, so that it is known for whom it is. */
#define OTHER_USER 12345

static void unix_kind(const char *name, int type)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	socklen_t addr_len, len = sizeof(struct ucred);
	int server, accepted, status;
	struct ucred peer;
	pid_t child;

	snprintf(addr.sun_path + 1, sizeof(addr.sun_path) - 1, "%s-%d", name, getpid());
	addr_len = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(addr.sun_path + 1);
	server = socket(AF_UNIX, type, 0);
	must(!bind(server, (void *)&addr, addr_len), "trigger: bind a unix socket");
	if (type != SOCK_DGRAM)
		must(!listen(server, 8), "trigger: listen");

	fflush(stdout);
	must((child = fork()) >= 0, "trigger: start a child");
	if (!child) {
		int client;
		long ret;

		must(!syscall(SYS_setresuid, OTHER_USER, OTHER_USER, OTHER_USER),
		     "trigger: become another user");
		client = socket(AF_UNIX, type, 0);
		ret = do_connect(client, &addr, addr_len);
		if (type == SOCK_DGRAM) {
			say("connect", ret,
			    ",\"fd\":%d,\"family\":\"AF_UNIX\",\"protocol\":\"%s\",\"addr\":\"@%"
			    "s\"",
			    client, name, addr.sun_path + 1);
		} else {
			must(!getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &len),
			     "trigger: ask for the peer");
			say("connect", ret,
			    ",\"uid\":%d,\"fd\":%d,\"family\":\"AF_UNIX\",\"protocol\":\"%s\","
			    "\"addr\":\"@%s\",\"peer_pid\":%d,\"peer_uid\":%d",
			    OTHER_USER, client, name, addr.sun_path + 1, peer.pid, peer.uid);
		}
		SAY_CLOSE(client, ",\"protocol\":\"%s\"", name);
		fflush(stdout);
		_exit(0);
	}
	if (type != SOCK_DGRAM) {
		accepted = do_accept(server);
		must(!getsockopt(accepted, SOL_SOCKET, SO_PEERCRED, &peer, &len) &&
			     peer.pid == child && peer.uid == OTHER_USER,
		     "trigger: ask for the peer");
		say("accept", accepted,
		    ",\"fd\":%d,\"protocol\":\"%s\",\"local_addr\":\"@%s\",\"peer_pid\":%d,"
		    "\"peer_uid\":%d,\"peer_container\":null",
		    server, name, addr.sun_path + 1, peer.pid, peer.uid);
		SAY_CLOSE(accepted, ",\"protocol\":\"%s\"", name);
	}
	must(waitpid(child, &status, 0) == child && !status, "trigger: run a child");
	SAY_CLOSE(server, ",\"protocol\":\"%s\",\"local_addr\":\"@%s\"", name, addr.sun_path + 1);
}

static void vsock(void)
{
	struct sockaddr_vm addr = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = VMADDR_PORT_ANY};
	socklen_t len = sizeof(addr);
	int server, client, accepted;
	long ret;

	server = socket(AF_VSOCK, SOCK_STREAM, 0);
	if (server < 0) {
		skip("vsock", strerror(errno));
		return;
	}
	/* That of the host, where nobody listens; in a host, there is none. */
	client = socket(AF_VSOCK, SOCK_STREAM, 0);
	addr.svm_cid = VMADDR_CID_HOST;
	addr.svm_port = 54321;
	ret = do_connect(client, &addr, len);
	must(ret < 0, "trigger: somebody listens on the host's vsock port 54321");
	say("connect", ret,
	    ",\"fd\":%d,\"family\":\"AF_VSOCK\",\"protocol\":\"vsock-stream\",\"addr\":\"2\","
	    "\"port\":54321",
	    client);
	SAY_CLOSE(client, ",\"family\":\"AF_VSOCK\",\"protocol\":\"vsock-stream\"");

	addr.svm_cid = VMADDR_CID_ANY;
	addr.svm_port = VMADDR_PORT_ANY;
	client = socket(AF_VSOCK, SOCK_STREAM, 0);
	if (bind(server, (void *)&addr, len) || listen(server, 8) ||
	    getsockname(server, (void *)&addr, &len)) {
		skip("vsock server", strerror(errno));
		goto close;
	}
	addr.svm_cid = VMADDR_CID_LOCAL;
	ret = do_connect(client, &addr, len);
	say("connect", ret, ",\"fd\":%d,\"protocol\":\"vsock-stream\",\"addr\":\"1\",\"port\":%u",
	    client, addr.svm_port);
	if (ret) {
		skip("vsock on one machine", strerror(-ret));
		goto close;
	}
	accepted = do_accept(server);
	say("accept", accepted,
	    ",\"fd\":%d,\"family\":\"AF_VSOCK\",\"protocol\":\"vsock-stream\",\"addr\":\"1\","
	    "\"local_port\":%u",
	    server, addr.svm_port);
	SAY_CLOSE(accepted, ",\"protocol\":\"vsock-stream\",\"local_port\":%u", addr.svm_port);
close:
	SAY_CLOSE(client, ",\"protocol\":\"vsock-stream\"");
	SAY_CLOSE(server, ",\"protocol\":\"vsock-stream\"");
}

static void netlink(void)
{
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK};
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	say("connect", do_connect(fd, &addr, sizeof(addr)),
	    ",\"fd\":%d,\"family\":\"AF_NETLINK\",\"protocol\":\"netlink-route\"", fd);
	SAY_CLOSE(fd, ",\"family\":\"AF_NETLINK\",\"protocol\":\"netlink-route\"");
}

/* A connection on the loopback address. */
static void make_connection(int *server, int *client, int *accepted)
{
	*server = listen_ip(AF_INET, 0);
	*client = socket(AF_INET, SOCK_STREAM, 0);
	say("connect", connect_ip(*client, ip_address(AF_INET, "127.0.0.1", port_of(*server))),
	    ",\"fd\":%d", *client);
	*accepted = do_accept(*server);
	say("accept", *accepted, ",\"fd\":%d", *server);
}

static void close_bound(int fd)
{
	const char *local = local_end(fd);

	SAY_CLOSE(fd, ",\"type\":\"socket\",\"protocol\":\"tcp\"%s", local);
}

static void close_ended(int fd)
{
	union any addr;
	socklen_t len = sizeof(addr);

	must(getpeername(fd, &addr.sa, &len) && errno == ENOTCONN,
	     "trigger: the connection has not ended");
	close_bound(fd);
}

/* Sockets whose connection has ended know their end as before. */
static void ended(void)
{
	struct linger at_once = {.l_onoff = 1};
	int server, client, accepted;
	char byte;

	make_connection(&server, &client, &accepted);
	must(!shutdown(client, SHUT_WR) && !shutdown(accepted, SHUT_WR) &&
		     !read(client, &byte, 1) && !read(accepted, &byte, 1),
	     "trigger: end a connection");
	/* The last acknowledgement is on its way; on one machine it has come. */
	close_ended(accepted);
	close_bound(client);
	close_bound(server);

	make_connection(&server, &client, &accepted);
	must(!setsockopt(client, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)),
	     "trigger: have a close reset the connection");
	close_bound(client);
	close_ended(accepted);

	/* Reset before it was accepted. */
	client = socket(AF_INET, SOCK_STREAM, 0);
	say("connect", connect_ip(client, ip_address(AF_INET, "127.0.0.1", port_of(server))),
	    ",\"fd\":%d", client);
	must(!setsockopt(client, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)),
	     "trigger: have a close reset the connection");
	close_bound(client);
	accepted = do_accept(server);
	say("accept", accepted, ",\"fd\":%d%s", server, local_end(accepted));
	close_ended(accepted);
	close_bound(server);
}

void sockets_of_all_kinds(void)
{
	stream("tcp", AF_INET, 0, "127.0.0.1", "127.0.0.1");
	stream("tcp", AF_INET, 0, "0.0.0.0", "127.0.0.1");
	stream("tcp", AF_INET6, 0, "::1", "::1");
	stream("tcp", AF_INET6, 0, "::", "::1");
	stream("mptcp", AF_INET, IPPROTO_MPTCP, "127.0.0.1", "127.0.0.1");
	datagram("udp", AF_INET, SOCK_DGRAM, 0, 9);
	datagram("udp", AF_INET, SOCK_DGRAM, 0, 0);
	datagram("udp", AF_INET6, SOCK_DGRAM, 0, 9);
	datagram("udp", AF_INET6, SOCK_DGRAM, 0, 0);
	datagram("icmp", AF_INET, SOCK_DGRAM, IPPROTO_ICMP, 0);
	datagram("icmp", AF_INET, SOCK_RAW, IPPROTO_ICMP, 0);
	datagram("icmpv6", AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6, 0);
	datagram("icmpv6", AF_INET6, SOCK_RAW, IPPROTO_ICMPV6, 0);
	datagram("raw-253", AF_INET, SOCK_RAW, 253, 0);
	unix_kind("unix-stream", SOCK_STREAM);
	unix_kind("unix-dgram", SOCK_DGRAM);
	unix_kind("unix-seqpacket", SOCK_SEQPACKET);
	vsock();
	netlink();
	ended();
}
