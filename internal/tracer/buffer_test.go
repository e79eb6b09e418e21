// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
)

const recordSize = int(unsafe.Sizeof(bpf.Event{}))

// record is an event with nothing but a time.
func record(time uint64) []byte {
	b := make([]byte, recordSize)
	binary.NativeEndian.PutUint64(b, time)
	return b
}

// ringInMemory is a ring whose kernel side is the test.
type ringInMemory struct {
	ring
	memory []uint64
	head   uint64
}

func newRingInMemory(size int) *ringInMemory {
	r := &ringInMemory{memory: make([]uint64, size/8)}
	r.data = unsafe.Slice((*byte)(unsafe.Pointer(&r.memory[0])), size)
	r.mask = uint64(size) - 1
	r.consumer, r.producer = new(uint64), &r.head
	r.shared = &bpf.Shared{}
	r.wrapped = make([]uint64, wrappedWords)
	return r
}

// put writes a record as bpf_ringbuf_output does, round the end if need be.
func (r *ringInMemory) put(payload []byte, flags uint32) (at uint64) {
	at = r.head & r.mask
	whole := make([]byte, ringHeader, ringHeader+len(payload)+7)
	binary.NativeEndian.PutUint32(whole, uint32(len(payload))|flags)
	whole = append(whole, payload...)
	for i, c := range whole {
		r.data[(at+uint64(i))&r.mask] = c
	}
	r.head += uint64(len(whole)+7) &^ 7
	return at
}

func times(t *testing.T, b buffer) (seen []uint64) {
	t.Helper()
	n, err := b.drain(func(e *bpf.Record) error {
		seen = append(seen, e.Time)
		return nil
	})
	if err != nil || n != len(seen) {
		t.Fatalf("drained %d, event was called %d times: %v", n, len(seen), err)
	}
	return seen
}

func TestRing(t *testing.T) {
	r := newRingInMemory(1024)
	r.put(record(1), 0)
	r.put(record(2), ringDiscard)
	r.put(record(3), 0)
	busy := r.put(record(4), ringBusy)
	r.put(record(5), 0)
	if seen := times(t, r); !slices.Equal(seen, []uint64{1, 3}) {
		t.Errorf("saw %v before the busy record", seen)
	}
	if r.arm() != 0 {
		t.Error("armed for a wakeup with records there")
	}
	binary.NativeEndian.PutUint32(r.data[busy:], uint32(recordSize))
	if seen := times(t, r); !slices.Equal(seen, []uint64{4, 5}) {
		t.Errorf("saw %v after it", seen)
	}
	if r.arm() != forever || r.shared.ReaderWaits != 1 || *r.consumer != r.head {
		t.Errorf("not armed on an empty ring: %+v, consumed %d of %d", r.shared, *r.consumer, r.head)
	}
	// Round the end many times, cut at each of its words.
	for i := uint64(10); i < 200; i++ {
		r.put(append(record(i), make([]byte, 8)...), 0)
		if seen := times(t, r); !slices.Equal(seen, []uint64{i}) {
			t.Fatalf("saw %v, want %d", seen, i)
		}
	}
}

func TestRingStopsAtAnError(t *testing.T) {
	r := newRingInMemory(1024)
	for i := range uint64(3) {
		r.put(record(i), 0)
	}
	enough := errors.New("enough")
	n, err := r.drain(func(e *bpf.Record) error {
		if e.Time == 1 {
			return enough
		}
		return nil
	})
	if n != 2 || !errors.Is(err, enough) {
		t.Errorf("%d events, %v", n, err)
	}
	if seen := times(t, r); !slices.Equal(seen, []uint64{2}) {
		t.Errorf("left %v", seen)
	}
	r.put(make([]byte, recordSize-1), 0)
	if _, err := r.drain(func(*bpf.Record) error { return nil }); !errors.Is(err, bpf.ErrRecord) {
		t.Errorf("a short record gave %v", err)
	}
}

