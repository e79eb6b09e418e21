// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"encoding/base64"
	"strconv"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/escape"
	"github.com/copenclose/copenclose/internal/names"
	"github.com/copenclose/copenclose/internal/stream"
)

// jsonLines writes one object a line; schema.json describes it. A key that does
// not apply is absent. Text that is no UTF-8 has U+FFFD for each bad byte, and
// its exact bytes in base64 under its key with _base64 behind it.
type jsonLines struct {
	clock clock
	// The keys that say who, of the event before: most events come from the
	// process that the one before came from.
	before bpf.Event
	ppid   uint32
	who    []byte
	// The value of open's flags that was written last.
	openFlags     uint32
	openFlagsText []byte
}

// jsonCalls are the keys that say which call it was, by syscall and ABI.
var jsonCalls = func() (keys [][len(names.ABIs)]string) {
	for _, s := range bpf.Syscalls {
		var of [len(names.ABIs)]string
		for i, abi := range names.ABIs {
			of[i] = `,"syscall":"` + s.Name + `","abi":"` + abi + `","ret":`
		}
		keys = append(keys, of)
	}
	return keys
}()

func newJSONLines() *jsonLines { return &jsonLines{clock: newClock(UTC, Nanoseconds)} }

func (j *jsonLines) header(b []byte) []byte { return b }

func (j *jsonLines) begin() { j.clock.adjust() }

func (j *jsonLines) event(b []byte, e *stream.Event) []byte {
	r := e.Record
	b = append(b, `{"time":"`...)
	b = j.clock.append(b, r.Time)
	if len(j.who) == 0 || r.Details.PPID != j.ppid || !r.SameCaller(&j.before) {
		j.formatWho(r)
	}
	b = append(b, j.who...)
	if e.Container != nil {
		b = appendContainer(b, `,"container":{`, e.Container)
	}
	b = append(b, jsonCalls[r.Syscall][r.ABI]...)
	b = strconv.AppendInt(b, int64(r.Ret), 10)
	if name := names.Error(r.Ret); name != "" {
		b = append(b, `,"error":"`...)
		b = append(append(b, name...), '"')
	}
	if fd, ok := r.FD(); ok {
		b = append(b, `,"fd":`...)
		b = strconv.AppendInt(b, int64(fd), 10)
	}
	b = j.appendArguments(b, r)
	b = appendTargetKeys(b, r, e.Peer)
	if r.HasClosed() {
		b = appendClosedKeys(b, r)
	}
	if r.Details.Remarks != 0 {
		b = appendRemarks(b, r.Details.Remarks)
	}
	if r.Details.Latency > 0 {
		b = appendUintKey(b, `,"latency_ns":`, r.Details.Latency)
	}
	return append(b, "}\n"...)
}

func appendContainer(b []byte, key string, c *stream.Container) []byte {
	b = append(b, key...)
	start := len(b)
	for _, key := range [...]struct{ key, value string }{
		{`,"id":`, c.ID}, {`,"name":`, c.Name}, {`,"image":`, c.Image},
		{`,"runtime":`, c.Runtime}, {`,"pod":`, c.Pod}, {`,"pod_uid":`, c.PodUID}, {`,"namespace":`, c.Namespace},
	} {
		b = appendTextKey(b, key.key, []byte(key.value))
	}
	if len(b) > start {
		b = append(b[:start], b[start+1:]...) // the first comma
	}
	return append(b, '}')
}

func (j *jsonLines) formatWho(r *bpf.Record) {
	j.before, j.ppid = *r.Event, r.Details.PPID
	b := append(j.who[:0], '"') // that of the time
	b = appendTextKey(b, `,"hostname":`, r.Hostname())
	b = appendUintKey(b, `,"cgroup_id":`, r.CgroupID)
	b = appendUintKey(b, `,"pid":`, uint64(r.PID))
	b = appendUintKey(b, `,"tid":`, uint64(r.TID))
	b = appendUintKey(b, `,"ppid":`, uint64(r.Details.PPID))
	b = appendUintKey(b, `,"uid":`, uint64(r.UID))
	b = appendUintKey(b, `,"gid":`, uint64(r.GID))
	j.who = appendTextKey(b, `,"comm":`, r.Comm())
}

