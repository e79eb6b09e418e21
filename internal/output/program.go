// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"slices"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/escape"
	"github.com/copenclose/copenclose/internal/stream"
)

// programFields are of what the process runs.
var programFields = []Field{
	{Name: "exe", About: "the program that the process runs: the path of its executable", Kind: Text, width: 16,
		needs: needsPrograms, facets: ofContainer, when: condition{all: hasProgram},
		value: func(e *stream.Event, _ []byte) Value { return textOf(e.Program.Exe) }},
	{Name: "exe_truncated", About: "exe is cut", Kind: True, width: 9,
		needs: needsPrograms, facets: ofContainer, when: condition{all: hasProgram},
		value: func(e *stream.Event, _ []byte) Value { return truth(e.Program.ExeCut) }},
	{Name: "args", About: "the arguments that it was executed with, quoted as in a shell where they have to be; of exec also without --program", Kind: Text, width: 16,
		needs: needsPrograms, OfExec: true, facets: ofContainer,
		value: func(e *stream.Event, scratch []byte) Value {
			args, _ := argsOf(e)
			return text(appendArgs(scratch, args, asIs))
		}},
	{Name: "args_truncated", About: "args is cut", Kind: True, width: 9,
		needs: needsPrograms, OfExec: true, facets: ofContainer,
		value: func(e *stream.Event, _ []byte) Value {
			_, cut := argsOf(e)
			return truth(cut)
		}},
	{Name: "parents", About: "the program of who forked the process, of who forked that, and so on, at most 8, as they were then; in JSON with their pids", Kind: Parents, width: 16,
		needs: needsPrograms, facets: ofContainer, when: condition{all: hasProgram},
		value: func(e *stream.Event, scratch []byte) Value {
			if len(e.Program.Parents) == 0 {
				return Value{}
			}
			return Value{Kind: Parents, text: appendParents(scratch, e.Program.Parents)}
		}},
}

// programMax is more than any of programFields has in a line: each byte of a path can
// become six, and base64 with it.
const programMax = 8 * (1 + stream.ParentsMax) * bpf.TextMax

// executes reports whether a process executes a program.
func executes(s bpf.Syscall) bool { return s.Name == "exec" }

// ofExecAlone returns a field that has OfExec for where programs are not asked for.
func ofExecAlone(f Field) Field {
	f.needs, f.facets, f.calls = needsDetails, ofCall, executes
	return f
}

// argsOf returns the arguments of the program, each with a NUL behind it, and whether
// they are cut.
func argsOf(e *stream.Event) (args []byte, cut bool) {
	switch {
	case e.Program != nil:
		return e.Program.Args, e.Program.ArgsCut
	case executes(bpf.Syscalls[e.Syscall]) && e.Details != nil:
		return e.Given(), e.Details.Remarks&bpf.ArgsCut != 0
	}
	return nil, false
}

// appendParents appends the names of parents with < between them, which is escaped in a
// name.
func appendParents(b []byte, parents []stream.Parent) []byte {
	for i := range parents {
		if i > 0 {
			b = append(b, '<')
		}
		start := len(b)
		if b = escape.Append(b, textOf(parents[i].Name()).text, false); len(b) == start {
			b = append(b, '?')
		}
		b = escapeByte(b, start, '<', `\x3c`)
	}
	return b
}

// escapeByte replaces a byte in b from start on.
func escapeByte(b []byte, start int, c byte, by string) []byte {
	for i := start; i < len(b); i++ {
		if b[i] == c {
			b = slices.Replace(b, i, i+1, []byte(by)...)
		}
	}
	return b
}
