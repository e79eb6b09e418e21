// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/aquasecurity/libbpfgo"
	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
)

// batchSize is how many entries of a map are read at once.
const batchSize = 4096

// batches is a map of libbpfgo, with its object or without.
type batches interface {
	Name() string
	GetValueBatch(keys, startKey, nextKey unsafe.Pointer, count uint32) ([][]byte, uint32, error)
}

// entries calls visit for the entries of a hash map, in steps: some can be missed or come
// twice where it changes meanwhile.
func entries[K, V any](m batches, visit func(*K, *V)) error {
	keys := make([]K, batchSize)
	var start, next [64]byte // opaque to us: where the kernel goes on
	from := unsafe.Pointer(nil)
	for {
		var values [][]byte
		var n uint32
		err := unpreempted(func() (err error) {
			values, n, err = m.GetValueBatch(unsafe.Pointer(&keys[0]), from, unsafe.Pointer(&next[0]), batchSize)
			return err
		})
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("read the map %s: %w", m.Name(), err)
		}
		for i := range min(int(n), len(values)) {
			visit(&keys[i], (*V)(unsafe.Pointer(&values[i][0])))
		}
		if n < batchSize {
			return nil
		}
		start = next
		from = unsafe.Pointer(&start[0])
	}
}

// Made returns what each process has made since Open, by call, and forgets processes
// that are not in s.
func (k *Kernel) Made(s *Snapshot) (map[bpf.Maker]bpf.Made, error) {
	m, err := k.module.GetMap(bpf.MadeMap)
	if err != nil {
		return nil, err
	}
	running := make(map[uint32]bool)
	for _, t := range s.Tables {
		running[t.PID] = true
		for _, pid := range t.Shares {
			running[pid] = true
		}
	}
	made := make(map[bpf.Maker]bpf.Made)
	var ended []bpf.Maker
	err = entries(m, func(key *bpf.Maker, counts *bpf.Made) {
		if made[*key] = *counts; !running[key.PID] {
			ended = append(ended, *key)
		}
	})
	if err != nil {
		return nil, err
	}
	for _, key := range ended {
		_ = m.DeleteKey(unsafe.Pointer(&key)) // gone already, or started again
	}
	return made, nil
}

// IsCrowded reports whether half of the room for births can be taken, so that Prune is
// worth its while. It never is where others' ledger has births of processes that we do not
// see.
func (k *Kernel) IsCrowded() (bool, error) {
	if k.options.Kept != nil && Warning() != nil {
		return false, nil
	}
	m, err := k.module.GetMap(bpf.BirthsMap)
	if err != nil {
		return false, err
	}
	room, since := uint64(m.MaxEntries()), k.births.noted()-k.births.notedAtPrune()
	return k.births.keptByPrune()+since >= room/2 && since >= room/8, nil
}

// Prune forgets births of what was closed before s was taken, where IsCrowded.
func (k *Kernel) Prune(s *Snapshot) error {
	if crowded, err := k.IsCrowded(); err != nil || !crowded {
		return err
	}
	m, err := k.module.GetMap(bpf.BirthsMap)
	if err != nil {
		return err
	}
	noted := k.births.noted()
	open := make(map[bpf.BirthKey]bool)
	for d := range s.All() {
		open[bpf.BirthKey{Address: d.File, FD: bpf.BirthOfFile}] = true
		open[bpf.BirthKey{Address: d.DescriptorRow.Table, FD: d.FD}] = true
	}
	var closed []bpf.BirthKey
	copied := make(map[uint64]bool) // files that got a descriptor more since s was begun, which s can have missed
	all := 0
	err = entries(m, func(key *bpf.BirthKey, birth *bpf.Birth) {
		all++
		switch {
		case birth.Time >= s.Time && key.FD != bpf.BirthOfFile:
			copied[birth.Identity] = true
		case birth.Time < s.Time && !open[*key]:
			closed = append(closed, *key)
		}
	})
	if err != nil {
		return err
	}
	closed = slices.DeleteFunc(closed, func(key bpf.BirthKey) bool { return key.FD == bpf.BirthOfFile && copied[key.Address] })
	k.births.pruned(noted, uint64(all-len(closed)))
	for some := range slices.Chunk(closed, batchSize) {
		if err := unpreempted(func() error { return forget(m, some, s.Time) }); err != nil {
			return err
		}
	}
	return nil
}

