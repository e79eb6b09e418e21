// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package names

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestErrors(t *testing.T) {
	for ret, want := range map[int32][2]string{
		0: {}, 5: {}, -4096: {}, -1 << 31: {},
		-2:    {"ENOENT", "No such file or directory"},
		-11:   {"EAGAIN", "Resource temporarily unavailable"},
		-512:  {"ERESTARTSYS", ""},
		-4000: {"E4000", ""},
	} {
		if got := [2]string{Error(ret), Message(ret)}; got != want {
			t.Errorf("%d is %q, want %q", ret, got, want)
		}
	}
	for name, want := range map[string]uint32{"ENOENT": 2, "E4000": 4000, "ERESTARTSYS": 512, "ENOTSUP": 95, "EOPNOTSUPP": 95, "": 0, "enoent": 0} {
		if got := Errno(name); got != want {
			t.Errorf("%q is %d, want %d", name, got, want)
		}
	}
}

func TestFlags(t *testing.T) {
	for flags, want := range map[uint32]string{
		0:                                "O_RDONLY",
		unix.O_RDWR | unix.O_CREAT:       "O_RDWR|O_CREAT",
		unix.O_ACCMODE:                   "O_ACCMODE",
		unix.O_SYNC:                      "O_RDONLY|O_SYNC",
		unix.O_DSYNC:                     "O_RDONLY|O_DSYNC",
		unix.O_TMPFILE | unix.O_WRONLY:   "O_WRONLY|O_TMPFILE",
		unix.O_DIRECTORY | 1<<30 | 1<<31: "O_RDONLY|O_DIRECTORY|0xc0000000",
	} {
		if got := string(AppendOpenFlags(nil, flags)); got != want {
			t.Errorf("%#x is %s, want %s", flags, got, want)
		}
		if creates := strings.Contains(want, "O_CREAT") || strings.Contains(want, "O_TMPFILE"); HasMode(flags) != creates {
			t.Errorf("%s has a mode: %t", want, HasMode(flags))
		}
	}
	if got := string(CallFlags["accept4"].Append(nil, 0)); got != "0x0" {
		t.Errorf("no flags are %s", got)
	}
}

func TestSockets(t *testing.T) {
	for s, want := range map[Socket]string{
		{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_TCP}:   "tcp",
		{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP}:      "raw-6",
		{unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6}:  "icmpv6",
		{unix.AF_INET6, unix.SOCK_DGRAM, 200}:                "ip-200",
		{unix.AF_UNIX, unix.SOCK_SEQPACKET, 0}:               "unix-seqpacket",
		{unix.AF_UNIX, 9, 0}:                                 "unix-9",
		{unix.AF_VSOCK, unix.SOCK_STREAM, 0}:                 "vsock-stream",
		{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}: "netlink-route",
		{unix.AF_PACKET, unix.SOCK_RAW, 3}:                   "",
		{Family: unix.AF_INET, Type: 0, Protocol: 6}:         "",
	} {
		if got := string(s.AppendProtocol(nil)); got != want {
			t.Errorf("%+v is %q, want %q", s, got, want)
		}
	}
	if got := string(AppendFamily(AppendFamily(nil, unix.AF_INET6), 99)); got != "AF_INET6AF_99" {
		t.Errorf("families are %s", got)
	}
}

func TestFileType(t *testing.T) {
	for mode, want := range map[uint16]string{unix.S_IFREG | 0o644: "regular", unix.S_IFSOCK: "socket", 0o777: "", 0xffff: ""} {
		if got := FileType(mode); got != want {
			t.Errorf("%#o is %q, want %q", mode, got, want)
		}
	}
}
