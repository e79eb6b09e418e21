// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package descriptor shows what is open: it reads the kernel's tables of
// descriptors, and says whose they are, of what, and how near the limit.
package descriptor

import (
	"errors"
	"fmt"
	"io"
	"log"
	"strings"

	"github.com/aquasecurity/libbpfgo"
	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stack"
	"github.com/copenclose/copenclose/internal/tracer"
)

// A Kernel has the loaded programs of bpf/descriptors.bpf.c.
type Kernel struct {
	module  *libbpfgo.Module
	options Options
	rows    *libbpfgo.BPFLink
	links   map[string]int // which keep programs attached, by tracepoint
	mode    tracer.AttachMode
	misses  bool
	births  *counts // nil if none are noted

	stacks   *stack.Recorder    // nil if they are not taken
	suspects map[bpf.Maker]bool // of whose calls they are
}

// Options says what is loaded.
type Options struct {
	Births bool // note when and how descriptors are made from now on, or know it from Kept
	Makers bool // with Births: count what each process makes
	Closes bool // with Makers: count how long those lived that are closed
	Stacks bool // with Births: take stacks of the calls of suspects
	// BirthsMax is how many births there is room for; 0 for what the program says.
	BirthsMax uint64
	Kept      *Kept             // where births are noted already, nil for nowhere
	Attach    tracer.AttachMode // AutoAttach, Tracepoint or PerfTracepoint
	Verbose   *log.Logger       // for libbpf's words
}

// attaches reports whether programs are attached.
func (o *Options) attaches() bool { return o.Births && (o.Kept == nil || o.Makers) }

// Open loads the programs, and notes births from when it returns.
func Open(o Options) (*Kernel, error) {
	module, err := tracer.OpenModule("descriptors.bpf.o", bpf.WriteDescriptorsObject, o.Verbose)
	if err != nil {
		return nil, err
	}
	k := &Kernel{module: module, options: o, links: make(map[string]int)}
	if err := k.load(); err != nil {
		k.Close()
		return nil, fmt.Errorf("read the tables of descriptors, for which the kernel must be 5.8 or later (--verbose tells more): %w", err)
	}
	return k, nil
}

func (k *Kernel) load() error {
	if err := k.module.InitGlobalVariable(bpf.ConfigVariable, bpf.Config{WantDetails: true, Receives: true}); err != nil {
		return err
	}
	if err := k.module.InitGlobalVariable(bpf.BirthsVariable, k.options.Births); err != nil {
		return err
	}
	if err := k.module.InitGlobalVariable(bpf.MakersVariable, k.options.Makers); err != nil {
		return err
	}
	if err := k.module.InitGlobalVariable(bpf.StacksVariable, k.options.Stacks); err != nil {
		return err
	}
	attach := k.options.Attach
	if kept := k.options.Kept; kept != nil && !k.options.Makers {
		attach = kept.mode
	}
	mode, misses, err := tracer.TracepointMode(attach)
	if err != nil {
		return err
	}
	k.mode, k.misses = mode, k.options.Births && misses
	rows, err := k.module.GetProgram(bpf.DescriptorsProgram)
	if err != nil {
		return err
	}
	usage, err := k.module.GetProgram(bpf.UsageProgram) // a Meter's
	if err != nil {
		return err
	}
	if err := usage.SetAutoload(false); err != nil {
		return err
	}
	programs, err := k.choosePrograms(mode)
	if err != nil {
		return err
	}
	if err := k.chooseMaps(); err != nil {
		return err
	}
	if err := k.module.BPFLoadObject(); err != nil {
		return err
	}
	if k.rows, err = rows.AttachIter(libbpfgo.IterOpts{}); err != nil {
		return err
	}
	if err := k.openCounts(); err != nil {
		return err
	}
	for event, program := range programs {
		if err := k.attach(program, event); err != nil {
			return err
		}
	}
	if k.options.Stacks {
		return k.recordStacks()
	}
	return nil
}

// The tracepoints of syscalls.
const (
	atReturn = "raw_syscalls/sys_exit"
	atEntry  = "raw_syscalls/sys_enter"
)

func (k *Kernel) attach(program *libbpfgo.BPFProg, event string) error {
	if k.mode == tracer.Tracepoint {
		link, err := program.AttachGeneric()
		if err == nil {
			k.links[event] = link.FileDescriptor() // which the module closes
		}
		return err
	}
	link, err := tracer.AttachToEvent(program, event)
	if err == nil {
		k.links[event] = link
	}
	return err
}