// appendArguments appends the keys of the call's arguments.
func (j *jsonLines) appendArguments(b []byte, r *bpf.Record) []byte {
	d := r.Details
	switch bpf.Syscalls[r.Syscall].Name {
	case "openat", "openat2":
		b = append(b, `,"dirfd":`...)
		b = strconv.AppendInt(b, int64(d.FD), 10)
		return j.appendOpenArguments(b, d)
	case "open", "creat":
		return j.appendOpenArguments(b, d)
	case "accept4":
		return appendFlagsKey(b, d.Flags, names.AcceptFlags)
	case "close_range":
		b = appendUintKey(b, `,"last_fd":`, uint64(d.LastFD))
		return appendFlagsKey(b, d.Flags, names.CloseRangeFlags)
	case "dup3":
		return appendFlagsKey(b, d.Flags, names.Dup3Flags)
	}
	return b
}

func (j *jsonLines) appendOpenArguments(b []byte, d *bpf.Details) []byte {
	if len(j.openFlagsText) == 0 || d.Flags != j.openFlags {
		j.openFlags, j.openFlagsText = d.Flags, names.AppendOpenFlags(j.openFlagsText[:0], d.Flags)
	}
	b = append(b, `,"flags":"`...)
	b = append(append(b, j.openFlagsText...), '"')
	if names.HasMode(d.Flags) {
		b = append(b, `,"mode":"0`...)
		for shift := 6; shift >= 0 && d.Mode>>shift == 0; shift -= 3 {
			b = append(b, '0')
		}
		if d.Mode != 0 {
			b = strconv.AppendUint(b, uint64(d.Mode), 8)
		}
		b = append(b, '"')
	}
	if d.Resolve != 0 {
		b = append(b, `,"resolve":"`...)
		b = append(names.ResolveFlags.Append(b, d.Resolve), '"')
	}
	return b
}

func appendFlagsKey(b []byte, flags uint32, set names.Flags) []byte {
	if flags == 0 {
		return b
	}
	b = append(b, `,"flags":"`...)
	return append(set.Append(b, uint64(flags)), '"')
}

// appendTargetKeys appends what the call was about. Of an open that is the path as
// given, and the file that was opened.
func appendTargetKeys(b []byte, r *bpf.Record, peer *stream.Container) []byte {
	d := r.Details
	cut := d.Remarks&bpf.Truncated != 0
	pathKey, cutKey := `,"path":`, `,"truncated":true`
	opens := bpf.Syscalls[r.Syscall].Group == "open"
	if opens {
		b = appendGiven(b, r, cut)
		pathKey, cutKey = `,"file":`, `,"file_truncated":true`
	}
	switch d.Target {
	case bpf.TargetFile, bpf.TargetMemfd:
		name := r.Name()
		if len(name) == 0 && !opens {
			b = append(b, `,"path":""`...)
		}
		if b = appendTextKey(b, pathKey, name); cut && len(name) > 0 {
			b = append(b, cutKey...)
		}
	case bpf.TargetNamespace:
		b = appendNamespaceKey(b, pathKey, r)
	case bpf.TargetSocket:
		if r.Socket != nil {
			b = appendSocketKeys(b, r, peer)
		}
	case bpf.TargetAnonymous:
		return appendTextKey(b, `,"type":`, anonymousName(r))
	}
	if t := targetType(r); t != "" {
		b = append(b, `,"type":"`...)
		b = append(append(b, t...), '"')
	}
	return b
}

// appendGiven appends the path that an open was given.
func appendGiven(b []byte, r *bpf.Record, cut bool) []byte {
	given := r.Given()
	if len(given) == 0 && r.Details.Target == bpf.TargetPath && r.Details.Remarks&bpf.Unreadable == 0 {
		return append(b, `,"path":""`...)
	}
	if b = appendTextKey(b, `,"path":`, given); cut && len(r.Name()) == 0 {
		b = append(b, `,"truncated":true`...)
	}
	return b
}

// appendNamespaceKey appends a key with a namespace's kind and number. What they make
// is put together behind b.
func appendNamespaceKey(b []byte, key string, r *bpf.Record) []byte {
	start := len(b)
	b = appendInode(append(b, r.Name()...), r.Details.Inode)
	end := len(b)
	b = appendTextKey(b, key, b[start:end])
	return append(b[:start], b[end:]...)
}

