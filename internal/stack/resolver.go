// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package stack says where in their programs calls were made: it follows the callers on
// stacks that the kernel has copied, and finds the names of functions in the files that
// processes have mapped. Those can be anybody's: nothing of them is trusted.
package stack

import (
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
)

// A Frame is a function that had called, directly or not.
type Frame struct {
	Module   string // the last part of the name of its file, or what the kernel calls the memory
	Offset   uint64 // the address in the file, as addr2line takes it; without a file, in the process
	BuildID  string // of the file, in hexadecimal digits
	Function string // "" if it is not known
	File     string // of the source, where that is known
	Line     int
	// IsGuess says that a frame pointer led here that need not be one.
	IsGuess bool
	// IsLibrary says that it is of the C library or of Go's.
	IsLibrary bool
}

// A Stack has the innermost frame first.
type Stack struct {
	Frames  []Frame
	IsWhole bool // the last one is where the thread began
}

// A Resolver knows the files that it has read. It can be used by several goroutines.
type Resolver struct {
	mu      sync.Mutex
	modules map[fileKey]*module
	size    int64 // of their files
}

// fileKey tells a file from another one, and from itself once it was changed.
type fileKey struct {
	device, inode uint64
	size          int64
	changed       unix.Timespec
}

// NewResolver returns a Resolver that knows nothing yet.
func NewResolver() *Resolver { return &Resolver{modules: make(map[fileKey]*module)} }

// How much is kept: what is read of a file is not more than the file.
const (
	modulesMax     = 256
	modulesSizeMax = 1 << 30
)

// Resolve returns the stack of a call. The process must still run the program that made
// it: then its memory is as it was.
func (r *Resolver) Resolve(s *bpf.CallStack) (*Stack, error) {
	mappings, err := readMappings(s.PID)
	if err != nil {
		return nil, err
	}
	now, err := readProgram(s.PID)
	if err != nil {
		return nil, err
	}
	if now != (program{s.StartCode, s.StartStack}) {
		return nil, fmt.Errorf("process %d runs another program", s.PID)
	}
	p := &process{resolver: r, pid: s.PID, mappings: mappings, modules: make(map[uint64]*module)}
	steps, isWhole := unwind(p, s)
	found := &Stack{IsWhole: isWhole}
	for _, step := range steps {
		found.Frames = append(found.Frames, p.frame(step))
	}
	return found, nil
}

// process is one while a stack of it is looked at.
type process struct {
	resolver *Resolver
	pid      uint32
	mappings []mapping
	modules  map[uint64]*module // by the start of a mapping; nil where it is of none
	perf     *perfMap
	hasPerf  bool // it was looked for
}

func (p *process) mapping(address uint64) *mapping { return mappingOf(p.mappings, address) }

// module returns what is mapped, nil if it is not a program or a library.
func (p *process) module(m *mapping) *module {
	if found, ok := p.modules[m.start]; ok {
		return found
	}
	var found *module
	if m.inode != 0 {
		if f, err := openMapped(p.pid, m); err == nil {
			found = p.resolver.module(f)
		}
	}
	p.modules[m.start] = found
	return found
}

// module returns what a file is, which it closes if it knows it already, or if it is none.
func (r *Resolver) module(f *os.File) *module {
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		f.Close()
		return nil
	}
	key := fileKey{stat.Dev, stat.Ino, stat.Size, stat.Ctim}
	r.mu.Lock()
	found, known := r.modules[key]
	r.mu.Unlock()
	if known {
		f.Close()
		return found
	}
	found, err := newModule(f)
	if err != nil {
		f.Close()
		found = nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.size += stat.Size; len(r.modules) >= modulesMax || r.size > modulesSizeMax {
		clear(r.modules) // files are closed when nobody uses them any more
		r.size = stat.Size
	}
	r.modules[key] = found
	return found
}

// jitted returns the name of a function that was made while the program ran.
func (p *process) jitted(address uint64) string {
	if !p.hasPerf {
		p.hasPerf = true
		p.perf, _ = readPerfMap(p.pid) // most have none
	}
	return p.perf.at(address)
}

// isGoEnd reports whether a goroutine begins at an address.
func (p *process) isGoEnd(address uint64) bool {
	f := p.frame(step{address: address, lookup: address})
	return f.Function == "runtime.goexit" || strings.HasPrefix(f.Function, "runtime.rt0_go")
}

func (p *process) frame(s step) Frame {
	f := Frame{Offset: s.address, IsGuess: s.isGuess}
	m := p.mapping(s.lookup)
	if m == nil {
		return f
	}
	f.Module = m.name()
	module := p.module(m)
	if module == nil {
		if !strings.HasPrefix(m.path, "[v") {
			f.Function = p.jitted(s.lookup)
		}
		return f
	}
	f.BuildID = module.buildID
	address, ok := module.addressOf(s.lookup - m.start + m.offset)
	if !ok {
		f.Offset = s.address - m.start + m.offset
		return f
	}
	f.Offset = address + s.address - s.lookup
	module.readNames()
	f.Function, f.File, f.Line = module.golang.at(address)
	if f.Function == "" {
		f.Function = module.symbols.at(address)
	}
	f.IsLibrary = isLibrary(&f, module.golang != nil)
	return f
}

// isLibrary reports whether a frame only makes the call for somebody.
func isLibrary(f *Frame, isGo bool) bool {
	if !isGo {
		for _, name := range []string{"libc.", "libc-", "libpthread", "ld-linux", "ld-musl"} {
			if strings.HasPrefix(f.Module, name) {
				return true
			}
		}
		return false
	}
	// A path of a module has a dot in its first element, packages of Go have none.
	first, _, _ := strings.Cut(f.Function, "/")
	if first == f.Function {
		first, _, _ = strings.Cut(f.Function, ".")
		return first != "main" && f.Function != ""
	}
	return !strings.Contains(first, ".")
}
