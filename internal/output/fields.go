// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/names"
	"github.com/copenclose/copenclose/internal/stream"
)

var (
	needsHostname   = stream.Needs{Hostname: true}
	needsDetails    = stream.Needs{Details: true}
	needsLatency    = stream.Needs{Details: true, Latency: true}
	needsLifetime   = stream.Needs{Details: true, Lifetime: true}
	needsFile       = stream.Needs{Details: true, File: true}
	needsContainers = stream.Needs{Containers: true}
	needsPeers      = stream.Needs{Details: true, Containers: true}
	needsPrograms   = stream.Needs{Programs: true}
)

// Fields has every field, in the order of JSON's keys.
var Fields = slices.Concat(callerFields, programFields, containerParts("container", needsContainers, caller), callFields, argumentFields, processFields, targetFields,
	containerParts("peer_container", needsPeers, peer), socketFields, lifetimeFields, outcomeFields)

var callerFields = []Field{
	{Name: "time", About: "when the call returned", Kind: Time, width: 20, facets: ofTime,
		value: func(e *stream.Event, _ []byte) Value { return Value{Kind: Time, number: e.Time} }},
	{Name: "hostname", About: "UTS node name, a container's hostname", Kind: Text, width: 16, needs: needsHostname, facets: ofCaller,
		value: func(e *stream.Event, _ []byte) Value { return text(e.Hostname()) }},
	{Name: "container", About: "pod/name, name or id of the container", Kind: Text, OnlyColumn: true, width: 16, needs: needsContainers, facets: ofContainer,
		value: func(e *stream.Event, _ []byte) Value {
			if e.Container == nil {
				return Value{}
			}
			return textOf(e.Container.Label)
		}},
	{Name: "cgroup_id", Column: "cgroupid", About: "cgroup v2 id, the inode number of its directory", Kind: Unsigned, width: 8, right: true, facets: ofCaller,
		value: func(e *stream.Event, _ []byte) Value { return unsigned(e.CgroupID) }},
	{Name: "pid", About: "process, in the initial PID namespace", Kind: Unsigned, width: 6, facets: ofCaller,
		value: func(e *stream.Event, _ []byte) Value { return unsigned(e.PID) }},
	{Name: "tid", About: "thread, in the initial PID namespace", Kind: Unsigned, width: 6, facets: ofCaller,
		value: func(e *stream.Event, _ []byte) Value { return unsigned(e.TID) }},
	{Name: "ppid", About: "parent process", Kind: Unsigned, width: 6, needs: needsDetails, facets: ofCaller,
		value: func(e *stream.Event, _ []byte) Value { return unsigned(e.Details.PPID) }},
	{Name: "uid", About: "user, in the initial user namespace", Kind: Unsigned, width: 6, facets: ofCaller,
		value: func(e *stream.Event, _ []byte) Value { return unsigned(e.UID) }},
	{Name: "gid", About: "group, in the initial user namespace", Kind: Unsigned, width: 6, facets: ofCaller,
		value: func(e *stream.Event, _ []byte) Value { return unsigned(e.GID) }},
	{Name: "comm", About: "name of the thread", Kind: Text, width: 15, facets: ofCaller,
		value: func(e *stream.Event, _ []byte) Value { return text(e.Comm()) }},
}

var callFields = []Field{
	{Name: "syscall", About: "system call", Kind: Symbol, width: 8, facets: ofABI,
		value: func(e *stream.Event, _ []byte) Value { return symbol(bpf.Syscalls[e.Syscall].Name) }},
	{Name: "abi", About: "how the call was made: x86_64 or i386, aarch64 or arm", Kind: Symbol, width: 7, facets: ofABI,
		value: func(e *stream.Event, _ []byte) Value { return symbol(names.ABIs[e.ABI]) }},
	{Name: "via", About: "io_uring, of a call that was no syscall but a request there; exec, of what execve opened by itself", Kind: Symbol, width: 8, facets: ofResult, when: condition{all: hasVia},
		value: func(e *stream.Event, _ []byte) Value {
			if e.Flags&bpf.ViaExec != 0 {
				return symbol("exec")
			}
			return symbol("io_uring")
		}},
	{Name: "ret", About: "what the call returned, tables have the errno by name; none where io_uring says it of failures only, and of what execve opened", Kind: Result, width: 7, facets: ofResult,
		value: func(e *stream.Event, _ []byte) Value {
			if e.Flags&bpf.NoResult != 0 {
				return Value{}
			}
			return Value{Kind: Result, number: uint64(int64(e.Ret))}
		}},
	{Name: "error", About: "name of the errno, of a call that failed", Kind: Symbol, width: 7, facets: ofResult, when: condition{all: hasFailed},
		value: func(e *stream.Event, _ []byte) Value { return symbol(names.Error(e.Ret)) }},
	{Name: "fd", About: "fd that was made, received, closed (also by dup2 and dup3), connected, bound, or that listens", Kind: Signed, width: 4, right: true,
		needs: needsDetails, facets: ofResult | ofArguments, closed: true,
		value: func(e *stream.Event, _ []byte) Value {
			if fd, ok := e.FD(); ok {
				return signed(fd)
			}
			return Value{}
		}},
	{Name: "slot", About: "direct descriptor of io_uring, a number in a table of the ring: that was opened, closed, connected, accepted, or that listens",
		Kind: Unsigned, width: 4, right: true, needs: needsDetails, facets: ofArguments, when: condition{all: hasSlot},
		value: func(e *stream.Event, _ []byte) Value {
			slot, _ := e.Slot()
			return unsigned(slot)
		}},
}