// choosePrograms returns the programs that are wanted, by their tracepoints, and leaves
// the others out.
func (k *Kernel) choosePrograms(mode tracer.AttachMode) (map[string]*libbpfgo.BPFProg, error) {
	chosen := make(map[string]*libbpfgo.BPFProg)
	for _, p := range []struct {
		name, event string
		mode        tracer.AttachMode
		isWanted    bool
	}{
		{bpf.BirthSysExitProgram, atReturn, tracer.Tracepoint, k.options.attaches()},
		{bpf.BirthPerfSysExitProgram, atReturn, tracer.PerfTracepoint, k.options.attaches()},
		{bpf.BirthSysEnterProgram, atEntry, tracer.Tracepoint, k.options.attaches() && k.options.Closes},
		{bpf.BirthPerfSysEnterProgram, atEntry, tracer.PerfTracepoint, k.options.attaches() && k.options.Closes},
	} {
		program, err := k.module.GetProgram(p.name)
		if err != nil {
			return nil, err
		}
		if p.isWanted && p.mode == mode {
			chosen[p.event] = program
		} else if err := program.SetAutoload(false); err != nil {
			return nil, err
		}
	}
	return chosen, nil
}

// Misses reports whether this kernel can hide calls that make descriptors from us, so
// that more is unknown.
func (k *Kernel) Misses() bool { return k.misses }

// chooseMaps leaves out the maps of the tracer, which the headers that are shared with
// it have. One slot is enough: there is one reader.
func (k *Kernel) chooseMaps() error {
	maps := k.module.Iterator()
	for m := maps.NextMap(); m != nil; m = maps.NextMap() {
		var err error
		switch name := m.Name(); {
		case name == bpf.SlotsMap:
			err = m.SetMaxEntries(1)
		case k.options.Kept != nil && name == bpf.BirthsMap:
			err = m.ReuseFD(k.options.Kept.births)
		case k.options.Births && name == bpf.BirthsMap:
			if k.options.BirthsMax > 0 {
				err = m.SetMaxEntries(uint32(k.options.BirthsMax))
			}
		case k.options.Makers && name == bpf.MadeMap:
		case k.options.Stacks && (name == bpf.StacksMap || name == bpf.SuspectsMap):
		case !strings.Contains(name, "."): // others are sections, like .rodata
			err = m.SetAutocreate(false)
		}
		if err != nil {
			return fmt.Errorf("configure the map %s: %w", m.Name(), err)
		}
	}
	return nil
}

// Close unloads the programs.
func (k *Kernel) Close() {
	if k.mode == tracer.PerfTracepoint {
		for _, fd := range k.links {
			unix.Close(fd)
		}
	}
	if k.births != nil && k.options.Kept == nil {
		k.births.close()
	}
	k.module.Close()
}

// chunkSize is how much is read into one piece of memory, of which rows are views.
const chunkSize = 1 << 20

// rowMax is more than the longest row, and than the kernel returns from one read.
const rowMax = 64 << 10

// Snapshot reads every descriptor that is open in our PID namespace.
func (k *Kernel) Snapshot() (*Snapshot, error) {
	reader, err := k.rows.Reader()
	if err != nil {
		return nil, fmt.Errorf("read the tables of descriptors: %w", err)
	}
	defer reader.Close()
	return read(reader)
}

// read reads rows until r ends.
func read(r io.Reader) (*Snapshot, error) {
	s := newSnapshot(bpf.Now())
	var chunk []byte // what is left of it
	filled := 0      // how much of that was read, but not yet a row
	for {
		if len(chunk)-filled < rowMax {
			chunk = append(make([]byte, 0, chunkSize), chunk[:filled]...)[:chunkSize]
		}
		n, err := r.Read(chunk[filled:])
		if n > 0 {
			filled += n
			used, err := s.addRows(chunk[:filled])
			if err != nil {
				return nil, err
			}
			chunk, filled = chunk[used:], filled-used
			continue
		}
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue // EAGAIN: many processes without a descriptor in a row
		case err != nil && !errors.Is(err, io.EOF):
			return nil, fmt.Errorf("read the tables of descriptors: %w", err)
		case filled > 0:
			return nil, bpf.ErrRecord
		}
		return s, nil
	}
}

// initialPIDNS is PROC_PID_INIT_INO, the inode number of the initial PID namespace;
// include/linux/proc_ns.h.
const initialPIDNS = 0xEFFFFFFC

// Warning returns what a snapshot does not see, or nil: the kernel's iterators have
// only the processes of the reader's PID namespace.
func Warning() error {
	var stat unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &stat); err != nil {
		return fmt.Errorf("cannot tell whether all processes are seen: %w", err)
	}
	if stat.Ino != initialPIDNS {
		return errors.New("only processes of this PID namespace are seen; a container needs --pid=host to see all")
	}
	return nil
}
