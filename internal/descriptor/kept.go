// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unsafe"

	"github.com/aquasecurity/libbpfgo"
	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/tracer"
)

// A ledger is kept in a folder of the BPF file system, in which a folder called by
// bpf.DescriptorsBuild has
//
//	births, counts         the maps
//	tracepoint, or perf    the link of the program that fills them, called by its mode
//
// The link is pinned last, so that what has none was not finished, and nothing fills it.
const (
	bpffs      = "/sys/fs/bpf"
	keptFolder = bpffs + "/copenclose"
	keptBirths = "births"
	keptCounts = "counts"
)

var keptModes = []tracer.AttachMode{tracer.Tracepoint, tracer.PerfTracepoint}

// Of a ledger that is kept, and cannot be used.
var (
	// ErrNotOurs: another build laid it out, or it was not finished.
	ErrNotOurs = errors.New("the ledger in " + keptFolder + " is of another build of copenclose, or not whole, and is not read: copenclose fds --forget removes it")
	// ErrNotRoots: anybody could have made it.
	ErrNotRoots = errors.New("the ledger in " + keptFolder + " is not used, because others than root can have made it: rm -r " + keptFolder)
)

// Kept is a ledger that is filled whether a copenclose runs or not.
type Kept struct {
	Since time.Time // when it was begun
	Room  int       // for so many births

	mode   tracer.AttachMode
	births int // a file descriptor
	counts *counts
}

// FindKept returns the ledger that is kept, nil if there is none.
func FindKept() (*Kept, error) {
	folder, err := openKeptFolder()
	if folder == nil || err != nil {
		return nil, err
	}
	defer folder.Close()
	return readKept(folder)
}

// openKeptFolder returns the folder of ledgers, nil if there is none. It checks that only
// root can have put there what is there.
func openKeptFolder() (*os.File, error) {
	folder, err := os.OpenFile(keptFolder, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return nil, ErrNotRoots
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("the ledger that root keeps is not read: %w", err)
	case err != nil:
		return nil, fmt.Errorf("open the ledger: %w", err)
	}
	if err := checkOwner(folder); err != nil {
		folder.Close()
		return nil, err
	}
	return folder, nil
}

func checkOwner(folder *os.File) error {
	var fs unix.Statfs_t
	var own, parent unix.Stat_t
	err := errors.Join(unix.Fstatfs(int(folder.Fd()), &fs), unix.Fstat(int(folder.Fd()), &own), unix.Stat(bpffs, &parent))
	if err != nil {
		return fmt.Errorf("look who owns the ledger: %w", err)
	}
	const othersWrite, sticky = 0o022, unix.S_ISVTX
	if fs.Type != unix.BPF_FS_MAGIC || own.Uid != 0 || own.Mode&0o077 != 0 ||
		parent.Uid != 0 || parent.Mode&othersWrite != 0 && parent.Mode&sticky == 0 {
		return ErrNotRoots
	}
	return nil
}

func readKept(folder *os.File) (_ *Kept, err error) {
	names, err := folder.Readdirnames(-1)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the ledger: %w", err)
	case len(names) == 0: // one that was not finished
		return nil, nil
	case len(names) > 1 || names[0] != bpf.DescriptorsBuild():
		return nil, ErrNotOurs
	}
	dir := filepath.Join(keptFolder, names[0])
	k := &Kept{births: -1}
	for _, mode := range keptModes {
		if info, err := os.Stat(filepath.Join(dir, string(mode))); err == nil {
			k.mode, k.Since = mode, info.ModTime()
		}
	}
	if k.mode == "" {
		return nil, ErrNotOurs
	}
	defer func() {
		if err != nil {
			k.Close()
		}
	}()
	if k.births, err = tracer.OpenPinned(filepath.Join(dir, keptBirths)); err != nil {
		return nil, err
	}
	info, err := libbpfgo.GetMapInfoByFD(k.births)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	k.Room = int(info.MaxEntries)
	fd, err := tracer.OpenPinned(filepath.Join(dir, keptCounts))
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	k.counts, err = mapCounts(fd)
	return k, err
}

// Close leaves the ledger as it is.
func (k *Kept) Close() {
	if k.births >= 0 {
		unix.Close(k.births)
	}
	if k.counts != nil {
		k.counts.close()
	}
}

// BirthsFD returns the map of births, for programs that share it.
func (k *Kept) BirthsFD() int { return k.births }

// Lost returns how many births found no room since the ledger was begun.
func (k *Kept) Lost() uint64 { return k.counts.lost() }

// Ages returns how old what is open is by the ledger, which does not say how anything
// grows.
func (k *Kept) Ages() *Ages { return &Ages{began: k.counts.Since} }

// What a birth takes in the kernel's memory, in bytes, and a bucket of the map. Measured.
const (
	birthMemory  = 130
	bucketMemory = 16
)

// Memory returns how many bytes a ledger with n births takes in the kernel.
func (k *Kept) Memory(n int) int {
	buckets := 1
	for buckets < k.Room {
		buckets *= 2
	}
	return n*birthMemory + buckets*bucketMemory
}