// closers are the names of what closes files where no call is for them.
var closers = [1 << 8]string{bpf.ClosedByExit: "exit", bpf.ClosedByExec: "exec", bpf.ClosedByRange: "close_range"}

// closedBy returns what closed the file that a row is of, "" where that was close(2).
func closedBy(r *bpf.Record) string {
	if r.Details.Remarks&bpf.Replaced != 0 {
		return bpf.Syscalls[r.Syscall].Name
	}
	return closers[r.Details.By]
}

// opens reports whether a syscall opens a file by its path.
func opens(s bpf.Syscall) bool { return s.Has(bpf.ArgPath) }

// isOpen says of each syscall whether it opens.
var isOpen = func() (is [1 << 8]bool) {
	for i, s := range bpf.Syscalls {
		is[i] = opens(s)
	}
	return is
}()

// closesRange reports whether a syscall closes files from one fd to another one.
func closesRange(s bpf.Syscall) bool { return s.Has(bpf.ArgLastFD) }

// connects reports whether a syscall has an address to connect to.
func connects(s bpf.Syscall) bool { return s.Has(bpf.ArgAddress) }

// binds reports whether a syscall has an address for this end of a socket.
func binds(s bpf.Syscall) bool { return s.Has(bpf.ArgOwnAddress) }

// makesFD reports whether a syscall makes an fd.
func makesFD(s bpf.Syscall) bool { return s.Makes != bpf.MakesNone }

// accepts reports whether a syscall makes a socket of one that listens.
func accepts(s bpf.Syscall) bool { return s.Makes == bpf.MakesOne && s.Has(bpf.ArgFD) }

// makesPair reports whether a syscall makes two fds, whose other end is the caller.
func makesPair(s bpf.Syscall) bool { return s.Makes == bpf.MakesPair }

// replaces reports whether a syscall makes an fd in place of another one.
func replaces(s bpf.Syscall) bool { return makesFD(s) && s.Closes }

// has returns a test whether a syscall has an argument with one of these roles.
func has(roles ...bpf.Role) func(bpf.Syscall) bool {
	return func(s bpf.Syscall) bool { return slices.ContainsFunc(roles, s.Has) }
}

