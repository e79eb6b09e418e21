// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package stack

// Registers by their numbers in DWARF for the Arm 64-bit Architecture (aadwarf64), section
// 4.1; the return address is in x30.
const (
	registersMax   = 33
	framePointer   = 29
	stackPointer   = 31
	programCounter = 32

	// hasFramePointers says that compilers leave them in unless asked not to.
	hasFramePointers = true
)

// code is an address without the signature that pointer authentication puts into its upper
// bits.
func code(address uint64) uint64 { return address & (1<<48 - 1) }
