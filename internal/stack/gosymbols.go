// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package stack

import (
	"debug/elf"
	"debug/gosym"
	"encoding/binary"
)

// goSymbols are the functions and lines of a program in Go, which keeps them even when it
// is stripped.
type goSymbols struct {
	table *gosym.Table // nil if it is not known where the text begins
}

const (
	goTableMax = 96 << 20 // of kubelet it is 30 MiB
	goHeader   = 72       // 8 and 8 words
)

// readGo returns nil if the module is not a program in Go.
func readGo(m *module, parsed *elf.File) *goSymbols {
	section := parsed.Section(".gopclntab")
	if section == nil {
		section = parsed.Section(".data.rel.ro.gopclntab") // of a position-independent one
	}
	if section == nil {
		return nil
	}
	g := &goSymbols{}
	if table := m.section(section, goTableMax); isGoTable(table) {
		if text, ok := goText(m, parsed, table); ok {
			g.table = newGoTable(table, text)
		}
	}
	return g
}

// isGoTable checks numbers that debug/gosym takes for sizes: src/runtime/symtab.go,
// pcHeader, of Go 1.20 and later.
func isGoTable(table []byte) bool {
	const magic = 0xfffffff1
	if len(table) < goHeader || binary.LittleEndian.Uint32(table) != magic || table[7] != 8 {
		return false
	}
	most := uint64(len(table)) / 8
	return binary.LittleEndian.Uint64(table[8:]) < most && binary.LittleEndian.Uint64(table[16:]) < most
}

// goText returns where the text begins that offsets in the table are from. With a C linker
// .text has more before it.
func goText(m *module, parsed *elf.File, table []byte) (uint64, bool) {
	if text, ok := m.symbols.addressOf("runtime.text"); ok {
		return text, true
	}
	section := parsed.Section(".text")
	if section == nil {
		return 0, false
	}
	if text := binary.LittleEndian.Uint64(table[24:]); text >= section.Addr && text-section.Addr < section.Size {
		return text, true
	}
	return section.Addr, parsed.Section(".init") == nil // which is of a C linker
}

func newGoTable(table []byte, text uint64) (found *gosym.Table) {
	var err error
	defer guard(&err)
	found, err = gosym.NewTable(nil, gosym.NewLineTable(table, text))
	if err != nil {
		return nil
	}
	return found
}

// at returns the function that has an address, and its line there.
func (g *goSymbols) at(address uint64) (function, file string, line int) {
	if g == nil || g.table == nil {
		return "", "", 0
	}
	var err error
	defer guard(&err)
	file, line, f := g.table.PCToLine(address)
	if f == nil || address < f.Entry || address >= f.End || len(f.Name) > nameMax || len(file) > nameMax {
		return "", "", 0
	}
	return f.Name, file, line
}
