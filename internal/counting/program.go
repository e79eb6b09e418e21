// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package counting

import (
	"fmt"

	"github.com/copenclose/copenclose/bpf"
)

// A Program is an executable, by the path under which it ran: containers of one image
// have the same. Two are the same if their pointers are.
type Program struct {
	Path  string // as who runs it sees it, arbitrary bytes
	named bool   // Path is a path
}

// kernelThreads is the program of threads that have none.
var kernelThreads = &Program{Path: "[kernel]"}

// programs knows the path of each executable. Executables and paths are both bounded,
// because anybody can make new ones.
type programs struct {
	byExecutable map[bpf.Executable]*Program
	byPath       map[string]*Program
}

// programsMax bounds how many executables, and how many paths, are remembered. What
// is beyond that is one program.
const programsMax = 1 << 18

var otherPrograms = &Program{Path: "(others)"}

func newPrograms() programs {
	return programs{make(map[bpf.Executable]*Program), make(map[string]*Program)}
}

// name notes the path of an executable.
func (p *programs) name(exe bpf.Executable, path *bpf.ExecutablePath) {
	text, cut := path.Bytes()
	name := string(text)
	if cut {
		name += "..."
	}
	if known := p.byExecutable[exe]; known != nil && known.Path == name {
		return
	}
	program := p.byPath[name]
	if program == nil {
		program = &Program{Path: name, named: true}
		if len(p.byPath) < programsMax {
			p.byPath[name] = program
		} else {
			program = otherPrograms
		}
	}
	p.note(exe, program)
}

func (p *programs) note(exe bpf.Executable, program *Program) {
	if len(p.byExecutable) >= programsMax {
		clear(p.byExecutable) // paths come again with new totals
	}
	p.byExecutable[exe] = program
}

// of returns the program of an executable; one whose path is not known goes by its
// numbers.
func (p *programs) of(exe bpf.Executable) *Program {
	if exe.Inode == 0 {
		return kernelThreads
	}
	program := p.byExecutable[exe]
	if program == nil {
		program = &Program{Path: fmt.Sprintf("[inode %d on %d:%d]", exe.Inode, exe.Device>>20, exe.Device&(1<<20-1))}
		p.note(exe, program)
	}
	return program
}