var argumentFields = []Field{
	{Name: "fd2", About: "of pipe and socketpair: the second fd", Kind: Signed, width: 4, right: true,
		needs: needsDetails, facets: ofCall, calls: has(bpf.ArgFDs),
		value: func(e *stream.Event, _ []byte) Value {
			if fd, ok := e.Second(); ok {
				return signed(fd)
			}
			return Value{}
		}},
	{Name: "old_fd", About: "of dup and the like: the fd that was copied, of pidfd_getfd in the other process; of fsmount what is mounted", Kind: Signed, width: 6, right: true,
		needs: needsDetails, facets: ofCall, calls: has(bpf.ArgOldFD),
		value: func(e *stream.Event, _ []byte) Value { return signed(e.Details.Other) }},
	{Name: "socket_fd", About: "of recvmsg and recvmmsg: the socket that the fd came through", Kind: Signed, width: 9, right: true,
		needs: needsDetails, facets: ofCall, calls: has(bpf.ArgSocket),
		value: func(e *stream.Event, _ []byte) Value { return signed(e.Details.Other) }},
	{Name: "received_count", About: "of recvmsg and recvmmsg: how many more fds came than have rows", Kind: Unsigned, width: 14, right: true,
		needs: needsDetails, facets: ofCall, calls: has(bpf.ArgMessages),
		value: func(e *stream.Event, _ []byte) Value {
			if n := e.MoreReceived(); n > 0 {
				return unsigned(n)
			}
			return Value{}
		}},
	{Name: "pidfd", About: "of pidfd_getfd: whose fd is copied", Kind: Signed, width: 5, right: true,
		needs: needsDetails, facets: ofCall, calls: has(bpf.ArgPIDFD),
		value: func(e *stream.Event, _ []byte) Value { return signed(int32(e.Details.Mode)) }},
	{Name: "target_pid", About: "of pidfd_open and perf_event_open: the process, as the caller numbers it", Kind: Signed, width: 10, right: true,
		needs: needsDetails, facets: ofCall, calls: has(bpf.ArgPID),
		value: func(e *stream.Event, _ []byte) Value { return signed(e.Details.Other) }},
	{Name: "request", About: "by name: of fcntl and bpf the command, of timerfd_create the clock, of perf_event_open the type of event", Kind: Symbol, width: 16,
		needs: needsDetails, facets: ofCall, calls: has(bpf.ArgRequest, bpf.ArgEvent),
		value: func(e *stream.Event, scratch []byte) Value { return symbols(appendRequest(scratch, e.Record)) }},
	{Name: "value", About: "of eventfd what it begins with, of F_DUPFD the least fd, of listen the backlog, of io_uring_setup the entries, of epoll_create the size, of perf_event_open the CPU", Kind: Signed, width: 5, right: true,
		needs: needsDetails, facets: ofCall, calls: has(bpf.ArgValue),
		value: func(e *stream.Event, _ []byte) Value { return signed(int32(e.Details.Mode)) }},
	{Name: "signals", About: "of signalfd: those that it reads, by name with | between them", Kind: Symbol, width: 16,
		needs: needsDetails, facets: ofCall, calls: has(bpf.ArgSignals),
		value: func(e *stream.Event, scratch []byte) Value {
			return symbols(names.AppendSignals(scratch, e.Details.Signals()))
		}},
	{Name: "name", About: "of memfd_create and fsopen: the name as given", Kind: Text, width: 16,
		needs: needsDetails, facets: ofCall, calls: has(bpf.ArgName),
		value: func(e *stream.Event, _ []byte) Value { return text(e.Given()) }},
	{Name: "dirfd", About: "of openat and the like: where a relative path begins, -100 is AT_FDCWD; of open_by_handle_at an fd of the file system", Kind: Signed, width: 5, right: true,
		needs: needsDetails, facets: ofArguments, calls: has(bpf.ArgDirFD),
		value: func(e *stream.Event, _ []byte) Value { return signed(e.Details.FD) }},
	{Name: "last_fd", About: "of close_range: the last fd", Kind: Unsigned, width: 7, right: true,
		needs: needsDetails, facets: ofArguments, calls: closesRange,
		value: func(e *stream.Event, _ []byte) Value { return unsigned(e.Details.LastFD) }},
	{Name: "flags", About: "of the call, by name with | between them; the rest as a hexadecimal number", Kind: Symbol, width: 18,
		needs: needsDetails, facets: ofArguments, calls: hasFlags,
		value: func(e *stream.Event, scratch []byte) Value { return symbols(appendFlags(scratch, e.Record)) }},
	{Name: "mode", About: "of an open that can create a file, or mq_open, octal", Kind: Symbol, width: 4, needs: needsDetails, facets: ofArguments, calls: has(bpf.ArgMode, bpf.ArgHow),
		value: func(e *stream.Event, scratch []byte) Value {
			if !names.HasMode(e.Details.Flags) {
				return Value{}
			}
			return symbols(appendMode(scratch, e.Details.Mode))
		}},
	{Name: "resolve", About: "of openat2: how the path is resolved", Kind: Symbol, width: 16, needs: needsDetails, facets: ofArguments, calls: has(bpf.ArgHow),
		value: func(e *stream.Event, scratch []byte) Value {
			if e.Details.Resolve() == 0 {
				return Value{}
			}
			return symbols(names.ResolveFlags.Append(scratch, e.Details.Resolve()))
		}},
}

// opensLike says of each syscall whether its flags are those of open(2).
var opensLike = func() (is [1 << 8]bool) {
	for i, s := range bpf.Syscalls {
		is[i] = hasFlags(s) && names.CallFlags[s.Name] == nil
	}
	return is
}()

