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

// Prune forgets births of what was closed before s was taken, so that there is room.
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
	err = entries(m, func(key *bpf.BirthKey, birth *bpf.Birth) {
		if birth.Time < s.Time && !open[*key] {
			closed = append(closed, *key)
		}
	})
	for _, key := range closed {
		_ = m.DeleteKey(unsafe.Pointer(&key))
	}
	return err
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
