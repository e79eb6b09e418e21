// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package stack

// Registers by their numbers in DWARF: System V ABI, AMD64 supplement, figure 3.36.
const (
	registersMax   = 17
	framePointer   = 6
	stackPointer   = 7
	programCounter = 16 // and the return address

	// hasFramePointers says that compilers leave them in unless asked not to.
	hasFramePointers = false
)

// code is an address without what the processor keeps in its upper bits.
func code(address uint64) uint64 { return address }
