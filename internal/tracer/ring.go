// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
)

// ring reads a BPF ring buffer (Documentation/bpf/ringbuf.rst) where it lies.
// libbpf's reader would cost a call from C and libbpfgo a copy, an allocation and
// a channel send for each record. The kernel can map the data twice in a row, so
// that no record is in two pieces; but then all of it counts twice as this
// process's memory, and only one record a round needs it.
type ring struct {
	consumer *uint64 // position up to which we have read; the kernel reads it
	producer *uint64 // position up to which the kernel has reserved
	data     []byte
	mask     uint64
	read     uint64   // our own copy of consumer, ahead of it during drain
	wrapped  []uint64 // a record that goes round the end, put together
	record   bpf.Record
	shared   *bpf.Shared
}

const (
	ringHeader  = 8       // BPF_RINGBUF_HDR_SZ
	ringBusy    = 1 << 31 // BPF_RINGBUF_BUSY_BIT: reserved, not yet submitted
	ringDiscard = 1 << 30 // BPF_RINGBUF_DISCARD_BIT
	// ringRelease is after how many bytes the kernel gets room back while a
	// drain goes on; for each record it would fight over the cache line.
	ringRelease = 64 << 10
	// wrappedWords is room for the longest record.
	wrappedWords = (bpf.RecordMax + 7) / 8
)

func openRing(o *object, size int, p *poll) (buffer, error) {
	page := os.Getpagesize()
	control, err := o.mmap(bpf.RingMap, 0, page, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return nil, err
	}
	rest, err := o.mmap(bpf.RingMap, page, page+size, unix.PROT_READ)
	if err != nil {
		return nil, err
	}
	r := &ring{
		consumer: (*uint64)(unsafe.Pointer(&control[0])),
		producer: (*uint64)(unsafe.Pointer(&rest[0])),
		data:     rest[page:],
		mask:     uint64(size) - 1,
		wrapped:  make([]uint64, wrappedWords),
		shared:   o.shared,
	}
	return r, p.addBuffer(o.mapFD(bpf.RingMap))
}

func (r *ring) drain(event func(*bpf.Record) error) (n int, err error) {
	released := r.read
	for end := atomic.LoadUint64(r.producer); r.read < end && err == nil; {
		record, discarded := r.next()
		if record == nil {
			break
		}
		if !discarded {
			if err = r.record.View(record); err == nil {
				err = event(&r.record)
			}
			n++
		}
		if r.read-released >= ringRelease {
			atomic.StoreUint64(r.consumer, r.read)
			released = r.read
		}
	}
	atomic.StoreUint64(r.consumer, r.read)
	return n, err
}

// next is the record at r.read, and moves on behind it; nil when the kernel is
// still filling it.
func (r *ring) next() (record []byte, discarded bool) {
	at := r.read & r.mask
	header := atomic.LoadUint32((*uint32)(unsafe.Pointer(&r.data[at])))
	if header&ringBusy != 0 {
		return nil, false
	}
	size := uint64(header &^ (ringBusy | ringDiscard))
	r.read += (ringHeader + size + 7) &^ 7
	if at += ringHeader; at+size <= uint64(len(r.data)) {
		return r.data[at : at+size], header&ringDiscard != 0
	}
	return r.unwrap(at, size), header&ringDiscard != 0
}

// unwrap copies a record that goes round the end. None is longer than wrapped.
func (r *ring) unwrap(at, size uint64) []byte {
	record := unsafe.Slice((*byte)(unsafe.Pointer(&r.wrapped[0])), 8*len(r.wrapped))
	n := copy(record, r.data[at:])
	return record[:n+copy(record[n:size], r.data)]
}

func (r *ring) arm() (maxDelay time.Duration) {
	atomic.StoreUint32(&r.shared.ReaderWaits, 1)
	if atomic.LoadUint64(r.producer) != r.read {
		return 0
	}
	return forever
}

func (r *ring) disarm() { atomic.StoreUint32(&r.shared.ReaderWaits, 0) }

// close has nothing to give back: what is mapped is the object's.
func (r *ring) close() {}