func hasFlags(s bpf.Syscall) bool {
	return has(bpf.ArgFlags, bpf.ArgHow, bpf.ArgType, bpf.ArgRing)(s) || s.Implies != 0
}

// appendFlags appends the flags of a call by name, or nothing if there are none.
func appendFlags(b []byte, r *bpf.Record) []byte {
	switch {
	case opensLike[r.Syscall]:
		return names.AppendOpenFlags(b, r.Details.Flags)
	case r.Details.Flags == 0:
		return b
	}
	return names.CallFlags[bpf.Syscalls[r.Syscall].Name].Append(b, uint64(r.Details.Flags))
}

// appendRequest appends what a call asked for by name, or as a number.
func appendRequest(b []byte, r *bpf.Record) []byte {
	return names.AppendRequest(b, bpf.Syscalls[r.Syscall].Name, r.Details.Request)
}

// appendMode appends the mode of an open as in C: 0640.
func appendMode(b []byte, mode uint32) []byte {
	b = append(b, '0')
	for shift := 6; shift >= 0 && mode>>shift == 0; shift -= 3 {
		b = append(b, '0')
	}
	if mode == 0 {
		return b
	}
	return strconv.AppendUint(b, uint64(mode), 8)
}

var targetFields = []Field{
	{Name: "path", About: "of an open the path as given; of what was closed the absolute path, a memfd's name, or the kind and number of a namespace, like mnt:[4026531840]",
		Kind: Text, width: 16, needs: needsDetails, facets: ofCall, closed: true, value: path},
	{Name: "truncated", About: "path is cut", Kind: True, width: 9, needs: needsDetails, facets: ofCall, when: condition{all: isCut}, closed: true,
		value: func(e *stream.Event, _ []byte) Value {
			if isOpen[e.Syscall] {
				return truth(len(e.Name()) == 0)
			}
			return truth(len(e.Name()) > 0 && traitsOf(e)&onFile != 0)
		}},
	{Name: "file", About: "of an open the absolute path of the file; a memfd's name, or a namespace", Kind: Text, width: 16,
		needs: needsFile, facets: ofCall, calls: opens, when: condition{any: onNamed}, value: name},
	{Name: "file_truncated", About: "file is cut", Kind: True, width: 9, needs: needsFile, facets: ofCall, calls: opens, when: condition{all: isCut, any: onFile},
		value: func(e *stream.Event, _ []byte) Value {
			return truth(len(e.Name()) > 0)
		}},
	{Name: "family", About: "address family of the socket", Kind: Symbol, width: 8, needs: needsDetails, facets: ofCall, when: condition{all: hasSocket}, closed: true,
		value: func(e *stream.Event, scratch []byte) Value {
			return symbols(names.AppendFamily(scratch, e.Socket.Family))
		}},
	{Name: "protocol", About: "of the socket, like tcp, udp or unix-stream", Kind: Symbol, width: 11, needs: needsDetails, facets: ofCall, when: condition{all: hasSocket}, closed: true,
		value: func(e *stream.Event, scratch []byte) Value {
			return symbols(socketOf(e.Socket).AppendProtocol(scratch))
		}},
	endAddress("addr", "the other end: an IP address, the path of a unix socket or its abstract name after an @, or the CID of a vsock", peerEnd),
	endPort("port", "its port", peerEnd),
	ofConnect(endAddress("asked_addr", "what a connect asked for, if the socket's peer is another one", askedEnd)),
	ofConnect(endPort("asked_port", "its port", askedEnd)),
	endAddress("local_addr", "this end", localEnd),
	endPort("local_port", "its port", localEnd),
	{Name: "peer_pid", About: "process at the other end of a unix socket", Kind: Unsigned, width: 8, needs: needsDetails, facets: ofCall, when: condition{all: hasSocket | hasPeer}, closed: true,
		value: func(e *stream.Event, _ []byte) Value { return unsigned(e.Socket.PeerPID) }},
	{Name: "peer_uid", About: "its user", Kind: Unsigned, width: 8, needs: needsDetails, facets: ofCall, when: condition{all: hasSocket | hasPeer}, closed: true,
		value: func(e *stream.Event, _ []byte) Value { return unsigned(e.Socket.PeerUID) }},
}

// scratchSize is more than the longest text that is put together: that of a namespace.
const scratchSize = bpf.TextMax + 64

var (
	isCut   = isRemarked * trait(bpf.Truncated)
	onFile  = isOn(bpf.TargetFile, bpf.TargetMemfd)
	onNamed = onFile | isOn(bpf.TargetNamespace)
)