// Count returns how many births are there.
func (k *Kept) Count() (n int, err error) {
	info, err := libbpfgo.GetMapInfoByFD(k.births)
	if err != nil {
		return 0, fmt.Errorf("read the ledger: %w", err)
	}
	m, err := libbpfgo.GetMapByID(info.ID)
	if err != nil {
		return 0, fmt.Errorf("read the ledger: %w", err)
	}
	defer unix.Close(m.FileDescriptor())
	err = entries(m, func(*bpf.BirthKey, *bpf.Birth) { n++ })
	return n, err
}

// Keep has births noted from when it returns until Forget, whether a copenclose runs or
// not. What is open already is noted as such.
func Keep(o Options) (err error) {
	if err := Warning(); err != nil {
		return fmt.Errorf("a ledger is of the whole host: %w", err)
	}
	folder, err := makeKeptFolder()
	if err != nil {
		return err
	}
	defer folder.Close()
	switch kept, err := readKept(folder); {
	case err != nil:
		return err
	case kept != nil: // by another process, just now
		kept.Close()
		return nil
	}
	if err := keep(o); err != nil {
		return errors.Join(err, removeKept())
	}
	return nil
}

func keep(o Options) error {
	o.Births, o.Kept = true, nil
	k, err := Open(o)
	if err != nil {
		return err
	}
	defer k.Close()
	s, err := k.Snapshot()
	if err != nil {
		return err
	}
	if err := k.noteBefore(s); err != nil {
		return err
	}
	k.births.Since = s.Time
	return k.pin(filepath.Join(keptFolder, bpf.DescriptorsBuild()))
}

// makeKeptFolder returns the folder of ledgers, which nobody else changes until it is
// closed.
func makeKeptFolder() (*os.File, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("only root can keep a ledger, because others' are not believed")
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(bpffs, &fs); err != nil || fs.Type != unix.BPF_FS_MAGIC {
		return nil, fmt.Errorf("a ledger is kept in %s, where no BPF file system is mounted: mount -t bpf bpf %s", bpffs, bpffs)
	}
	if err := os.Mkdir(keptFolder, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("make the folder of the ledger: %w", err)
	}
	folder, err := openKeptFolder()
	switch {
	case err != nil:
		return nil, err
	case folder == nil:
		return nil, fmt.Errorf("%s was removed meanwhile", keptFolder)
	}
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX); err != nil {
		folder.Close()
		return nil, fmt.Errorf("lock the ledger: %w", err)
	}
	return folder, nil
}

// noteBefore notes of what is open in s, and has no birth, that it was open before.
func (k *Kernel) noteBefore(s *Snapshot) error {
	m, err := k.module.GetMap(bpf.BirthsMap)
	if err != nil {
		return err
	}
	var before []*Descriptor
	for d := range s.All() {
		if d.Time == 0 && d.FileTime == 0 {
			before = append(before, d)
		}
	}
	for some := range slices.Chunk(before, batchSize) {
		err := unpreempted(func() error {
			for _, d := range some {
				key := bpf.BirthKey{Address: d.DescriptorRow.Table, FD: d.FD}
				birth := bpf.Birth{Time: s.Time, Identity: d.File, Table: key.Address, PID: d.PID, FD: d.FD, Creator: bpf.Before}
				err := m.UpdateValueFlags(unsafe.Pointer(&key), unsafe.Pointer(&birth), libbpfgo.MapFlagUpdateNoExist)
				if err != nil && !errors.Is(err, unix.EEXIST) { // another one by now
					return err
				}
			}
			return nil
		})
		if errors.Is(err, unix.E2BIG) {
			return fmt.Errorf("%d descriptors are open, and there is room for %d: --table-size makes more", len(before), m.MaxEntries())
		}
		if err != nil {
			return fmt.Errorf("write to the map %s: %w", m.Name(), err)
		}
	}
	return nil
}

// pin gives the ledger its names.
func (k *Kernel) pin(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of the ledger: %w", err)
	}
	births, err := k.module.GetMap(bpf.BirthsMap)
	if err != nil {
		return err
	}
	counts, err := k.module.GetMap(bpf.CountsMap)
	if err != nil {
		return err
	}
	for _, p := range []struct {
		name string
		fd   int
	}{
		{keptBirths, births.FileDescriptor()},
		{keptCounts, counts.FileDescriptor()},
		{string(k.mode), k.links[atReturn]},
	} {
		if err := tracer.Pin(p.fd, filepath.Join(dir, p.name)); err != nil {
			return fmt.Errorf("keep the ledger: %w", err)
		}
	}
	return nil
}

// Forget ends a ledger that is kept, of whatever build it is, and reports whether there
// was one.
func Forget() (was bool, err error) {
	folder, err := openKeptFolder()
	if folder == nil || err != nil {
		return false, err
	}
	defer folder.Close()
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX); err != nil {
		return false, fmt.Errorf("lock the ledger: %w", err)
	}
	return true, removeKept()
}

func removeKept() error {
	if err := os.RemoveAll(keptFolder); err != nil {
		return fmt.Errorf("remove the ledger: %w", err)
	}
	return nil
}
