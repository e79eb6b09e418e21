// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package bpf

// Config is struct config of config.h: the constants of the programs, which are set
// before they are loaded. What is false costs nothing, because the verifier drops the
// code.
type Config struct {
	Traced     uint64 // a bit for each index of Syscalls
	OnlyCloses uint64 // those of them that are recorded only if they close something
	Token      uint64 // of the handshake, see Shared

	// How many records of an owner there may be, see owner.h: one each RateInterval ns,
	// 0 for any number; and as many at once as fit into RateBurst ns.
	RateInterval uint64
	RateBurst    uint64

	// See totals.h.
	SamplesMax   uint32 // calls that a CPU samples in a slice of time; 0 for none
	SliceJiffies uint32

	// Which filters there are; their lists are in IDsMap, CommsMap, PathsMap and
	// CgroupsMap. Those of Other* have exceptions alone, so that what is in no entry
	// passes.
	OnlyCgroups   uint32 // how many
	ExceptCgroups uint32 // how many come after them
	OneID         [IDKinds]uint32
	OnlyIDs       [IDKinds]bool
	OtherIDs      [IDKinds]bool
	HasOneID      [IDKinds]bool // a list of one needs no map
	OnlyComms     bool
	OtherComms    bool
	OnlyPaths     bool
	OtherPaths    bool
	OnlyChosen    bool // containers, see Verdict
	OnlyFailed    bool
	IgnoreHost    bool
	Follow        bool // IDsMap has the children of listed processes, too

	WantHostname  bool
	WantDetails   bool
	WantLatency   bool
	WantFile      bool // of opens, also the file's own path
	UseRingBuffer bool
	ByContainer   bool // what is dropped is counted by owner, see owner.h

	Counting   bool
	CountUsers bool // by user, too

	// How many arguments the tracepoints of io_uring have here, see uring.h.
	SubmitArguments   uint8
	CompleteArguments uint8
	RefuseArguments   uint8
	WantLifetime      bool // of what is closed, from BirthsMap
	AllCloses         bool // also those that no call is for
	AllOpens          bool // likewise, by execve(2)
	WantPrograms      bool // records of Forked, Executed and Ended
	Receives          bool // some of Traced receive descriptors
	_                 [5]uint8
}

// ConfigVariable is the variable in the object that a Config is written to.
const ConfigVariable = "cfg"

// NumbersVariable is the variable in the object that has a NumberTable for calls of an ABI.
func NumbersVariable(abi ABI) string {
	if abi == ABI32 {
		return "of_number_32"
	}
	return "of_number_64"
}

// NumberTable is what call.h tells syscalls by: of each number 1 + the index into
// Syscalls, 0 for none.
type NumberTable [numbers + 1]uint8

const numbers = 512 // NUMBERS of call.h

// Numbered returns the table of the syscalls that are traced, by a bit for each index of
// Syscalls.
func Numbered(traced uint64, abi ABI) (table NumberTable) {
	for i, s := range Syscalls {
		if number, exists := s.Number(abi); exists && traced&(1<<i) != 0 {
			table[number] = uint8(1 + i)
		}
		if number, exists := Socketcall.Number(abi); exists && traced&(1<<i) != 0 && s.Socketcall != 0 {
			table[number] = uint8(1 + len(Syscalls))
		}
	}
	return table
}
