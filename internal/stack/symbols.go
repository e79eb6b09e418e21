// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package stack

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"slices"
	"strings"
)

// symbols are the functions of a module, in the order of their addresses.
type symbols struct {
	list  []symbol
	names []byte
}

type symbol struct {
	address uint64
	size    uint32
	name    uint32 // where it begins in names
}

const (
	symbolsMax = 24 << 20 // bytes of a symbol table, about a million
	namesMax   = 64 << 20
	nameMax    = 512 // of one name
)

// readSymbols takes .symtab, or .dynsym where that was stripped.
func readSymbols(m *module, parsed *elf.File) *symbols {
	for _, kind := range []elf.SectionType{elf.SHT_SYMTAB, elf.SHT_DYNSYM} {
		table := parsed.SectionByType(kind)
		if table == nil || table.Link == 0 || int(table.Link) >= len(parsed.Sections) {
			continue
		}
		names := m.section(parsed.Sections[table.Link], namesMax)
		if s := newSymbols(m.section(table, symbolsMax), names, parsed.Class); len(s.list) > 0 {
			return s
		}
	}
	return nil
}

func newSymbols(table, names []byte, class elf.Class) *symbols {
	s := &symbols{names: names}
	size := elf.Sym64Size
	if class == elf.ELFCLASS32 {
		size = elf.Sym32Size
	}
	for ; len(table) >= size; table = table[size:] {
		var sym symbol
		var info byte
		var section uint16
		var bytes uint64
		if class == elf.ELFCLASS32 {
			info, section = table[12], binary.LittleEndian.Uint16(table[14:])
			sym.address, bytes = uint64(binary.LittleEndian.Uint32(table[4:])), uint64(binary.LittleEndian.Uint32(table[8:]))
		} else {
			info, section = table[4], binary.LittleEndian.Uint16(table[6:])
			sym.address, bytes = binary.LittleEndian.Uint64(table[8:]), binary.LittleEndian.Uint64(table[16:])
		}
		sym.name, sym.size = binary.LittleEndian.Uint32(table), uint32(min(bytes, 1<<32-1))
		kind := elf.ST_TYPE(info)
		if kind != elf.STT_FUNC && kind != elf.STT_GNU_IFUNC || section == uint16(elf.SHN_UNDEF) || sym.size == 0 {
			continue
		}
		s.list = append(s.list, sym)
	}
	slices.SortFunc(s.list, func(a, b symbol) int { return cmp.Compare(a.address, b.address) })
	return s
}

// at returns the name of the function that has an address, "" if none has. Of several
// names it takes the one that people know: the one with the fewest _ before it.
func (s *symbols) at(address uint64) (best string) {
	if s == nil {
		return ""
	}
	i, _ := slices.BinarySearchFunc(s.list, address, func(sym symbol, address uint64) int {
		if sym.address <= address {
			return -1
		}
		return 1
	})
	for i--; i >= 0; i-- {
		sym := s.list[i]
		if address-sym.address >= uint64(sym.size) {
			break
		}
		if name := s.name(sym); best == "" || isBetter(name, best) {
			best = name
		}
		if i > 0 && s.list[i-1].address != sym.address {
			break
		}
	}
	return best
}

func (s *symbols) name(sym symbol) string {
	if uint64(sym.name) >= uint64(len(s.names)) {
		return ""
	}
	name := s.names[sym.name:min(uint64(len(s.names)), uint64(sym.name)+nameMax)]
	if end := bytes.IndexByte(name, 0); end >= 0 {
		name = name[:end]
	}
	return string(name)
}

func isBetter(name, than string) bool {
	if name == "" || than == "" {
		return name != ""
	}
	count := func(s string) int { return len(s) - len(strings.TrimLeft(s, "_")) }
	return cmp.Or(cmp.Compare(count(name), count(than)), cmp.Compare(len(name), len(than)), cmp.Compare(name, than)) < 0
}

// addressOf looks through all: it is for few names.
func (s *symbols) addressOf(name string) (uint64, bool) {
	if s == nil {
		return 0, false
	}
	for _, sym := range s.list {
		if s.name(sym) == name {
			return sym.address, true
		}
	}
	return 0, false
}
