// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package stream

import (
	"cmp"
	"strings"
)

// A Program is what a process runs, and whose child the process is. It does not change:
// when the process executes another program, another one takes its place. The children
// that it forks have its own, but for Parents, until they execute one themselves.
type Program struct {
	Exe     string // path of the executable, as who runs it sees it; arbitrary bytes, empty for a thread of the kernel
	Comm    string // name of the thread where there is no Exe: of one of the kernel, or where it may not be looked up
	Args    []byte // the arguments as they were given, each with a NUL behind it
	ExeCut  bool   // Exe is not all of the path
	ArgsCut bool   // Args are not all of them
	// Parents are who forked the process, who forked that, and so on, as they were then.
	Parents []Parent
}

// ParentsMax is how many Parents are known at most.
const ParentsMax = 8

// A Parent is a process that forked another one.
type Parent struct {
	PID  uint32 // in the initial PID namespace
	Exe  string // what it ran then, see Program
	Comm string
}

// Name returns what people call the program of a process: the last part of its path, or
// the name of a thread of the kernel. It is empty where that is not known.
func (p *Parent) Name() string {
	if strings.HasPrefix(p.Exe, "/") {
		return p.Exe[1+strings.LastIndexByte(p.Exe, '/'):]
	}
	return cmp.Or(p.Exe, p.Comm)
}
