// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

/*
#include <stdbool.h>
#include <bpf/bpf.h>

static int create_totals(__u32 key_size, __u32 value_size, __u32 entries, bool on_demand)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = on_demand ? BPF_F_NO_PREALLOC : 0);

	return bpf_map_create(BPF_MAP_TYPE_PERCPU_HASH, "totals", key_size, value_size, entries, &opts);
}
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/aquasecurity/libbpfgo"
	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
)

// Counting says how calls are counted in the kernel instead of recorded.
type Counting struct {
	Users   bool // by user, too
	Samples int  // about how many calls a second are recorded all the same, 0 for none
	Entries int  // of the table; 0 for as many as totalsMemory has room for
}

const (
	// totalsMemory is what a full table of totals may take.
	totalsMemory = 56 << 20
	// totalsEntriesOld is how many entries it has where all of them take their
	// memory at the start.
	totalsEntriesOld = 32768
	// totalsElement is what the kernel takes for an entry beside its values: struct
	// htab_elem, the key and a pointer (96 bytes of its allocator), and a bucket.
	totalsElement = 96 + 16
)

// onDemand is the first kernel where programs can take memory for an entry when it
// comes (fba1a1c6c912, "bpf: Convert percpu hash map to per-cpu bpf_mem_alloc").
var onDemand = version{6, 1}

// totalsLayout is what the table of totals looks like.
type totalsLayout struct {
	valueSize int
	entries   int
	cpus      int
	onDemand  bool
}

func (cfg *Config) totalsLayout(release version, cpus int) totalsLayout {
	l := totalsLayout{valueSize: 8, cpus: cpus, onDemand: !release.before(onDemand)}
	if cfg.Latency {
		l.valueSize = int(unsafe.Sizeof(bpf.Total{}))
	}
	l.entries = totalsMemory / (totalsElement + l.stride())
	if !l.onDemand {
		l.entries = min(l.entries, totalsEntriesOld)
	}
	if cfg.Counting.Entries > 0 {
		l.entries = cfg.Counting.Entries
	}
	return l
}

// stride is how many bytes the values of an entry take, of all CPUs.
func (l totalsLayout) stride() int { return l.cpus * l.valueSize }

// configureCounting sets the constants of the programs, and creates the table of totals,
// if calls are counted.
func (o *object) configureCounting(cfg Config, constants *bpf.Config) error {
	if cfg.Counting == nil {
		return nil
	}
	cpus, err := libbpfgo.NumPossibleCPUs()
	if err != nil {
		return fmt.Errorf("count the CPUs: %w", err)
	}
	if err := cfg.Counting.configure(constants, cpus); err != nil {
		return err
	}
	k, err := runningKernel()
	if err != nil {
		return err
	}
	o.totals = cfg.totalsLayout(k.release, cpus)
	return o.createTotals()
}

// createTotals creates the table of totals here, because libbpfgo does not set the flags
// of a map.
func (o *object) createTotals() error {
	l := o.totals
	fd, err := C.create_totals(C.__u32(unsafe.Sizeof(bpf.TotalKey{})), C.__u32(l.valueSize), C.__u32(l.entries), C.bool(l.onDemand))
	if fd < 0 {
		return fmt.Errorf("create a table of %d totals: %w", l.entries, err)
	}
	defer unix.Close(int(fd))
	m, err := o.module.GetMap(bpf.TotalsMap)
	if err != nil {
		return err
	}
	return m.ReuseFD(int(fd))
}

// Totals gives each total that the kernel has to yield, in no order. What is counted
// meanwhile may be in it or not; an entry that is made meanwhile may be missing.
func (t *Tracer) Totals(yield func(bpf.TotalKey, *bpf.Total)) error {
	const batch = 512 // more than any bucket of the table has
	l := t.object.totals
	keys := make([]bpf.TotalKey, batch)
	values := make([]byte, batch*l.stride())
	var position C.__u64
	var in unsafe.Pointer
	for {
		count := C.__u32(batch)
		result, err := C.bpf_map_lookup_batch(C.int(t.object.mapFD(bpf.TotalsMap)), in, unsafe.Pointer(&position),
			unsafe.Pointer(&keys[0]), unsafe.Pointer(&values[0]), &count, nil)
		if result != 0 && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("read the totals: %w", err)
		}
		for i, key := range keys[:count] {
			total := l.sum(values[i*l.stride():])
			yield(key, &total)
		}
		if result != 0 {
			return nil
		}
		in = unsafe.Pointer(&position)
	}
}

// sum adds up what each CPU counted.
func (l totalsLayout) sum(values []byte) (sum bpf.Total) {
	for cpu := range l.cpus {
		value := unsafe.Pointer(&values[cpu*l.valueSize])
		if l.valueSize == 8 {
			sum.Calls += *(*uint64)(value)
		} else {
			sum.Add((*bpf.Total)(value))
		}
	}
	return sum
}

// OtherTotals returns what found no room, by the index of the syscall.
func (t *Tracer) OtherTotals() (others [len(bpf.Syscalls)]bpf.OtherTotal, err error) {
	m, err := t.object.module.GetMap(bpf.OtherTotalsMap)
	if err != nil {
		return others, err
	}
	for i := range others {
		for j, sum := range []*uint64{&others[i].Succeeded, &others[i].Failed} {
			index := uint32(2*i + j)
			value, err := m.GetValue(unsafe.Pointer(&index))
			if err != nil {
				return others, fmt.Errorf("read the other totals: %w", err)
			}
			for _, n := range unsafe.Slice((*uint64)(unsafe.Pointer(&value[0])), len(value)/8) {
				*sum += n
			}
		}
	}
	return others, nil
}

// ForgetTotals takes totals out of the table, to make room. They must be of cgroups
// that are gone, where nothing is counted any more.
func (t *Tracer) ForgetTotals(keys []bpf.TotalKey) error {
	m, err := t.object.module.GetMap(bpf.TotalsMap)
	if err != nil {
		return err
	}
	for i := range keys {
		if err := m.DeleteKey(unsafe.Pointer(&keys[i])); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("forget a total: %w", err)
		}
	}
	return nil
}

// TakeExecutables gives yield the paths of executables that were seen since it was
// called last, or, where calls of them came to be counted anew, again.
func (t *Tracer) TakeExecutables(yield func(bpf.Executable, *bpf.ExecutablePath)) error {
	m, err := t.object.module.GetMap(bpf.ExecutablesMap)
	if err != nil {
		return err
	}
	var taken []bpf.Executable
	for it := m.Iterator(); it.Next(); {
		taken = append(taken, *(*bpf.Executable)(unsafe.Pointer(&it.Key()[0])))
	}
	for _, exe := range taken {
		value, err := m.GetValue(unsafe.Pointer(&exe))
		if err != nil {
			continue
		}
		yield(exe, (*bpf.ExecutablePath)(unsafe.Pointer(&value[0])))
		if err := m.DeleteKey(unsafe.Pointer(&exe)); err != nil {
			return fmt.Errorf("take the path of an executable: %w", err)
		}
	}
	return nil
}

// slicesPerSecond is in how many slices of time the sampling divides a second.
const slicesPerSecond = 8

// configure sets the constants of the programs.
func (c *Counting) configure(constants *bpf.Config, cpus int) error {
	constants.Counting, constants.CountUsers = true, c.Users
	if c.Samples == 0 {
		return nil
	}
	constants.SamplesMax = uint32(max(4, c.Samples/slicesPerSecond/cpus))
	// The tick of the kernel's clock is the resolution of the coarse clocks.
	var tick unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &tick); err != nil {
		return fmt.Errorf("ask for the tick of the kernel's clock: %w", err)
	}
	constants.SliceJiffies = uint32(max(1, 1e9/slicesPerSecond/max(1, tick.Nano())))
	return nil
}
