// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

// #include <bpf/bpf.h>
import "C"

import (
	"fmt"
	"unsafe"

	"github.com/aquasecurity/libbpfgo"
	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
)

// chooseMaps leaves out the maps that no remaining code uses, and sizes the
// buffer.
func (o *object) chooseMaps(cfg Config) error {
	cpus, err := libbpfgo.NumPossibleCPUs()
	if err != nil {
		return fmt.Errorf("count the CPUs: %w", err)
	}
	for _, m := range []struct {
		name    string
		wanted  bool
		entries int // 0 to leave it as it is
	}{
		{bpf.RingMap, cfg.Buffer == Ring, cfg.BufferSize},
		{bpf.PerfMap, cfg.Buffer == Perf, cpus},
		{bpf.SlotsMap, cfg.freeSlots(cpus) > 0, bpf.ClosingSlots + cfg.freeSlots(cpus)},
		{bpf.FreeSlotsMap, cfg.freeSlots(cpus) > 0, cfg.freeSlots(cpus)},
		{bpf.ClosingSlotsMap, cfg.usesSlots(), 0},
		{bpf.ClosingMap, cfg.usesSlots(), 0},
		{bpf.EnteredMap, cfg.Latency, 0},
		{bpf.BirthsMap, cfg.Lifetime, 0},
		{bpf.ConnectingMap, o.watchesConnects(cfg), 0},
		{bpf.EndedMap, o.traces("exit"), 0},
		{bpf.CgroupCountsMap, cfg.ByContainer, 0},
		{bpf.RatesMap, cfg.Rate.PerSecond > 0, 0},
		{bpf.IDsMap, cfg.Filter.usesIDs(), 0},
		{bpf.CommsMap, cfg.Filter.Comms.Len() > 0, 0},
		{bpf.PathsMap, cfg.Filter.Paths.Len() > 0, 0},
		{bpf.CgroupsMap, cfg.Filter.Cgroups.Len() > 0, 0},
		{bpf.VerdictsMap, cfg.usesVerdicts(), 0},
		{bpf.TotalsMap, cfg.Counting != nil, 0},
		{bpf.OtherTotalsMap, cfg.Counting != nil, 0},
		{bpf.ExecutablesMap, cfg.Counting != nil, 0},
		{bpf.SamplersMap, cfg.Counting != nil && cfg.Counting.Samples > 0, 0},
		{bpf.RequestsMap, o.uring.traced, 0},
		{bpf.RequestTextsMap, o.uring.traced && cfg.usesSlots(), 0},
		{bpf.NamedRequestsMap, o.uring.traced, 0},
		{bpf.RequestPlacesMap, o.uring.traced, 0},
		{bpf.FreePlacesMap, o.uring.traced, 0},
		{bpf.EndedTablesMap, cfg.AllCloses, 0},
	} {
		bpfMap, err := o.module.GetMap(m.name)
		if err == nil && !m.wanted {
			err = bpfMap.SetAutocreate(false)
		}
		if err == nil && m.wanted && m.entries > 0 {
			err = bpfMap.SetMaxEntries(uint32(m.entries))
		}
		if err != nil {
			return fmt.Errorf("configure the map %s: %w", m.name, err)
		}
	}
	if !cfg.Lifetime {
		return nil
	}
	births, err := o.module.GetMap(bpf.BirthsMap)
	if err == nil {
		err = births.ReuseFD(cfg.Births)
	}
	if err != nil {
		return fmt.Errorf("share the map %s: %w", bpf.BirthsMap, err)
	}
	return nil
}

// mmap maps a part of a map into memory, until close.
func (o *object) mmap(name string, offset, size, prot int) ([]byte, error) {
	m, err := unix.Mmap(o.mapFD(name), int64(offset), size, prot, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s into memory: %w", name, err)
	}
	o.mappings = append(o.mappings, m)
	return m, nil
}

// mapFD is the file descriptor of a map that the object has for certain.
func (o *object) mapFD(name string) int {
	m, err := o.module.GetMap(name)
	if err != nil {
		panic(err)
	}
	return m.FileDescriptor()
}

// put writes an entry of a map. *K and *V must have the map's layout.
func put[K, V any](o *object, name string, key K, value V) error {
	m, err := o.module.GetMap(name)
	if err == nil {
		err = m.Update(unsafe.Pointer(&key), unsafe.Pointer(&value))
	}
	if err != nil {
		return fmt.Errorf("write to the map %s: %w", name, err)
	}
	return nil
}

// fill puts into the maps what must be there before the first event.
func (o *object) fill(cfg Config) error {
	cpus, err := libbpfgo.NumPossibleCPUs()
	if err == nil {
		err = o.push(bpf.ClosingSlotsMap, 0, cfg.closingSlots())
	}
	if err == nil {
		err = o.push(bpf.FreeSlotsMap, bpf.ClosingSlots, cfg.freeSlots(cpus))
	}
	if err == nil && o.uring.traced {
		err = o.push(bpf.FreePlacesMap, 0, bpf.RequestsMax)
	}
	if err != nil {
		return fmt.Errorf("fill the stacks of slots: %w", err)
	}
	if err := o.prepareDropped(cfg); err != nil {
		return err
	}
	return cfg.Filter.fill(o)
}

// push puts n numbers on a stack, which has no keys; libbpfgo does not know those.
func (o *object) push(name string, first, n int) error {
	for number := uint32(first); number < uint32(first+n); number++ {
		if _, err := C.bpf_map_update_elem(C.int(o.mapFD(name)), nil, unsafe.Pointer(&number), 0); err != nil {
			return err
		}
	}
	return nil
}