// cpuInMemory is a CPU's perf buffer whose kernel side is the test.
func cpuInMemory(size int) *cpuBuffer {
	return &cpuBuffer{control: &unix.PerfEventMmapPage{}, data: make([]byte, size)}
}

func (c *cpuBuffer) put(kind uint32, payload []byte) {
	whole := make([]byte, perfHeader)
	if kind == unix.PERF_RECORD_SAMPLE {
		whole = binary.NativeEndian.AppendUint32(whole, uint32(len(payload)))
	}
	whole = append(whole, payload...)
	for len(whole)%8 != 0 {
		whole = append(whole, 0)
	}
	binary.NativeEndian.PutUint32(whole, kind)
	binary.NativeEndian.PutUint16(whole[6:], uint16(len(whole)))
	for i, b := range whole {
		c.data[(c.control.Data_head+uint64(i))%uint64(len(c.data))] = b
	}
	c.control.Data_head += uint64(len(whole))
}

func TestPerfMergesByTime(t *testing.T) {
	a, b := cpuInMemory(1024), cpuInMemory(1024)
	p := &perf{cpus: []*cpuBuffer{a, b}}
	for round := range uint64(50) { // round the end
		at := round * 100
		a.put(unix.PERF_RECORD_SAMPLE, record(at+1))
		b.put(unix.PERF_RECORD_SAMPLE, record(at+2))
		b.put(unix.PERF_RECORD_LOST, make([]byte, 16))
		b.put(unix.PERF_RECORD_SAMPLE, record(at+3))
		a.put(unix.PERF_RECORD_SAMPLE, record(at+4))
		if seen := times(t, p); !slices.Equal(seen, []uint64{at + 1, at + 2, at + 3, at + 4}) {
			t.Fatalf("round %d: saw %v", round, seen)
		}
		if a.control.Data_tail != a.control.Data_head || b.control.Data_tail != b.control.Data_head {
			t.Fatalf("round %d: not all was given back", round)
		}
	}
}

// What was recorded after the reading began comes the next time, for what was before it on
// another CPU may not have been there.
func TestPerfLeavesWhatCameLater(t *testing.T) {
	a, b := cpuInMemory(1024), cpuInMemory(1024)
	p := &perf{cpus: []*cpuBuffer{a, b}}
	later := bpf.Now() + uint64(100*time.Millisecond)
	a.put(unix.PERF_RECORD_SAMPLE, record(1))
	b.put(unix.PERF_RECORD_SAMPLE, record(later+1))
	b.put(unix.PERF_RECORD_SAMPLE, record(later+2))
	if seen := times(t, p); !slices.Equal(seen, []uint64{1}) {
		t.Errorf("saw %v", seen)
	}
	a.put(unix.PERF_RECORD_SAMPLE, record(later))
	for bpf.Now() <= later+2 {
		time.Sleep(time.Millisecond)
	}
	if seen := times(t, p); !slices.Equal(seen, []uint64{later, later + 1, later + 2}) {
		t.Errorf("then saw %v", seen)
	}
}

func TestPerfKeepsWhatWasNotTaken(t *testing.T) {
	a, b := cpuInMemory(1024), cpuInMemory(1024)
	p := &perf{cpus: []*cpuBuffer{a, b}}
	for i := range uint64(4) {
		a.put(unix.PERF_RECORD_SAMPLE, record(2*i))
		b.put(unix.PERF_RECORD_SAMPLE, record(2*i+1))
	}
	enough := errors.New("enough")
	n, err := p.drain(func(e *bpf.Record) error {
		if e.Time == 2 {
			return enough
		}
		return nil
	})
	if n != 3 || !errors.Is(err, enough) {
		t.Errorf("%d events, %v", n, err)
	}
	if seen := times(t, p); !slices.Equal(seen, []uint64{3, 4, 5, 6, 7}) {
		t.Errorf("left %v", seen)
	}
}

