// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package stack

import (
	"encoding/binary"
	"errors"
	"sort"
)

// Call frame information says for each instruction of a program where the caller's
// registers are: the sections .eh_frame and .eh_frame_hdr, Linux Standard Base 5.0 Core,
// chapter 10.6, and DWARF 4, chapter 6.4. Debuggers' libraries read all of a section and
// believe it; here one entry at a time is read, of files that anybody can have made, so that
// nothing depends on what they say but where a stack ends.

var errCFI = errors.New("not call frame information as compilers write it")

const (
	headerMax = 16 << 20 // of .eh_frame_hdr
	entryMax  = 64 << 10 // of one function, or of what functions have in common
	// rememberedMax is how many states can be remembered at once. Compilers need a few.
	rememberedMax = 32
)

// A frameIndex is .eh_frame_hdr: functions in the order of their addresses.
type frameIndex struct {
	table   []byte // pairs of signed 32-bit offsets from address: of a function, and of its entry
	address uint64
}

const (
	encodingAbsolute   = 0x00
	encodingUdata4     = 0x03
	encodingSdata4     = 0x0b
	encodingRelativePC = 0x10
	encodingDataSdata4 = 0x3b // relative to the section, what every linker writes
	encodingOmitted    = 0xff
)

// newFrameIndex returns the index that lies at an address.
func newFrameIndex(header []byte, address uint64) (*frameIndex, error) {
	if len(header) < 12 || header[0] != 1 || header[2] != encodingUdata4 || header[3] != encodingDataSdata4 {
		return nil, errCFI
	}
	at := 8
	switch header[1] { // of the address of .eh_frame, which is not needed
	case encodingOmitted:
		at = 4
	case encodingRelativePC | encodingSdata4, encodingUdata4, encodingSdata4, encodingDataSdata4:
	default:
		return nil, errCFI
	}
	count := uint64(binary.LittleEndian.Uint32(header[at:]))
	table := header[at+4:]
	if count > uint64(len(table))/8 {
		return nil, errCFI
	}
	return &frameIndex{table[:8*count], address}, nil
}

// indexOf makes an index of the section .eh_frame, which a static program has alone.
func indexOf(section []byte, address uint64) *frameIndex {
	read := entryReader(func(at uint64, size int) ([]byte, error) {
		if from := at - address; from < uint64(len(section)) && uint64(size) <= uint64(len(section))-from {
			return section[from:][:size], nil
		}
		return nil, errCFI
	})
	type function struct{ start, entry int32 }
	var list []function
	inCommon := make(map[uint64]*common)
	for at := uint64(0); at+8 <= uint64(len(section)); {
		b, _, err := read.readEntry(address + at)
		if err != nil {
			break // its end is a length of 0
		}
		if pointer := uint64(binary.LittleEndian.Uint32(b)); pointer != 0 {
			where := address + at + 4 - pointer
			c, known := inCommon[where]
			if !known {
				c, _ = readCommon(read, where) // nil if it is nonsense
				inCommon[where] = c
			}
			d := decoder{b: b[4:]}
			if c != nil {
				start := d.address(c.encoding, address+at+8) - address
				if !d.failed && start == uint64(int64(int32(start))) {
					list = append(list, function{int32(start), int32(at)})
				}
			}
		}
		at += 4 + uint64(len(b))
	}
	sort.Slice(list, func(i, j int) bool { return list[i].start < list[j].start })
	x := &frameIndex{address: address}
	for _, f := range list {
		x.table = binary.LittleEndian.AppendUint32(x.table, uint32(f.start))
		x.table = binary.LittleEndian.AppendUint32(x.table, uint32(f.entry))
	}
	return x
}

func (x *frameIndex) at(i, half int) uint64 {
	return x.address + uint64(int64(int32(binary.LittleEndian.Uint32(x.table[8*i+4*half:]))))
}

// entryOf returns where the entry is of the function that an address may be in.
func (x *frameIndex) entryOf(address uint64) (entry uint64, ok bool) {
	i := sort.Search(len(x.table)/8, func(i int) bool { return x.at(i, 0) > address })
	if i == 0 {
		return 0, false
	}
	return x.at(i-1, 1), true
}

// A ruleKind says where a register of the caller is.
type ruleKind uint8

const (
	sameValue    ruleKind = iota // where it was; that is the kind of what is not mentioned
	undefined                    // lost; of the return address: there is no caller
	atOffset                     // in memory, at an offset from the frame's address
	isOffset                     // that address itself and an offset
	inRegister                   // in another one
	atExpression                 // in memory
	isExpression                 // what an expression gives
)

type rule struct {
	kind       ruleKind
	register   uint64
	offset     int64
	expression []byte
}

// rules are what holds at an instruction.
type rules struct {
	frame     rule // of the frame's address: inRegister with an offset, or isExpression
	registers [registersMax]rule
}

// common is what entries have in common.
type common struct {
	codeAlign     uint64
	dataAlign     int64
	returnAddress uint64 // a register
	encoding      byte   // of addresses
	isSignal      bool
	hasData       bool // functions have data of their own
	instructions  []byte
}

