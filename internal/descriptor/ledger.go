// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"github.com/aquasecurity/libbpfgo"
	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
)

// batchSize is how many entries of a map are read at once.
const batchSize = 4096

// entries calls visit for the entries of a hash map, in steps: some can be missed or come
// twice where it changes meanwhile.
func entries[K, V any](m *libbpfgo.BPFMap, visit func(*K, *V)) error {
	keys := make([]K, batchSize)
	var start, next [64]byte // opaque to us: where the kernel goes on
	from := unsafe.Pointer(nil)
	for {
		values, n, err := m.GetValueBatch(unsafe.Pointer(&keys[0]), from, unsafe.Pointer(&next[0]), batchSize)
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

// Prune forgets births of what was closed before s was taken, once half of the room is
// taken.
func (k *Kernel) Prune(s *Snapshot) error {
	m, err := k.module.GetMap(bpf.BirthsMap)
	if err != nil {
		return err
	}
	open := make(map[bpf.BirthKey]bool)
	for d := range s.All() {
		open[bpf.BirthKey{Address: d.File, FD: bpf.BirthOfFile}] = true
		open[bpf.BirthKey{Address: d.DescriptorRow.Table, FD: d.FD}] = true
	}
	var closed []bpf.BirthKey
	all := 0
	err = entries(m, func(key *bpf.BirthKey, birth *bpf.Birth) {
		if all++; birth.Time < s.Time && !open[*key] {
			closed = append(closed, *key)
		}
	})
	if err != nil || uint32(all) < m.MaxEntries()/2 {
		return err
	}
	for i := range closed {
		if err := forget(m, &closed[i], s.Time); err != nil {
			return err
		}
	}
	return nil
}

// errNotSupported is ENOTSUPP of the kernel, which no program should see.
const errNotSupported = unix.Errno(524)

// forget removes a birth, unless its address was taken for another one since: that is put
// back, unless yet another one is there already. No snapshot is taken meanwhile. Hash
// maps have this call from 5.14 on (3e87f192b405, "bpf: Add lookup_and_delete_elem
// support to hashtab"); before, what is taken between the two calls is unknown.
func forget(m *libbpfgo.BPFMap, key *bpf.BirthKey, before uint64) error {
	var birth bpf.Birth
	at, value := unsafe.Pointer(key), unsafe.Pointer(&birth)
	err := m.LookupAndDeleteElem(at, value, uint64(unsafe.Sizeof(birth)), libbpfgo.MapFlagUpdateAny)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, errNotSupported):
		now, err := m.GetValue(at)
		if err == nil && (*bpf.Birth)(unsafe.Pointer(&now[0])).Time < before {
			_ = m.DeleteKey(at) // gone already
		}
		return nil
	case err != nil:
		return fmt.Errorf("remove from the map %s: %w", m.Name(), err)
	}
	if birth.Time >= before {
		_ = m.UpdateValueFlags(at, value, libbpfgo.MapFlagUpdateNoExist) // newer is there
	}
	return nil
}

// Lost returns how many births found no room.
func (k *Kernel) Lost() (uint64, error) {
	m, err := k.module.GetMap(bpf.LostMap)
	if err != nil {
		return 0, err
	}
	var zero uint32
	value, err := m.GetValue(unsafe.Pointer(&zero))
	if err != nil {
		return 0, fmt.Errorf("read the map %s: %w", m.Name(), err)
	}
	return binary.NativeEndian.Uint64(value), nil
}