// Whatever the buffer holds, the reader ends and stays inside.
func FuzzPerf(f *testing.F) {
	c := cpuInMemory(512)
	c.put(unix.PERF_RECORD_SAMPLE, record(1))
	c.put(unix.PERF_RECORD_LOST, make([]byte, 16))
	f.Add(c.data, c.control.Data_head)
	f.Add(make([]byte, 512), uint64(512))
	f.Fuzz(func(t *testing.T, data []byte, head uint64) {
		c := cpuInMemory(512)
		copy(c.data, data)
		c.control.Data_head = head % 512
		p := &perf{cpus: []*cpuBuffer{c}}
		_, _ = p.drain(func(e *bpf.Record) error {
			_ = bpf.Syscalls[e.Syscall]
			return nil
		})
	})
}

// Records gather for longer as long as little of the buffer fills, and for less
// when much does.
func TestGather(t *testing.T) {
	const ms = time.Millisecond
	tracer, gather := &Tracer{capacity: 1000}, gatherMin
	for _, step := range []struct {
		n    int
		want time.Duration
	}{{10, 4 * ms}, {10, 8 * ms}, {124, 16 * ms}, {10, 16 * ms}, {125, 16 * ms}, {250, 16 * ms}, {251, 8 * ms},
		{1000, 4 * ms}, {1000, 2 * ms}, {1000, 2 * ms}, {10, 4 * ms}, {0, 2 * ms}} {
		if gather = tracer.gather(gather, step.n); gather != step.want {
			t.Errorf("after %d events: %v, want %v", step.n, gather, step.want)
		}
	}
}

// Few samples are in no hurry; many, as of a command, are read like all records.
func TestGatherSamples(t *testing.T) {
	for samples, want := range map[int]time.Duration{0: 2 * gatherMin, 1000: perfInterval, 500_000: 2 * gatherMin} {
		tracer := &Tracer{capacity: 8192, samples: samples}
		if least, _ := tracer.gathers(); tracer.gather(least, 10) != want {
			t.Errorf("%d samples a second: %v, want %v", samples, tracer.gather(least, 10), want)
		}
	}
}

// fillRing puts as many records into the ring as it takes.
func (r *ringInMemory) fillRing() (n int) {
	for r.head-*r.consumer+uint64(ringHeader+recordSize) <= r.mask+1 {
		r.put(record(uint64(n+1)), 0)
		n++
	}
	return n
}

func ignore(*bpf.Record) error { return nil }

func TestDrainAllocatesNothing(t *testing.T) {
	r := newRingInMemory(64 << 10)
	c := cpuInMemory(64 << 10)
	p := &perf{cpus: []*cpuBuffer{c}}
	for name, drain := range map[string]func() (int, error){
		"ring": func() (int, error) { r.fillRing(); return r.drain(ignore) },
		"perf": func() (int, error) { c.put(unix.PERF_RECORD_SAMPLE, oneRecord); return p.drain(ignore) },
	} {
		// put makes the record, which is not the reader's doing.
		made := testing.AllocsPerRun(10, func() {
			if name == "ring" {
				*r.consumer, r.read = r.head, r.head
				r.fillRing()
			} else {
				c.put(unix.PERF_RECORD_SAMPLE, oneRecord)
				c.read = c.control.Data_head
			}
		})
		*r.consumer, r.read = r.head, r.head
		all := testing.AllocsPerRun(10, func() {
			if n, err := drain(); n == 0 || err != nil {
				t.Fatalf("%s: %d records, %v", name, n, err)
			}
		})
		if all > made {
			t.Errorf("%s: drain made %v allocations", name, all-made)
		}
	}
}

var oneRecord = record(1)

func BenchmarkRing(b *testing.B) {
	r := newRingInMemory(8 << 20)
	r.put(record(1), 0)
	n := r.fillRing() + 1
	b.ReportAllocs()
	for b.Loop() {
		r.read = 0
		if _, err := r.drain(ignore); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
}