// errNotSupported is ENOTSUPP of the kernel, which no program should see.
const errNotSupported = unix.Errno(524)

// forget removes births, unless an address was taken for another one since: that is put
// back, unless yet another one is there already. No snapshot is taken meanwhile. Hash
// maps have this call from 5.14 on (3e87f192b405, "bpf: Add lookup_and_delete_elem
// support to hashtab"); before, what is taken between the two calls is unknown.
func forget(m *libbpfgo.BPFMap, keys []bpf.BirthKey, before uint64) error {
	for i := range keys {
		var birth bpf.Birth
		at, value := unsafe.Pointer(&keys[i]), unsafe.Pointer(&birth)
		err := m.LookupAndDeleteElem(at, value, uint64(unsafe.Sizeof(birth)), libbpfgo.MapFlagUpdateAny)
		switch {
		case errors.Is(err, unix.ENOENT):
		case errors.Is(err, errNotSupported):
			now, err := m.GetValue(at)
			if err == nil && (*bpf.Birth)(unsafe.Pointer(&now[0])).Time < before {
				_ = m.DeleteKey(at) // gone already
			}
		case err != nil:
			return fmt.Errorf("remove from the map %s: %w", m.Name(), err)
		case birth.Time >= before:
			_ = m.UpdateValueFlags(at, value, libbpfgo.MapFlagUpdateNoExist) // newer is there
		}
	}
	return nil
}

// unpreempted runs f where no other program gets this CPU, if it may: while a map is read
// or changed by a syscall, the kernel skips the programs of perf events on that CPU
// (bpf_disable_instrumentation), and where it preempts the syscall, that are the calls
// of whole time slices.
func unpreempted(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return f()
	}
	first := *before
	first.Policy, first.Priority, first.Nice = unix.SCHED_FIFO, 1, 0
	if unix.SchedSetAttr(0, &first, 0) != nil {
		return f()
	}
	defer func() { _ = unix.SchedSetAttr(0, before, 0) }()
	return f()
}

// BirthsFD returns the map of births, for programs that share it.
func (k *Kernel) BirthsFD() (int, error) {
	m, err := k.module.GetMap(bpf.BirthsMap)
	if err != nil {
		return 0, err
	}
	return m.FileDescriptor(), nil
}

// Lost returns how many births found no room.
func (k *Kernel) Lost() uint64 {
	if k.births == nil {
		return 0
	}
	return k.births.lost()
}

// counts are those of births, in the memory of the map that the programs count in.
type counts struct {
	*bpf.BirthCounts
	mapping []byte
}

func (k *Kernel) openCounts() (err error) {
	switch {
	case !k.options.Births:
	case k.options.Kept != nil:
		k.births = k.options.Kept.counts
	default:
		var m *libbpfgo.BPFMap
		if m, err = k.module.GetMap(bpf.CountsMap); err == nil {
			k.births, err = mapCounts(m.FileDescriptor())
		}
	}
	return err
}

func mapCounts(fd int) (*counts, error) {
	mapping, err := unix.Mmap(fd, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s into memory: %w", bpf.CountsMap, err)
	}
	return &counts{(*bpf.BirthCounts)(unsafe.Pointer(&mapping[0])), mapping}, nil
}

func (c *counts) noted() uint64        { return atomic.LoadUint64(&c.Noted) }
func (c *counts) lost() uint64         { return atomic.LoadUint64(&c.Lost) }
func (c *counts) notedAtPrune() uint64 { return atomic.LoadUint64(&c.NotedAtPrune) }
func (c *counts) keptByPrune() uint64  { return atomic.LoadUint64(&c.KeptByPrune) }

// pruned notes how many births had been noted when some were forgotten, and how many are
// left.
func (c *counts) pruned(noted, left uint64) {
	atomic.StoreUint64(&c.NotedAtPrune, noted)
	atomic.StoreUint64(&c.KeptByPrune, left)
}

func (c *counts) close() { _ = unix.Munmap(c.mapping) }