// path is the path that an open was given, or that of what a call was about. An empty
// one is there, too.
func path(e *stream.Event, scratch []byte) Value {
	switch target, given := e.Details.Target, e.Given(); {
	case isOpen[e.Syscall] && !(e.Flags&bpf.ViaExec != 0 && len(given) == 0):
		if len(given) == 0 && (target != bpf.TargetPath || e.Details.Remarks&bpf.Unreadable != 0) {
			return Value{}
		}
		return Value{Kind: Text, text: given}
	case target == bpf.TargetFile || target == bpf.TargetMemfd:
		return Value{Kind: Text, text: e.Name()}
	}
	return name(e, scratch)
}

// name is what a file, a memfd or a namespace is called.
func name(e *stream.Event, scratch []byte) Value {
	switch e.Details.Target {
	case bpf.TargetFile, bpf.TargetMemfd:
		return text(e.Name())
	case bpf.TargetNamespace:
		return text(appendInode(append(scratch, e.Name()...), e.Details.Inode))
	}
	return Value{}
}

// appendInode appends the number of a namespace as it follows its kind.
func appendInode(b []byte, inode uint64) []byte {
	return append(strconv.AppendUint(append(b, ":["...), inode, 10), ']')
}

func socketOf(s *bpf.Socket) names.Socket {
	return names.Socket{Family: s.Family, Type: s.Type, Protocol: s.Protocol}
}

// An end of a socket is the address of a record that a field is about.
type end func(*bpf.Record) bpf.Address

func peerEnd(r *bpf.Record) bpf.Address {
	peer, _ := peerAndAsked(r)
	return peer
}

func askedEnd(r *bpf.Record) bpf.Address {
	_, asked := peerAndAsked(r)
	return asked
}

func endAddress(name, about string, of end) Field {
	return Field{Name: name, About: about, Kind: Text, width: 15, needs: needsDetails, facets: ofCall, when: condition{all: hasSocket}, closed: true,
		value: func(e *stream.Event, scratch []byte) Value {
			switch a := of(e.Record); {
			case a.IsVsock:
				return symbols(strconv.AppendUint(scratch, uint64(a.CID), 10))
			case a.IP.IsValid():
				return symbols(names.AppendIP(scratch, a))
			default:
				return text(appendUnixName(scratch, a.Unix))
			}
		}}
}

func endPort(name, about string, of end) Field {
	return Field{Name: name, About: about, Kind: Unsigned, width: 5, needs: needsDetails, facets: ofCall, when: condition{all: hasSocket}, closed: true,
		value: func(e *stream.Event, _ []byte) Value {
			if a := of(e.Record); a.IsVsock || a.IP.IsValid() {
				return unsigned(a.Port)
			}
			return Value{}
		}}
}

// ofConnect returns a field that only connects have.
func ofConnect(f Field) Field {
	f.calls, f.closed = connects, false
	return f
}

var socketFields = []Field{
	{Name: "type", About: "of the file: regular, directory, char, block, fifo, symlink or socket; socket, pipe, memfd, namespace; or the name of an anonymous inode",
		Kind: Text, width: 9, needs: needsDetails, facets: ofKind, closed: true,
		when: condition{any: onNamed | isOn(bpf.TargetSocket, bpf.TargetPipe, bpf.TargetAnonymous)},
		value: func(e *stream.Event, _ []byte) Value {
			switch e.Details.Target {
			case bpf.TargetFile:
				return symbol(names.FileType(e.Details.FileMode))
			case bpf.TargetAnonymous:
				return text(anonymousName(e.Record))
			}
			return symbol(targetTypes[e.Details.Target])
		}},
}

// targetTypes says what kind of thing the target of a call is, where that is all that
// is known of it.
var targetTypes = [1 << 8]string{
	bpf.TargetSocket:    "socket",
	bpf.TargetPipe:      "pipe",
	bpf.TargetMemfd:     "memfd",
	bpf.TargetNamespace: "namespace",
}

// anonymousName returns the name of an anonymous inode, eventfd for [eventfd].
func anonymousName(r *bpf.Record) []byte {
	name := r.Name()
	if n := len(name); n > 2 && name[0] == '[' && name[n-1] == ']' {
		return name[1 : n-1]
	}
	return name
}