func appendSocketKeys(b []byte, r *bpf.Record, peerContainer *stream.Container) []byte {
	s := r.Socket
	b = append(b, `,"family":"`...)
	b = append(names.AppendFamily(b, s.Family), '"')
	if s.Type != 0 {
		b = appendProtocolKey(b, s)
	}
	peer, local, asked := ends(r)
	b = appendAddressKeys(b, `,"addr":`, `,"port":`, peer)
	b = appendAddressKeys(b, `,"asked_addr":`, `,"asked_port":`, asked)
	b = appendAddressKeys(b, `,"local_addr":`, `,"local_port":`, local)
	if s.PeerPID == 0 {
		return b
	}
	b = appendUintKey(b, `,"peer_pid":`, uint64(s.PeerPID))
	b = appendUintKey(b, `,"peer_uid":`, uint64(s.PeerUID))
	if peerContainer != nil {
		b = appendContainer(b, `,"peer_container":{`, peerContainer)
	}
	return b
}

// appendProtocolKey appends the key of a socket's protocol, or nothing if it has none.
func appendProtocolKey(b []byte, s *bpf.Socket) []byte {
	start := len(b)
	b = append(b, `,"protocol":"`...)
	value := len(b)
	if b = socketOf(s).AppendProtocol(b); len(b) == value {
		return b[:start]
	}
	return append(b, '"')
}

func appendAddressKeys(b []byte, addrKey, portKey string, a bpf.Address) []byte {
	switch {
	case a.IsVsock:
		b = append(append(b, addrKey...), '"')
		b = append(strconv.AppendUint(b, uint64(a.CID), 10), '"')
		return appendUintKey(b, portKey, uint64(a.Port))
	case a.IP.IsValid():
		b = append(append(b, addrKey...), '"')
		b = append(appendIP(b, a), '"')
		return appendUintKey(b, portKey, uint64(a.Port))
	case len(a.Unix) > 0 && a.Unix[0] == 0:
		var name [109]byte
		n := copy(name[:], a.Unix)
		name[0] = '@'
		return appendTextKey(b, addrKey, name[:n])
	}
	return appendTextKey(b, addrKey, a.Unix)
}

// appendClosedKeys appends the files that a close_range closed, as far as they are
// known, each as what a close is about, and how many there were.
func appendClosedKeys(b []byte, r *bpf.Record) []byte {
	start := len(b)
	open := `,"closed":[{"fd":`
	for closed := range r.Closed() {
		b = append(b, open...)
		b = strconv.AppendInt(b, int64(closed.Details.FD), 10)
		b = append(appendTargetKeys(b, &closed, nil), '}')
		open = `,{"fd":`
	}
	if len(b) > start {
		b = append(b, ']')
	}
	return appendUintKey(b, `,"closed_count":`, uint64(r.Details.NumClosed))
}

func appendRemarks(b []byte, remarks bpf.Remark) []byte {
	if remarks&bpf.Unreadable != 0 {
		b = append(b, `,"unreadable":true`...)
	}
	if remarks&bpf.Outcome != 0 {
		b = append(b, `,"outcome":true`...)
	}
	if remarks&bpf.FastOpen != 0 {
		b = append(b, `,"fast_open":true`...)
	}
	return b
}

// socketOf is the socket that a call was about.
func socketOf(s *bpf.Socket) names.Socket {
	return names.Socket{Family: s.Family, Type: s.Type, Protocol: s.Protocol}
}

// targetType says what kind of thing the target of a call is, "" if that is not
// known.
func targetType(r *bpf.Record) string {
	switch r.Details.Target {
	case bpf.TargetFile:
		return names.FileType(r.Details.FileMode)
	case bpf.TargetSocket:
		return "socket"
	case bpf.TargetPipe:
		return "pipe"
	case bpf.TargetMemfd:
		return "memfd"
	case bpf.TargetNamespace:
		return "namespace"
	}
	return ""
}

func appendUintKey(b []byte, key string, value uint64) []byte {
	return strconv.AppendUint(append(b, key...), value, 10)
}

// appendTextKey appends a key, given as ,"key": and its value, or nothing for no
// text.
func appendTextKey(b []byte, key string, text []byte) []byte {
	if len(text) == 0 {
		return b
	}
	b = append(append(b, key...), '"')
	b, valid := escape.AppendJSON(b, text)
	b = append(b, '"')
	if valid {
		return b
	}
	b = append(b, key[:len(key)-2]...)
	b = append(b, `_base64":"`...)
	return append(base64.StdEncoding.AppendEncode(b, text), '"')
}
