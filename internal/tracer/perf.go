// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
)

// perf reads a buffer for each CPU (perf_event_open(2)), for kernels before 5.8.
//
// libbpfgo's reader is not used: its buffers wake the reader for every event,
// its Stop throws away what was not read yet, and it hands over one CPU after
// the other. This one is woken when a buffer is half full, looks by itself
// every perfInterval, and merges the CPUs by time.
type perf struct {
	cpus []*cpuBuffer
}

// cpuBuffer is one CPU's buffer.
type cpuBuffer struct {
	fd      int
	mapping []byte
	control *unix.PerfEventMmapPage
	data    []byte
	read    uint64 // position of head, or where the next one will be
	end     uint64 // up to where the kernel had written when drain began
	// head is the record at read, if there is one. It is a copy: here records
	// are aligned to 4 bytes only, and can wrap round the end.
	head    bpf.Record
	hasHead bool
	headEnd uint64
	// The kernel fills records up to 8 bytes, and counts that as theirs.
	copied [bpf.RecordMax/8 + 2]uint64
}

// errPerfMemory is EPERM from perf_mmap() of kernel/events/core.c, whose only reason
// is the limit of kernel.perf_event_mlock_kb and RLIMIT_MEMLOCK.
var errPerfMemory = errors.New("more than the limit of kernel.perf_event_mlock_kb")

func openPerf(o *object, size int, p *poll) (_ buffer, err error) {
	b := &perf{}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	cpus, err := onlineCPUs()
	if err != nil {
		return nil, err
	}
	for _, cpu := range cpus {
		c, err := openCPU(cpu, size)
		if err != nil {
			return nil, fmt.Errorf("open a perf buffer on CPU %d: %w", cpu, err)
		}
		b.cpus = append(b.cpus, c)
		if err := put(o, bpf.PerfMap, uint32(cpu), uint32(c.fd)); err != nil {
			return nil, err
		}
		if err := p.addBuffer(c.fd); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func openCPU(cpu, size int) (*cpuBuffer, error) {
	attr := unix.PerfEventAttr{
		Type:        unix.PERF_TYPE_SOFTWARE,
		Config:      unix.PERF_COUNT_SW_BPF_OUTPUT,
		Size:        uint32(unsafe.Sizeof(unix.PerfEventAttr{})),
		Sample_type: unix.PERF_SAMPLE_RAW,
		Bits:        unix.PerfBitWatermark,
		Wakeup:      uint32(size / 2),
	}
	fd, err := unix.PerfEventOpen(&attr, -1, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	c := &cpuBuffer{fd: fd}
	if c.mapping, err = unix.Mmap(fd, 0, os.Getpagesize()+size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		c.close()
		if errors.Is(err, unix.EPERM) {
			err = errPerfMemory
		}
		return nil, fmt.Errorf("map %d KiB into memory: %w", size>>10, err)
	}
	c.control = (*unix.PerfEventMmapPage)(unsafe.Pointer(&c.mapping[0]))
	c.data = c.mapping[os.Getpagesize():]
	return c, unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_ENABLE, 0)
}

// drain leaves what was recorded after it began for the next time: of that, it may have
// seen a record on one CPU and not the one before it on another, as when a process that
// executed a program there goes on here.
func (b *perf) drain(event func(*bpf.Record) error) (n int, err error) {
	began := bpf.Now()
	for _, c := range b.cpus {
		c.end = atomic.LoadUint64(&c.control.Data_head)
		if err := c.peek(); err != nil {
			return 0, err
		}
	}
	for err == nil {
		first := b.earliest(began)
		if first == nil {
			break
		}
		err = event(&first.head)
		n++
		first.read = first.headEnd
		if peekErr := first.peek(); err == nil {
			err = peekErr
		}
	}
	for _, c := range b.cpus {
		atomic.StoreUint64(&c.control.Data_tail, c.read)
	}
	return n, err
}

// earliest returns the buffer whose head is the earliest of those before a time, nil if there is
// none.
func (b *perf) earliest(before uint64) (first *cpuBuffer) {
	for _, c := range b.cpus {
		if c.hasHead && c.head.Time < before {
			first, before = c, c.head.Time
		}
	}
	return first
}

const (
	perfHeader    = 8 // struct perf_event_header
	perfRawHeader = 4 // the size that goes before the data of PERF_SAMPLE_RAW
)

// peek sets head to the next record before end, if there is one. Records of other kinds
// (PERF_RECORD_LOST) are passed over: the programs count what they lose
// themselves, to the last one.
func (c *cpuBuffer) peek() error {
	c.hasHead = false
	for c.read < c.end {
		var header [perfHeader + perfRawHeader]byte
		c.copy(header[:], c.read)
		kind := binary.NativeEndian.Uint32(header[0:])
		size := uint64(binary.NativeEndian.Uint16(header[6:]))
		switch {
		case size < perfHeader:
			return bpf.ErrRecord
		case kind != unix.PERF_RECORD_SAMPLE:
			c.read += size
		default:
			length := uint64(binary.NativeEndian.Uint32(header[perfHeader:]))
			record := unsafe.Slice((*byte)(unsafe.Pointer(&c.copied[0])), unsafe.Sizeof(c.copied))
			if length > uint64(len(record)) || length+perfHeader+perfRawHeader > size {
				return bpf.ErrRecord
			}
			record = record[:length]
			c.copy(record, c.read+perfHeader+perfRawHeader)
			c.headEnd = c.read + size
			c.hasHead = true
			return c.head.View(record)
		}
	}
	return nil
}

// copy fills dst with what is in the buffer from position at on.
func (c *cpuBuffer) copy(dst []byte, at uint64) {
	start := at % uint64(len(c.data))
	n := copy(dst, c.data[start:])
	copy(dst[n:], c.data)
}

// arm has nothing to ask for: the kernel rings at half a buffer.
func (b *perf) arm() (maxDelay time.Duration) { return perfInterval }

func (b *perf) disarm() {}

func (b *perf) close() {
	for _, c := range b.cpus {
		c.close()
	}
}

func (c *cpuBuffer) close() {
	if c.mapping != nil {
		_ = unix.Munmap(c.mapping)
	}
	unix.Close(c.fd)
}

// onlineCPUs reads the kernel's list, like 0-3,6; a CPU that comes online later
// has no buffer, and what happens on it is counted as lost.
func onlineCPUs() (cpus []int, err error) {
	const path = "/sys/devices/system/cpu/online"
	list, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read which CPUs are online: %w", err)
	}
	for span := range strings.SplitSeq(strings.TrimSpace(string(list)), ",") {
		from, to, isRange := strings.Cut(span, "-")
		if !isRange {
			to = from
		}
		first, err1 := strconv.Atoi(from)
		last, err2 := strconv.Atoi(to)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for cpu := first; cpu <= last; cpu++ {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}
