// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package names

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// families are the names of address families that programs use, without AF_;
// linux/socket.h.
var families = map[uint16]string{
	unix.AF_UNIX:      "UNIX",
	unix.AF_INET:      "INET",
	unix.AF_INET6:     "INET6",
	unix.AF_NETLINK:   "NETLINK",
	unix.AF_PACKET:    "PACKET",
	unix.AF_VSOCK:     "VSOCK",
	unix.AF_BLUETOOTH: "BLUETOOTH",
	unix.AF_ALG:       "ALG",
	unix.AF_CAN:       "CAN",
	unix.AF_TIPC:      "TIPC",
	unix.AF_XDP:       "XDP",
	unix.AF_QIPCRTR:   "QIPCRTR",
	unix.AF_KEY:       "KEY",
	unix.AF_IUCV:      "IUCV",
	unix.AF_SMC:       "SMC",
	unix.AF_NFC:       "NFC",
	unix.AF_UNSPEC:    "UNSPEC",
}

// AppendFamily appends the name of an address family, like AF_INET.
func AppendFamily(b []byte, family uint16) []byte { return appendNamed(b, "AF_", families, family) }

// appendNamed appends prefix and the name of a number, or the number itself where it
// has none.
func appendNamed(b []byte, prefix string, names map[uint16]string, number uint16) []byte {
	b = append(b, prefix...)
	if name, ok := names[number]; ok {
		return append(b, name...)
	}
	return strconv.AppendUint(b, uint64(number), 10)
}

// ipProtocols are the names of protocols of IPv4 and IPv6; linux/in.h.
var ipProtocols = map[uint16]string{
	unix.IPPROTO_ICMP:    "icmp",
	unix.IPPROTO_TCP:     "tcp",
	unix.IPPROTO_UDP:     "udp",
	unix.IPPROTO_DCCP:    "dccp",
	unix.IPPROTO_ICMPV6:  "icmpv6",
	unix.IPPROTO_SCTP:    "sctp",
	unix.IPPROTO_UDPLITE: "udplite",
	unix.IPPROTO_MPTCP:   "mptcp",
}

// socketTypes are the names of types of sockets; linux/net.h.
var socketTypes = map[uint16]string{
	unix.SOCK_STREAM:    "stream",
	unix.SOCK_DGRAM:     "dgram",
	unix.SOCK_SEQPACKET: "seqpacket",
}

// netlinks are the names of protocols of netlink; linux/netlink.h.
var netlinks = map[uint16]string{
	unix.NETLINK_ROUTE:          "route",
	unix.NETLINK_USERSOCK:       "usersock",
	unix.NETLINK_SOCK_DIAG:      "sock-diag",
	unix.NETLINK_XFRM:           "xfrm",
	unix.NETLINK_SELINUX:        "selinux",
	unix.NETLINK_ISCSI:          "iscsi",
	unix.NETLINK_AUDIT:          "audit",
	unix.NETLINK_FIB_LOOKUP:     "fib-lookup",
	unix.NETLINK_CONNECTOR:      "connector",
	unix.NETLINK_NETFILTER:      "netfilter",
	unix.NETLINK_KOBJECT_UEVENT: "kobject-uevent",
	unix.NETLINK_GENERIC:        "generic",
	unix.NETLINK_SCSITRANSPORT:  "scsitransport",
	unix.NETLINK_RDMA:           "rdma",
	unix.NETLINK_CRYPTO:         "crypto",
}

// A Socket is what socket(2) was called with, as the kernel has it.
type Socket struct {
	Family   uint16 // AF_*
	Type     uint8  // SOCK_*, 0 if the socket is not known
	Protocol uint16 // IPPROTO_* or NETLINK_*
}

// AppendSocketType appends the name of a type of sockets, like SOCK_STREAM.
func AppendSocketType(b []byte, kind uint8) []byte {
	switch kind {
	case unix.SOCK_STREAM:
		return append(b, "SOCK_STREAM"...)
	case unix.SOCK_DGRAM:
		return append(b, "SOCK_DGRAM"...)
	case unix.SOCK_RAW:
		return append(b, "SOCK_RAW"...)
	case unix.SOCK_SEQPACKET:
		return append(b, "SOCK_SEQPACKET"...)
	}
	return strconv.AppendUint(b, uint64(kind), 10)
}

// AppendProtocol appends the name of a socket's protocol, like tcp or unix-stream, or
// nothing if it has none.
func (s Socket) AppendProtocol(b []byte) []byte {
	if s.Type == 0 {
		return b
	}
	switch s.Family {
	case unix.AF_INET, unix.AF_INET6:
		return s.appendIPProtocol(b)
	case unix.AF_UNIX:
		return appendNamed(b, "unix-", socketTypes, uint16(s.Type))
	case unix.AF_VSOCK:
		return appendNamed(b, "vsock-", socketTypes, uint16(s.Type))
	case unix.AF_NETLINK:
		return appendNamed(b, "netlink-", netlinks, s.Protocol)
	}
	return b
}

// appendIPProtocol appends the name of a protocol of IPv4 or IPv6. A raw socket of TCP
// does not speak TCP by itself, so it has a number as the others.
func (s Socket) appendIPProtocol(b []byte) []byte {
	raw := s.Type == unix.SOCK_RAW
	isICMP := s.Protocol == unix.IPPROTO_ICMP || s.Protocol == unix.IPPROTO_ICMPV6
	if s.Protocol == unix.IPPROTO_IP { // of a socket that was not made; else the kernel has chosen
		switch s.Type {
		case unix.SOCK_STREAM:
			s.Protocol = unix.IPPROTO_TCP
		case unix.SOCK_DGRAM:
			s.Protocol = unix.IPPROTO_UDP
		}
	}
	switch name := ipProtocols[s.Protocol]; {
	case name != "" && (!raw || isICMP):
		return append(b, name...)
	case raw:
		b = append(b, "raw-"...)
	default:
		b = append(b, "ip-"...)
	}
	return strconv.AppendUint(b, uint64(s.Protocol), 10)
}
