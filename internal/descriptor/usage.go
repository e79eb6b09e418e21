// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"unsafe"

	"github.com/aquasecurity/libbpfgo"
	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/tracer"
)

// A Meter counts how many descriptors processes have open, at a microsecond a process,
// because it looks at none of them.
type Meter struct {
	module *libbpfgo.Module
	run    *libbpfgo.BPFLink
	usages *libbpfgo.BPFMap
}

// OpenMeter loads the program, which needs Linux 5.8. libbpf's words go to verbose.
func OpenMeter(verbose *log.Logger) (*Meter, error) {
	module, err := tracer.OpenModule("descriptors.bpf.o", bpf.WriteDescriptorsObject, verbose)
	if err != nil {
		return nil, err
	}
	m := &Meter{module: module}
	if err := m.load(); err != nil {
		module.Close()
		return nil, fmt.Errorf("count open descriptors, for which the kernel must be 5.8 or later: %w", err)
	}
	return m, nil
}

func (m *Meter) load() (err error) {
	var program *libbpfgo.BPFProg
	programs := m.module.Iterator()
	for p := programs.NextProgram(); p != nil; p = programs.NextProgram() {
		if p.Name() == bpf.UsageProgram {
			program = p
		} else if err := p.SetAutoload(false); err != nil {
			return err
		}
	}
	if program == nil {
		return fmt.Errorf("no program %s", bpf.UsageProgram)
	}
	maps := m.module.Iterator()
	for other := maps.NextMap(); other != nil; other = maps.NextMap() {
		if name := other.Name(); name != bpf.UsagesMap && !strings.Contains(name, ".") {
			if err := other.SetAutocreate(false); err != nil {
				return err
			}
		}
	}
	if err := m.module.BPFLoadObject(); err != nil {
		return err
	}
	if m.run, err = program.AttachIter(libbpfgo.IterOpts{}); err != nil {
		return err
	}
	m.usages, err = m.module.GetMap(bpf.UsagesMap)
	return err
}

// Read calls visit for each process that has something open; before Linux 6.4 those of
// our PID namespace. It looks at up to 65,536 of them.
func (m *Meter) Read(visit func(*bpf.Usage)) error {
	reader, err := m.run.Reader()
	if err != nil {
		return fmt.Errorf("count open descriptors: %w", err)
	}
	err = readOut(reader)
	reader.Close()
	if err != nil {
		return fmt.Errorf("count open descriptors: %w", err)
	}
	keys := make([]uint64, batchSize)
	var next uint64 // opaque to us: where the kernel goes on
	from := unsafe.Pointer(nil)
	for {
		values, n, err := m.usages.GetValueAndDeleteBatch(unsafe.Pointer(&keys[0]), from, unsafe.Pointer(&next), batchSize)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("read the map %s: %w", bpf.UsagesMap, err)
		}
		for _, value := range values[:min(int(n), len(values))] {
			visit((*bpf.Usage)(unsafe.Pointer(&value[0])))
		}
		if err != nil || n < batchSize {
			return nil
		}
		from = unsafe.Pointer(&next)
	}
}

// readOut has an iterator run to its end. It writes nothing, and returns EAGAIN after many
// tasks.
func readOut(r io.Reader) error {
	var b [1]byte
	for {
		switch _, err := r.Read(b[:]); {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		case errors.Is(err, io.EOF):
			return nil
		default:
			return err
		}
	}
}

// Close unloads the program.
func (m *Meter) Close() { m.module.Close() }
