package output

import (
	"encoding/base64"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/copenclose/copenclose/bpf"
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
var jsonCalls = func() (keys [][len(abis)]string) {
	for _, s := range bpf.Syscalls {
		var of [len(abis)]string
		for i, abi := range abis {
			of[i] = `,"syscall":"` + s.Name + `","abi":"` + abi + `","ret":`
		}
		keys = append(keys, of)
	}
	return keys
}()

func newJSONLines() *jsonLines { return &jsonLines{clock: newClock(UTC, Nanoseconds)} }

func (j *jsonLines) header(b []byte) []byte { return b }

func (j *jsonLines) begin() { j.clock.adjust() }

func (j *jsonLines) event(b []byte, r *bpf.Record, c *Container) []byte {
	b = append(b, `{"time":"`...)
	b = j.clock.append(b, r.Time)
	if len(j.who) == 0 || r.Details.PPID != j.ppid || !r.SameCaller(&j.before) {
		j.formatWho(r)
	}
	b = append(b, j.who...)
	if c != nil {
		b = appendContainer(b, c)
	}
	b = append(b, jsonCalls[r.Syscall][r.ABI]...)
	b = strconv.AppendInt(b, int64(r.Ret), 10)
	if name := ErrorName(r.Ret); name != "" {
		b = append(b, `,"error":"`...)
		b = append(append(b, name...), '"')
	}
	if fd, ok := callFD(r); ok {
		b = append(b, `,"fd":`...)
		b = strconv.AppendInt(b, int64(fd), 10)
	}
	b = j.appendArguments(b, r)
	b = appendTarget(b, r)
	if r.Details.Latency > 0 {
		b = appendUintKey(b, `,"latency_ns":`, r.Details.Latency)
	}
	return append(b, "}\n"...)
}

func appendContainer(b []byte, c *Container) []byte {
	b = append(b, `,"container":{`...)
	start := len(b)
	for _, key := range [...]struct{ key, value string }{
		{`,"id":`, c.ID}, {`,"name":`, c.Name}, {`,"image":`, c.Image},
		{`,"runtime":`, c.Runtime}, {`,"pod":`, c.Pod}, {`,"namespace":`, c.Namespace},
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
		return appendFlagsKey(b, d.Flags, acceptFlags)
	case "close_range":
		b = appendUintKey(b, `,"last_fd":`, uint64(d.LastFD))
		return appendFlagsKey(b, d.Flags, closeRangeFlags)
	}
	return b
}

func (j *jsonLines) appendOpenArguments(b []byte, d *bpf.Details) []byte {
	if len(j.openFlagsText) == 0 || d.Flags != j.openFlags {
		j.openFlags, j.openFlagsText = d.Flags, appendOpenFlags(j.openFlagsText[:0], d.Flags)
	}
	b = append(b, `,"flags":"`...)
	b = append(append(b, j.openFlagsText...), '"')
	if hasMode(d.Flags) {
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
		b = append(appendSymbols(b, d.Resolve, resolveFlags), '"')
	}
	return b
}

func appendFlagsKey(b []byte, flags uint32, symbols []symbol) []byte {
	if flags == 0 {
		return b
	}
	b = append(b, `,"flags":"`...)
	return append(appendSymbols(b, uint64(flags), symbols), '"')
}

// appendTarget appends what the call was about.
func appendTarget(b []byte, r *bpf.Record) []byte {
	d := r.Details
	switch d.Target {
	case bpf.TargetPath, bpf.TargetFile, bpf.TargetMemfd:
		if len(r.Path()) == 0 {
			b = append(b, `,"path":""`...)
		}
		b = appendTextKey(b, `,"path":`, r.Path())
		if d.Truncated {
			b = append(b, `,"truncated":true`...)
		}
	case bpf.TargetSocket:
		b = append(b, `,"family":"`...)
		b = append(appendFamily(b, d.Family), '"')
		b = appendAddressKeys(b, `,"addr":`, `,"port":`, r.Peer())
		if bpf.Syscalls[r.Syscall].Group != "connect" {
			b = appendAddressKeys(b, `,"local_addr":`, `,"local_port":`, r.Local())
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

func appendAddressKeys(b []byte, addrKey, portKey string, a bpf.Address) []byte {
	switch {
	case a.IsZero():
		return b
	case a.IP.IsValid():
		b = append(append(b, addrKey...), '"')
		b = append(appendIP(b, a), '"')
		return appendUintKey(b, portKey, uint64(a.Port))
	case a.Unix[0] == 0:
		var name [109]byte
		n := copy(name[:], a.Unix)
		name[0] = '@'
		return appendTextKey(b, addrKey, name[:n])
	}
	return appendTextKey(b, addrKey, a.Unix)
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
	b, valid := appendJSONText(b, text)
	b = append(b, '"')
	if valid {
		return b
	}
	b = append(b, key[:len(key)-2]...)
	b = append(b, `_base64":"`...)
	return append(base64.StdEncoding.AppendEncode(b, text), '"')
}

// appendJSONText appends text as the inside of a JSON string (RFC 8259). What
// could act on a terminal is escaped, too.
func appendJSONText(b, text []byte) (_ []byte, valid bool) {
	valid = true
	for {
		n := plainJSON.prefix(text)
		b = append(b, text[:n]...)
		if text = text[n:]; len(text) == 0 {
			return b, valid
		}
		r, size := utf8.DecodeRune(text)
		switch c := text[0]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case r == utf8.RuneError && size == 1:
			b = append(b, "\uFFFD"...)
			valid = false
		case printable(r):
			b = append(b, text[:size]...)
		default:
			b = appendUnicodeEscape(b, r)
		}
		text = text[size:]
	}
}

// appendUnicodeEscape appends r as \uXXXX, above U+FFFF as a surrogate pair.
func appendUnicodeEscape(b []byte, r rune) []byte {
	if r > 0xffff {
		high, low := utf16.EncodeRune(r)
		return appendRuneEscape(appendRuneEscape(b, high), low)
	}
	return appendRuneEscape(b, r)
}