var outcomeFields = []Field{
	{Name: "by", About: "what closed it, where that was no close(2): exit, exec, close_range, dup2 or dup3", Kind: Symbol, width: 11,
		needs: needsDetails, facets: ofCall, calls: closes,
		value: func(e *stream.Event, _ []byte) Value { return symbol(closedBy(e.Record)) }},
	{Name: "closed", About: "what a close_range closed, as far as it is known: of each the fd, and what it was as for a close", Kind: Files, width: 6, right: true,
		needs: needsDetails, facets: ofCall, calls: closesRange,
		when: condition{all: hasClosed},
		value: func(e *stream.Event, _ []byte) Value {
			for range e.Closed() {
				return Value{Kind: Files, number: uint64(e.Details.NumClosed)}
			}
			return Value{}
		}},
	{Name: "closed_count", About: "how many files a close_range closed; of a close with by, how many more were closed than have rows", Kind: Unsigned, width: 12, right: true,
		needs: needsDetails, facets: ofCall, calls: closes,
		when:  condition{all: hasClosed},
		value: func(e *stream.Event, _ []byte) Value { return unsigned(e.Details.NumClosed) }},
	{Name: "open_fds", About: "how many fds the process had when the call failed with EMFILE", Kind: Unsigned, width: 8, right: true,
		needs: needsDetails, facets: ofCall, calls: makesFD,
		when: condition{all: hasLimit},
		value: func(e *stream.Event, _ []byte) Value {
			open, _, _ := e.Limit()
			return unsigned(open)
		}},
	{Name: "fd_limit", About: "and how many it may have; where it had fewer, something else has a limit", Kind: Unsigned, width: 8, right: true,
		needs: needsDetails, facets: ofCall, calls: makesFD,
		when: condition{all: hasLimit},
		value: func(e *stream.Event, _ []byte) Value {
			_, limit, _ := e.Limit()
			return unsigned(limit)
		}},
	remark("replaced", "the fd was open before, and path or type are what was closed there", bpf.Replaced, replaces),
	remark("further", "the call has a row before this one, as it received more fds than one", bpf.Further, has(bpf.ArgMessages)),
	remark("unreadable", "the path was not in memory any more when it was read", bpf.Unreadable, nil),
	remark("outcome", "what became of a connect that returned EINPROGRESS: ret, error and latency_ns are those of the handshake", bpf.Outcome, connects),
	remark("fast_open", "a send made the connection, see tcp(7) TCP_FASTOPEN", bpf.FastOpen, connects),
	{Name: "latency_ns", Column: "lat", alias: "latency", About: "how long the call took; in JSON and tsv in ns", Kind: Duration, width: 6, right: true, needs: needsLatency, facets: ofCall,
		when:  condition{all: hasLatency},
		value: func(e *stream.Event, _ []byte) Value { return Value{Kind: Duration, number: e.Details.Latency} }},
	{Name: "detail", About: "path, or protocol and addresses, of what was opened, closed, connected or accepted", Kind: Detail, OnlyColumn: true, width: 16,
		needs: needsDetails, facets: ofCall,
		value: func(*stream.Event, []byte) Value { return Value{Kind: Detail} }},
}

func remark(name, about string, r bpf.Remark, of func(bpf.Syscall) bool) Field {
	return Field{Name: name, About: about, Kind: True, width: len(name), needs: needsDetails, facets: ofCall, calls: of, when: condition{all: isRemarked * trait(r)},
		value: func(*stream.Event, []byte) Value { return Value{Kind: True} }}
}

// Find returns the field that is called name, in any case, as --columns has it.
func Find(name string) (*Field, bool) {
	if i := order(name); i >= 0 {
		return &Fields[i], true
	}
	return nil, false
}

// order returns where the field that is called name is in Fields, -1 if there is none.
func order(name string) int {
	name = strings.ToLower(name)
	return slices.IndexFunc(Fields, func(f Field) bool { return name == f.Name || name != "" && (name == f.Column || name == f.alias) })
}

// aboutWidth is how wide the help for fields is, beside their names.
const aboutWidth = 57

// WriteColumns writes what there is for --columns.
func WriteColumns(out io.Writer) error {
	var b []byte
	for _, f := range Fields {
		name := f.Header()
		for _, line := range strings.Split(wrap(f.About, aboutWidth), "\n") {
			b = fmt.Appendf(b, "%-20s %s\n", name, line)
			name = ""
		}
	}
	_, err := out.Write(b)
	return err
}

// wrap puts line ends in place of spaces, so that no line of text is wider than it has
// to be.
func wrap(text string, width int) string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return strings.Join(append(lines, line), "\n")
}
