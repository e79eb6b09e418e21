package tracer

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
)

// ring reads a BPF ring buffer (Documentation/bpf/ringbuf.rst) where it lies:
// the map is mapped, its data twice in a row so that a record that wraps round
// the end is in one piece. libbpf's reader would cost a call from C and libbpfgo
// a copy, an allocation and a channel send for each record.
type ring struct {
	consumer *uint64 // position up to which we have read; the kernel reads it
	producer *uint64 // position up to which the kernel has reserved
	data     []byte  // twice the buffer
	mask     uint64
	read     uint64 // our own copy of consumer, ahead of it during drain
	record   bpf.Record
	shared   *bpf.Shared
	mappings [][]byte
}

const (
	ringHeader  = 8       // BPF_RINGBUF_HDR_SZ
	ringBusy    = 1 << 31 // BPF_RINGBUF_BUSY_BIT: reserved, not yet submitted
	ringDiscard = 1 << 30 // BPF_RINGBUF_DISCARD_BIT
	// ringRelease is after how many bytes the kernel gets room back while a
	// drain goes on; for each record it would fight over the cache line.
	ringRelease = 64 << 10
)

func openRing(o *object, size int, p *poll) (_ buffer, err error) {
	r := &ring{mask: uint64(size) - 1, shared: o.shared}
	defer func() {
		if err != nil {
			r.close()
		}
	}()

	fd, page := o.mapFD(bpf.RingMap), os.Getpagesize()
	control, err := r.mmap(fd, 0, page, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return nil, err
	}
	rest, err := r.mmap(fd, page, page+2*size, unix.PROT_READ)
	if err != nil {
		return nil, err
	}
	r.consumer = (*uint64)(unsafe.Pointer(&control[0]))
	r.producer = (*uint64)(unsafe.Pointer(&rest[0]))
	r.data = rest[page:]
	return r, p.addBuffer(fd)
}

func (r *ring) mmap(fd, offset, length, prot int) ([]byte, error) {
	m, err := unix.Mmap(fd, int64(offset), length, prot, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the ring buffer: %w", err)
	}
	r.mappings = append(r.mappings, m)
	return m, nil
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
	return r.data[at+ringHeader : at+ringHeader+size], header&ringDiscard != 0
}

func (r *ring) arm() bool {
	atomic.StoreUint32(&r.shared.ReaderWaits, 1)
	return atomic.LoadUint64(r.producer) == r.read
}

func (r *ring) disarm() { atomic.StoreUint32(&r.shared.ReaderWaits, 0) }

func (r *ring) close() {
	for _, m := range r.mappings {
		_ = unix.Munmap(m)
	}
}