// An entryReader reads what a file has for an address.
type entryReader func(address uint64, size int) ([]byte, error)

// readEntry returns an entry without its length, and where its first byte is.
func (read entryReader) readEntry(address uint64) (b []byte, at uint64, err error) {
	length, err := read(address, 4)
	if err != nil {
		return nil, 0, err
	}
	n := binary.LittleEndian.Uint32(length)
	if n < 8 || n > entryMax {
		return nil, 0, errCFI
	}
	b, err = read(address+4, int(n))
	return b, address + 4, err
}

// rulesOf returns the rules for an address, by the entry of the function that may have it.
func rulesOf(read entryReader, entry, address uint64) (found *rules, c *common, err error) {
	b, at, err := read.readEntry(entry)
	if err != nil {
		return nil, nil, err
	}
	pointer := uint64(binary.LittleEndian.Uint32(b))
	if pointer == 0 {
		return nil, nil, errCFI // what is in common itself
	}
	if c, err = readCommon(read, at-pointer); err != nil {
		return nil, nil, err
	}
	d := decoder{b: b[4:]}
	start := d.address(c.encoding, at+4)
	size := d.address(c.encoding&0x0f, 0)
	if c.hasData {
		d.take(d.uleb())
	}
	if d.failed || address-start >= size {
		return nil, nil, errCFI
	}
	found, err = c.run(d.b, address-start)
	return found, c, err
}

func readCommon(read entryReader, at uint64) (*common, error) {
	b, _, err := read.readEntry(at)
	if err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint32(b) != 0 {
		return nil, errCFI
	}
	d := decoder{b: b[4:]}
	version := d.byte()
	augmentation := d.text()
	c := &common{codeAlign: d.uleb(), dataAlign: d.sleb()}
	if version == 1 {
		c.returnAddress = uint64(d.byte())
	} else {
		c.returnAddress = d.uleb()
	}
	if augmentation == "" {
		c.instructions = d.b
		return c, d.err()
	}
	if augmentation[0] != 'z' {
		return nil, errCFI
	}
	c.hasData = true
	data := decoder{b: d.take(d.uleb())}
	for _, letter := range augmentation[1:] {
		switch letter {
		case 'R':
			c.encoding = data.byte()
		case 'S':
			c.isSignal = true
		case 'L':
			data.byte()
		case 'P':
			data.address(data.byte()&0x0f, 0)
		case 'B': // arm64: return addresses are signed with the B key
		default:
			return nil, errCFI
		}
	}
	c.instructions = d.b
	if data.failed {
		return nil, errCFI
	}
	return c, d.err()
}

// Instructions of call frame information; those up to restoreIn have an operand in their
// lower bits.
const (
	advanceBy = 0x40
	offsetIn  = 0x80
	restoreIn = 0xc0

	cfaNop             = 0x00
	cfaAdvance1        = 0x02
	cfaAdvance2        = 0x03
	cfaAdvance4        = 0x04
	cfaOffset          = 0x05
	cfaRestore         = 0x06
	cfaUndefined       = 0x07
	cfaSameValue       = 0x08
	cfaRegister        = 0x09
	cfaRemember        = 0x0a
	cfaRestoreState    = 0x0b
	cfaDefine          = 0x0c
	cfaDefineRegister  = 0x0d
	cfaDefineOffset    = 0x0e
	cfaDefineExpr      = 0x0f
	cfaExpression      = 0x10
	cfaOffsetSigned    = 0x11
	cfaDefineSigned    = 0x12
	cfaDefineOffSigned = 0x13
	cfaIsOffset        = 0x14
	cfaIsOffsetSigned  = 0x15
	cfaIsExpression    = 0x16
	cfaNegateSigned    = 0x2d // arm64: whether the return address is signed; else a window of SPARC
	cfaArgumentsSize   = 0x2e
)

// run returns the rules at an offset into a function.
func (c *common) run(instructions []byte, until uint64) (*rules, error) {
	now := new(rules)
	if err := c.execute(now, &rules{}, c.instructions, ^uint64(0)); err != nil {
		return nil, err
	}
	initial := *now
	return now, c.execute(now, &initial, instructions, until)
}

func (c *common) execute(now, initial *rules, instructions []byte, until uint64) error {
	d := decoder{b: instructions}
	var remembered []rules
	location := uint64(0)
	for len(d.b) > 0 && !d.failed {
		op := d.byte()
		operand := uint64(op & 0x3f)
		switch op & 0xc0 {
		case advanceBy:
			location += operand * c.codeAlign
			if location > until {
				return nil
			}
			continue
		case offsetIn:
			now.set(operand, rule{kind: atOffset, offset: int64(d.uleb()) * c.dataAlign})
			continue
		case restoreIn:
			now.set(operand, initial.of(operand))
			continue
		}
		switch op {
		case cfaAdvance1, cfaAdvance2, cfaAdvance4:
			if location += d.unsigned(1<<(op-cfaAdvance1)) * c.codeAlign; location > until {
				return d.err()
			}
		case cfaRemember:
			if len(remembered) == rememberedMax {
				return errCFI
			}
			remembered = append(remembered, *now)
		case cfaRestoreState:
			last := len(remembered) - 1
			if last < 0 {
				return errCFI
			}
			*now, remembered = remembered[last], remembered[:last]
		default:
			if !c.define(now, initial, op, &d) {
				return errCFI
			}
		}
	}
	return d.err()
}

