// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/escape"
	"github.com/copenclose/copenclose/internal/stream"
)

// exits reports whether a process ends.
func exits(s bpf.Syscall) bool { return s.Name == "exit" }

// isEvent reports whether it is no syscall, but what happens to a process.
func isEvent(s bpf.Syscall) bool { return s.Event }

var processFields = []Field{
	{Name: "signal", About: "of exit: the signal that ended the process, by name", Kind: Symbol, width: 8,
		needs: needsDetails, facets: ofCall, calls: exits,
		value: func(e *stream.Event, scratch []byte) Value { return symbols(appendSignal(scratch, e.Record)) }},
	{Name: "process_age_ns", Column: "age", About: "of exec and exit: how long ago the process was forked; in JSON and tsv in ns", Kind: Duration, width: 6, right: true,
		needs: needsDetails, facets: ofCall, calls: isEvent,
		value: func(e *stream.Event, _ []byte) Value { return Value{Kind: Duration, number: age(e.Record)} }},
}

// age returns how long ago the process was forked, in ns.
func age(r *bpf.Record) uint64 { return max(r.Time, r.Details.Started()) - r.Details.Started() }

// appendSignal appends the name of the signal that ended a process, if one did.
func appendSignal(b []byte, r *bpf.Record) []byte {
	status := r.Details.Status()
	if !status.Signaled() {
		return b
	}
	if name := unix.SignalName(status.Signal()); name != "" {
		return append(b, name...)
	}
	return strconv.AppendInt(append(b, "SIG"...), int64(status.Signal()), 10)
}

// putText appends text as it is, or escaped.
type putText func(b, text []byte) []byte

func asIs(b, text []byte) []byte       { return append(b, text...) }
func withSpaces(b, text []byte) []byte { return escape.Append(b, text, true) }
func asOneWord(b, text []byte) []byte  { return escape.Append(b, text, false) }

// appendArgs appends arguments, each with a NUL behind it, as a shell would take them,
// with spaces between them.
func appendArgs(b, args []byte, put putText) []byte {
	start := len(b)
	for len(args) > 0 {
		arg, rest, _ := bytes.Cut(args, nul)
		if args = rest; len(b) > start {
			b = append(b, ' ')
		}
		b = appendArg(b, arg, put)
	}
	return b
}

var nul = []byte{0}

// special are the characters that mean something to a shell.
const special = " \t\n'\"\\$`|&;<>()*?[]{}#~!"

func appendArg(b, arg []byte, put putText) []byte {
	if len(arg) > 0 && !bytes.ContainsAny(arg, special) {
		return put(b, arg)
	}
	b = append(b, '\'')
	for {
		i := bytes.IndexByte(arg, '\'')
		if i < 0 {
			return append(put(b, arg), '\'')
		}
		b = append(put(b, arg[:i]), `'\''`...)
		arg = arg[i+1:]
	}
}

// appendEvent appends what program was executed, with the arguments behind its name, or
// how a process ended, and after what time.
func (s *detailStyle) appendEvent(b []byte, r *bpf.Record, spaces bool) []byte {
	if exits(bpf.Syscalls[r.Syscall]) {
		if start := len(b); len(appendSignal(b, r)) > start {
			b = append(appendSignal(b, r), ' ')
		}
		return appendDuration(append(b, "after "...), age(r))
	}
	d := r.Details
	b = appendPath(b, r.Name(), d.Remarks&bpf.Truncated != 0, false)
	_, args, _ := bytes.Cut(r.Given(), nul)
	if put := asOneWord; len(args) > 0 {
		if spaces {
			put = withSpaces
		}
		b = appendArgs(append(b, ' '), args, put)
	}
	if d.Remarks&bpf.ArgsCut != 0 {
		b = append(b, "..."...)
	}
	return b
}

// appendExec appends the call of execve(2), and appendExit how a process ended, as
// strace(1) does.
func appendExec(b []byte, r *bpf.Record) []byte {
	b = append(escape.AppendC(append(b, `execve("`...), r.Name(), ""), `", [`...)
	for args := r.Given(); len(args) > 0; {
		arg, rest, _ := bytes.Cut(args, nul)
		b = append(escape.AppendC(append(b, '"'), arg, ""), '"')
		if args = rest; len(args) > 0 {
			b = append(b, ", "...)
		}
	}
	if r.Details.Remarks&bpf.ArgsCut != 0 {
		b = append(b, "..."...)
	}
	return append(b, "], ?) = 0\n"...)
}

func appendExit(b []byte, r *bpf.Record) []byte {
	status := r.Details.Status()
	if !status.Signaled() {
		b = strconv.AppendInt(append(b, "+++ exited with "...), int64(status.ExitStatus()), 10)
	} else if b = appendSignal(append(b, "+++ killed by "...), r); status.CoreDump() {
		b = append(b, " (core dumped)"...)
	}
	return append(b, " +++\n"...)
}
