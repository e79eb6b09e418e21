// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package stack

import (
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// A module is a program or a library, as far as unwinding and names need it. It is read
// once; a file that changes is another one.
type module struct {
	file     *os.File
	segments []segment
	buildID  string
	class    elf.Class
	index    *frameIndex // nil if there is no call frame information

	named   sync.Once // reads what follows
	symbols *symbols
	golang  *goSymbols // of a program in Go, even if it has no names
}

// segment is a part of the file that is mapped, by its address in the file.
type segment struct{ offset, address, size uint64 }

const (
	segmentsMax = 64
	noteMax     = 4 << 10
	// framesSizeMax is of .eh_frame, where it has no index.
	framesSizeMax = 16 << 20
	// parseMax is how many bytes debug/elf may read of a file: headers and the names of
	// sections.
	parseMax = 4 << 20
)

var errModule = errors.New("not a program as linkers write it")

// limited reads from a file until it has read enough. debug/elf trusts sizes.
type limited struct {
	from io.ReaderAt
	left int
}

func (l *limited) ReadAt(b []byte, at int64) (int, error) {
	if l.left -= len(b); l.left < 0 {
		return 0, errModule
	}
	return l.from.ReadAt(b, at)
}

// guard makes an error of a panic: debug/elf and debug/gosym are not made for files that
// somebody wants them to fail on.
func guard(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: %v", errModule, r)
	}
}

// newModule reads a file, which it keeps open if there is no error.
func newModule(f *os.File) (m *module, err error) {
	defer guard(&err)
	parsed, err := elf.NewFile(&limited{f, parseMax})
	if err != nil {
		return nil, err
	}
	if parsed.Data != elf.ELFDATA2LSB || len(parsed.Progs) > segmentsMax {
		return nil, errModule
	}
	m = &module{file: f, class: parsed.Class}
	var header []byte
	var headerAt uint64
	for _, p := range parsed.Progs {
		switch p.Type {
		case elf.PT_LOAD:
			m.segments = append(m.segments, segment{p.Off, p.Vaddr, p.Filesz})
		case elf.PT_NOTE:
			if m.buildID == "" {
				m.buildID = buildIDIn(m.readAt(p.Off, min(p.Filesz, noteMax)))
			}
		case elf.PT_GNU_EH_FRAME:
			header, headerAt = m.readAt(p.Off, min(p.Filesz, headerMax)), p.Vaddr
		}
	}
	if m.class != elf.ELFCLASS64 {
		return m, nil // of such calls there are no registers
	}
	if m.index, _ = newFrameIndex(header, headerAt); m.index == nil {
		if s := parsed.Section(".eh_frame"); s != nil {
			m.index = indexOf(m.section(s, framesSizeMax), s.Addr)
		}
	}
	return m, nil
}

// readAt returns size bytes of the file, nil if it has not so many.
func (m *module) readAt(offset, size uint64) []byte {
	b, err := readUpTo(m.file, offset, size)
	if err != nil {
		return nil
	}
	return b
}

// readUpTo reads in pieces, so that a size that the file has not costs nothing.
func readUpTo(r io.ReaderAt, offset, size uint64) ([]byte, error) {
	const piece = 1 << 20
	var b []byte
	for size > 0 {
		n := min(size, piece)
		at := len(b)
		b = append(b, make([]byte, n)...)
		if _, err := r.ReadAt(b[at:], int64(offset)); err != nil {
			return nil, err
		}
		offset, size = offset+n, size-n
	}
	return b, nil
}

// read returns what the file has for an address.
func (m *module) read(address uint64, size int) ([]byte, error) {
	for _, s := range m.segments {
		if at := address - s.address; at < s.size && uint64(size) <= s.size-at {
			return readUpTo(m.file, s.offset+at, uint64(size))
		}
	}
	return nil, errModule
}

// addressOf returns the address in the file of what is at an offset in it.
func (m *module) addressOf(offset uint64) (uint64, bool) {
	for _, s := range m.segments {
		if at := offset - s.offset; at < s.size {
			return s.address + at, true
		}
	}
	return 0, false
}

// buildIDIn returns the build id in notes, see ELF's Elf64_Nhdr: lengths of a name and of
// a description, a type, and then both, each filled up to 4 bytes.
func buildIDIn(notes []byte) string {
	const typeBuildID, idMax = 3, 64
	for len(notes) >= 12 {
		name := uint64(binary.LittleEndian.Uint32(notes))
		description := uint64(binary.LittleEndian.Uint32(notes[4:]))
		kind := binary.LittleEndian.Uint32(notes[8:])
		notes = notes[12:]
		after := (name + 3) &^ 3
		if after > uint64(len(notes)) || description > uint64(len(notes))-after {
			return ""
		}
		if kind == typeBuildID && name == 4 && string(notes[:4]) == "GNU\x00" {
			return hex.EncodeToString(notes[after : after+min(description, idMax)])
		}
		notes = notes[min(after+(description+3)&^3, uint64(len(notes))):]
	}
	return ""
}

// section returns a section's bytes, nil if there is none, or a compressed one, or one
// with more than limit bytes.
func (m *module) section(s *elf.Section, limit uint64) []byte {
	if s == nil || s.Type == elf.SHT_NOBITS || s.Flags&elf.SHF_COMPRESSED != 0 || s.FileSize > limit {
		return nil
	}
	return m.readAt(s.Offset, s.FileSize)
}

// readNames reads what functions are called.
func (m *module) readNames() {
	m.named.Do(func() {
		var err error
		defer guard(&err) // without names, then
		parsed, err := elf.NewFile(&limited{m.file, parseMax})
		if err != nil {
			return
		}
		m.symbols = readSymbols(m, parsed)
		m.golang = readGo(m, parsed)
	})
}

// openMapped opens the file that a process has mapped, whatever it is called by now, and
// in whichever mount namespace; it does not open devices, which could do something.
func openMapped(pid uint32, m *mapping) (*os.File, error) {
	name := fmt.Sprintf("/proc/%d/map_files/%x-%x", pid, m.start, m.end)
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return reopenRegular(fd, name)
}

// reopenRegular opens a regular file for reading of which there is a descriptor, made with
// O_PATH, that it closes.
func reopenRegular(fd int, name string) (*os.File, error) {
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	return os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDONLY|unix.O_NONBLOCK, 0)
}
