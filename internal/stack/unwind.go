// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package stack

import (
	"encoding/binary"
	"strings"

	"github.com/copenclose/copenclose/bpf"
)

// A step is a frame before it has a name.
type step struct {
	address uint64 // where it goes on; of the first, where it made the call
	lookup  uint64 // in the function that it is in: a call can be the last of its instructions
	isGuess bool   // a frame pointer led here that need not be one
}

// stepsMax is how many frames a stack has at most.
const stepsMax = 256

// An unwinder follows the callers of a call through what was copied of its stack.
type unwinder struct {
	process   *process
	stack     []byte
	stackAt   uint64
	registers [registersMax]uint64
	kernel    []uint64 // frames that the kernel found
	steps     []step
	exact     bool // the next address is not that after a call
	isGuess   bool // from here on
}

// unwind returns the frames of a call, the innermost first, and whether they are all.
func unwind(p *process, s *bpf.CallStack) (steps []step, isWhole bool) {
	u := &unwinder{process: p, stack: s.Stack[:s.StackLen], stackAt: s.StackAt, kernel: s.Frames[:s.FramesNum], exact: true}
	copy(u.registers[:], s.Registers[:])
	if s.Is32Bit {
		u.isGuess = true // 32-bit programs have no frame pointers, either
		for i, address := range u.kernel {
			u.steps = append(u.steps, step{address, address, i > 0})
		}
		return u.steps, false
	}
	for len(u.steps) < stepsMax {
		address := u.registers[programCounter]
		lookup := address
		if !u.exact {
			lookup--
		}
		m := p.mapping(lookup)
		if m == nil {
			return u.rest(), false // not code
		}
		u.steps = append(u.steps, step{address, lookup, u.isGuess})
		switch u.next(m, lookup) {
		case outermost:
			return u.steps, true
		case nowhere:
			return u.rest(), len(u.steps) > 0 && p.isGoEnd(u.steps[len(u.steps)-1].lookup)
		}
	}
	return u.steps, false
}

// A way is where a step leads.
type way int

const (
	nowhere   way = iota // the caller is not known
	onward               // to the caller, of which registers are those now
	outermost            // there is no caller
)

// next finds the caller of a function.
func (u *unwinder) next(m *mapping, lookup uint64) way {
	module := u.process.module(m)
	if module != nil && module.index != nil {
		if address, ok := module.addressOf(lookup - m.start + m.offset); ok {
			if entry, ok := module.index.entryOf(address); ok {
				if rules, c, err := rulesOf(module.read, entry, address); err == nil {
					return u.byRules(rules, c)
				}
			}
		}
	}
	switch u.process.framePointers(m, module, lookup) {
	case no:
		return nowhere
	case perhaps:
		u.isGuess = true
	}
	return u.byFramePointer()
}

// byRules takes the caller's registers from where the rules say that they are.
func (u *unwinder) byRules(r *rules, c *common) way {
	frame, ok := u.value(r.frame, 0)
	if !ok || c.returnAddress >= registersMax {
		return nowhere
	}
	if r.registers[c.returnAddress].kind == undefined {
		return outermost
	}
	before := u.registers
	next := before
	for i, rule := range r.registers {
		switch rule.kind {
		case sameValue:
		case undefined:
			next[i] = 0
		case atOffset, atExpression, isOffset, inRegister, isExpression:
			if next[i], ok = u.value(rule, frame); !ok {
				if uint64(i) == c.returnAddress {
					return nowhere
				}
				next[i] = 0
			}
		}
	}
	if r.registers[stackPointer].kind == sameValue {
		next[stackPointer] = frame
	}
	next[programCounter] = code(next[c.returnAddress])
	if next[stackPointer] < before[stackPointer] || next == before {
		return nowhere // in a circle
	}
	u.registers, u.exact = next, c.isSignal
	if next[programCounter] == 0 {
		return outermost
	}
	return onward
}

// value returns what a rule gives.
func (u *unwinder) value(r rule, frame uint64) (uint64, bool) {
	switch r.kind {
	case atOffset:
		return u.load(frame + uint64(r.offset))
	case isOffset:
		return frame + uint64(r.offset), true
	case inRegister:
		if r.register >= registersMax {
			return 0, false
		}
		return u.registers[r.register] + uint64(r.offset), true
	case isExpression:
		return u.evaluate(r.expression, frame)
	case atExpression:
		at, ok := u.evaluate(r.expression, frame)
		if !ok {
			return 0, false
		}
		return u.load(at)
	}
	return 0, false
}

// load reads a word of the stack.
func (u *unwinder) load(address uint64) (uint64, bool) {
	at := address - u.stackAt
	if at >= uint64(len(u.stack)) || uint64(len(u.stack))-at < 8 {
		return 0, false
	}
	return binary.LittleEndian.Uint64(u.stack[at:]), true
}