// define executes an instruction that changes one rule, and reports whether it is one.
func (c *common) define(now, initial *rules, op byte, d *decoder) bool {
	switch op {
	case cfaNop, cfaNegateSigned:
	case cfaArgumentsSize:
		d.uleb()
	case cfaOffset:
		now.set(d.uleb(), rule{kind: atOffset, offset: int64(d.uleb()) * c.dataAlign})
	case cfaOffsetSigned:
		now.set(d.uleb(), rule{kind: atOffset, offset: d.sleb() * c.dataAlign})
	case cfaIsOffset:
		now.set(d.uleb(), rule{kind: isOffset, offset: int64(d.uleb()) * c.dataAlign})
	case cfaIsOffsetSigned:
		now.set(d.uleb(), rule{kind: isOffset, offset: d.sleb() * c.dataAlign})
	case cfaRestore:
		r := d.uleb()
		now.set(r, initial.of(r))
	case cfaUndefined:
		now.set(d.uleb(), rule{kind: undefined})
	case cfaSameValue:
		now.set(d.uleb(), rule{})
	case cfaRegister:
		now.set(d.uleb(), rule{kind: inRegister, register: d.uleb()})
	case cfaExpression:
		now.set(d.uleb(), rule{kind: atExpression, expression: d.take(d.uleb())})
	case cfaIsExpression:
		now.set(d.uleb(), rule{kind: isExpression, expression: d.take(d.uleb())})
	case cfaDefine:
		now.frame = rule{kind: inRegister, register: d.uleb(), offset: int64(d.uleb())}
	case cfaDefineSigned:
		now.frame = rule{kind: inRegister, register: d.uleb(), offset: d.sleb() * c.dataAlign}
	case cfaDefineRegister:
		now.frame.kind, now.frame.register = inRegister, d.uleb()
	case cfaDefineOffset:
		now.frame.offset = int64(d.uleb())
	case cfaDefineOffSigned:
		now.frame.offset = d.sleb() * c.dataAlign
	case cfaDefineExpr:
		now.frame = rule{kind: isExpression, expression: d.take(d.uleb())}
	default:
		return false
	}
	return true
}

func (r *rules) set(register uint64, to rule) {
	if register < registersMax {
		r.registers[register] = to
	}
}

func (r *rules) of(register uint64) rule {
	if register < registersMax {
		return r.registers[register]
	}
	return rule{}
}

// A decoder reads from the front of b, and zeros once that has failed.
type decoder struct {
	b      []byte
	failed bool
}

func (d *decoder) err() error {
	if d.failed {
		return errCFI
	}
	return nil
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.failed, d.b = true, nil
		return nil
	}
	taken := d.b[:n]
	d.b = d.b[n:]
	return taken
}

func (d *decoder) byte() byte { return byte(d.unsigned(1)) }

// unsigned reads an integer of size bytes, at most 8.
func (d *decoder) unsigned(size int) (n uint64) {
	for i, b := range d.take(uint64(size)) {
		n |= uint64(b) << (8 * i)
	}
	return n
}

func (d *decoder) text() string {
	for i, b := range d.b {
		if b == 0 {
			text := string(d.b[:i])
			d.b = d.b[i+1:]
			return text
		}
	}
	d.failed, d.b = true, nil
	return ""
}

func (d *decoder) uleb() (n uint64) {
	for shift := 0; shift < 64; shift += 7 {
		b := d.byte()
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
	d.failed = true
	return 0
}

func (d *decoder) sleb() (n int64) {
	for shift := 0; shift < 64; shift += 7 {
		b := d.byte()
		n |= int64(b&0x7f) << shift
		if b < 0x80 {
			if b&0x40 != 0 && shift+7 < 64 {
				n |= -1 << (shift + 7)
			}
			return n
		}
	}
	d.failed = true
	return 0
}

// address reads one that is at an address itself.
func (d *decoder) address(encoding byte, at uint64) (n uint64) {
	switch encoding & 0x0f {
	case encodingAbsolute, 0x04, 0x0c:
		n = d.unsigned(8)
	case encodingUdata4:
		n = d.unsigned(4)
	case encodingSdata4:
		n = uint64(int64(int32(d.unsigned(4))))
	case 0x01:
		n = d.uleb()
	case 0x02:
		n = d.unsigned(2)
	case 0x0a:
		n = uint64(int64(int16(d.unsigned(2))))
	default:
		d.failed = true
	}
	switch encoding & 0xf0 {
	case 0:
	case encodingRelativePC:
		n += at
	default:
		d.failed = true
	}
	return n
}