// Operations of expressions, as far as compilers and the C library use them: for signal
// handlers, and for functions that align their stack.
const (
	opDeref      = 0x06
	opConst1     = 0x08
	opConst1s    = 0x09
	opConst2     = 0x0a
	opConst2s    = 0x0b
	opAnd        = 0x1a
	opMinus      = 0x1c
	opPlus       = 0x22
	opPlusConst  = 0x23
	opShiftLeft  = 0x24
	opGreaterEq  = 0x2a
	opLiteral    = 0x30
	opRegister   = 0x50
	opBase       = 0x70
	opBaseEnd    = 0x90
	valuesMax    = 16
	expressedMax = 64 // bytes
)

// evaluate computes an expression, of which the frame's address is the first value.
func (u *unwinder) evaluate(expression []byte, frame uint64) (uint64, bool) {
	if len(expression) > expressedMax {
		return 0, false
	}
	values := []uint64{frame}
	d := decoder{b: expression}
	for len(d.b) > 0 && !d.failed && len(values) < valuesMax {
		op := d.byte()
		last := len(values) - 1
		switch {
		case op >= opBase && op < opBaseEnd:
			register := op - opBase
			if register >= registersMax {
				return 0, false
			}
			values = append(values, u.registers[register]+uint64(d.sleb()))
		case op >= opLiteral && op < opRegister:
			values = append(values, uint64(op-opLiteral))
		case op == opConst1:
			values = append(values, d.unsigned(1))
		case op == opConst1s:
			values = append(values, uint64(int64(int8(d.unsigned(1)))))
		case op == opConst2:
			values = append(values, d.unsigned(2))
		case op == opConst2s:
			values = append(values, uint64(int64(int16(d.unsigned(2)))))
		case op == opPlusConst:
			values[last] += d.uleb()
		case op == opDeref:
			value, ok := u.load(values[last])
			if !ok {
				return 0, false
			}
			values[last] = value
		case last < 1:
			return 0, false
		default:
			a, b := values[last-1], values[last]
			if values[last-1], values = combined(op, a, b), values[:last]; op != opAnd && op != opMinus &&
				op != opPlus && op != opShiftLeft && op != opGreaterEq {
				return 0, false
			}
		}
	}
	return values[len(values)-1], !d.failed && len(d.b) == 0
}

func combined(op byte, a, b uint64) uint64 {
	switch op {
	case opAnd:
		return a & b
	case opMinus:
		return a - b
	case opPlus:
		return a + b
	case opShiftLeft:
		return a << b
	case opGreaterEq:
		if int64(a) >= int64(b) {
			return 1
		}
	}
	return 0
}

// byFramePointer takes the caller's registers from the frame record that the frame pointer
// points to: that of the caller's frame, and the return address.
func (u *unwinder) byFramePointer() way {
	at := u.registers[framePointer]
	if at == 0 {
		return outermost
	}
	if at < u.registers[stackPointer] || at%8 != 0 {
		return nowhere
	}
	caller, ok := u.load(at)
	address, isThere := u.load(at + 8)
	if !ok || !isThere {
		return nowhere
	}
	u.registers[framePointer], u.registers[programCounter] = caller, code(address)
	u.registers[stackPointer] = at + 16
	u.exact = false
	if address == 0 {
		return outermost
	}
	return onward
}

// rest adds what the kernel found beyond what was copied, where it came by the same way.
func (u *unwinder) rest() []step {
	if len(u.steps) == 0 {
		return u.steps
	}
	last := u.steps[len(u.steps)-1].address
	for i, address := range u.kernel {
		if code(address) != last || i == 0 {
			continue
		}
		m := u.process.mapping(last - 1)
		if m == nil || u.process.framePointers(m, u.process.module(m), last-1) == no {
			return u.steps
		}
		for _, address := range u.kernel[i+1:] {
			if u.process.mapping(code(address)-1) == nil {
				break
			}
			u.steps = append(u.steps, step{code(address), code(address) - 1, u.isGuess})
		}
		break
	}
	return u.steps
}

// Whether code keeps frame pointers.
type answer int

const (
	no answer = iota
	perhaps
	yes
)

// framePointers reports whether the function at an address keeps them: Go does, and so do
// compilers that make code while a program runs, if they were asked for names.
func (p *process) framePointers(m *mapping, module *module, address uint64) answer {
	switch {
	case module == nil && strings.HasPrefix(m.path, "[v"): // vdso, vsyscall
		return no
	case module == nil:
		if p.jitted(address) != "" {
			return yes
		}
		return perhaps
	}
	module.readNames()
	if module.golang != nil {
		return yes
	}
	if in, ok := module.addressOf(address - m.start + m.offset); ok && strings.HasPrefix(module.symbols.at(in), "Builtins_") {
		return yes // of V8, which node is linked with
	}
	if hasFramePointers {
		return perhaps
	}
	return no
}
