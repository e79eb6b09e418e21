// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package bpf

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write syscalls.h anew")

// syscalls.h is what the table says.
func TestSyscallsHeader(t *testing.T) {
	want := syscallsHeader()
	if *update {
		if err := os.WriteFile("syscalls.h", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("syscalls.h")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("syscalls.h is not what syscalls.go says: run go generate ./bpf, and build again")
	}
}

var roles = [...]string{
	Unused: "UNUSED", ArgFD: "FD", ArgDirFD: "FD", ArgOldFD: "OTHER", ArgLastFD: "LAST_FD", ArgFDs: "FDS", ArgSocket: "OTHER", ArgMessages: "UNUSED", ArgPath: "TEXT",
	ArgName: "TEXT", ArgFlags: "FLAGS", ArgMode: "MODE", ArgHow: "HOW", ArgAddress: "TEXT", ArgOwnAddress: "TEXT",
	ArgAddressLen: "LEN", ArgFamily: "FAMILY", ArgType: "TYPE", ArgProtocol: "PROTOCOL", ArgRequest: "REQUEST",
	ArgEvent: "EVENT", ArgRing: "RING", ArgValue: "MODE", ArgPID: "OTHER", ArgPIDFD: "MODE", ArgSignals: "SIGNALS",
}

var creations = [...]string{
	MakesNone: "MAKES_NONE", MakesOne: "MAKES_ONE", MakesSignalFD: "MAKES_SIGNALFD", MakesByCommand: "MAKES_BY_COMMAND",
	MakesWithoutFlags: "MAKES_WITHOUT_FLAGS", MakesPair: "MAKES_PAIR", CopiesOne: "COPIES_ONE", CopiesOnto: "COPIES_ONTO",
	CopiesByCommand: "COPIES_BY_COMMAND", Receives: "RECEIVES",
}

func (s Syscall) makesSometimes() bool {
	return s.Makes == MakesSignalFD || s.Makes == MakesByCommand || s.Makes == MakesWithoutFlags || s.Makes == CopiesByCommand
}

func (s Syscall) sharesHandler() bool {
	return s.I386Handler != "" || slices.ContainsFunc(Syscalls[:], func(other Syscall) bool { return other.I386Handler == s.Name })
}

func syscallsHeader() string {
	var b strings.Builder
	b.WriteString(`/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SPDX-FileCopyrightText: The copenclose authors */
#ifndef COPENCLOSE_SYSCALLS_H
#define COPENCLOSE_SYSCALLS_H

/*
 * Generated from syscalls.go by go generate ./bpf; do not edit.
 *
 * One row per traced syscall: name, then its number on x86-64, i386, arm64 and arm,
 * which descriptors it makes, the flags that it implies, and the roles of its arguments.
 */
/* clang-format off */
enum creation {
`)
	for _, c := range creations {
		fmt.Fprintf(&b, "\t%s,\n", c)
	}
	b.WriteString("};\n\n#define NO_NUMBER 0xffff")
	writeRows(&b, "DEFAULT_SYSCALLS", func(s Syscall) bool { return s.ByDefault })
	writeRows(&b, "OTHER_SYSCALLS", func(s Syscall) bool { return !s.ByDefault && !s.Event })
	b.WriteString("\n/* What is no syscall, but happens to a process. */")
	writeRows(&b, "EVENTS", func(s Syscall) bool { return s.Event })
	b.WriteString("\n#define SYSCALLS(ROW) DEFAULT_SYSCALLS(ROW) OTHER_SYSCALLS(ROW)\n")
	b.WriteString("\n/* Those that socketcall(2) has, by their number there. */\n#define SOCKETCALLS(ROW)")
	for _, s := range Syscalls {
		if s.Socketcall != 0 {
			fmt.Fprintf(&b, " \\\n\tROW(%d, %s)", s.Socketcall, s.Name)
		}
	}
	b.WriteString(`

#define SYSCALL_ENUM(name, ...) SYS_##name,
enum syscall {
	SYSCALLS(SYSCALL_ENUM) EVENTS(SYSCALL_ENUM) SYS_COUNT,
};

/* Sets of syscalls, a bit for each. */
#define BIT(name) (1ULL << SYS_##name)
`)
	for _, set := range []struct {
		name string
		has  func(Syscall) bool
	}{
		{"OTHERS", func(s Syscall) bool { return !s.ByDefault && !s.Event }},
		{"IS_EVENT", func(s Syscall) bool { return s.Event }},
		{"MAKES_FD", func(s Syscall) bool { return s.Makes != MakesNone && s.Makes != MakesPair && s.Makes != Receives }},
		{"MAKES_FDS", func(s Syscall) bool { return s.Makes == MakesPair }},
		{"RECEIVES_FDS", func(s Syscall) bool { return s.Makes == Receives }},
		{"MAKES_SOMETIMES", Syscall.makesSometimes},
		{"SHARES_HANDLER", Syscall.sharesHandler},
		{"CLOSES", func(s Syscall) bool { return s.Closes }},
		{"HAS_PATH", func(s Syscall) bool { return s.Has(ArgPath) }},
		{"HAS_NAME", func(s Syscall) bool { return s.Has(ArgName) }},
		{"HAS_ADDRESS", func(s Syscall) bool { return s.Has(ArgAddress) }},
		{"HAS_OWN_ADDRESS", func(s Syscall) bool { return s.Has(ArgOwnAddress) }},
		{"HAS_FAMILY", func(s Syscall) bool { return s.Has(ArgFamily) }},
		{"IS_ON_FD", Syscall.isOnFD},
	} {
		var bits []string
		for _, s := range Syscalls {
			if set.has(s) {
				bits = append(bits, "BIT("+s.Name+")")
			}
		}
		fmt.Fprintf(&b, "#define %s \\\n\t(%s)\n", set.name, strings.Join(bits, " | "))
	}
	b.WriteString("\n/* Calls that make descriptors, in the order of Creators; rows as above. */\n#define CREATORS(ROW)")
	for _, s := range creators() {
		fmt.Fprintf(&b, " \\\n\tROW(%s)", strings.Join(row(s)[:6], ", "))
	}
	b.WriteString(`

#define CREATOR_ENUM(name, ...) MADE_BY_##name,
enum creator {
	CREATORS(CREATOR_ENUM) MADE_BY_COUNT,
};
/* clang-format on */

#endif
`)
	return b.String()
}

// isOnFD reports whether all that the syscall is about is what its fd is.
func (s Syscall) isOnFD() bool {
	return s.Has(ArgFD) && s.Makes == MakesNone && !s.Closes && !s.Has(ArgAddress) && !s.Has(ArgOwnAddress)
}

func writeRows(b *strings.Builder, name string, has func(Syscall) bool) {
	fmt.Fprintf(b, "\n#define %s(ROW)", name)
	for _, s := range Syscalls {
		if has(s) {
			fmt.Fprintf(b, " \\\n\tROW(%s)", strings.Join(row(s), ", "))
		}
	}
	b.WriteByte('\n')
}

func row(s Syscall) []string {
	row := []string{s.Name, number(s.Numbers.X8664), number(s.Numbers.I386), number(s.Numbers.ARM64), number(s.Numbers.ARM),
		creations[s.Makes], fmt.Sprintf("%#o", s.Implies)}
	for _, role := range s.Arguments {
		row = append(row, roles[role])
	}
	return row
}

func number(n int) string {
	if n == none {
		return "NO_NUMBER"
	}
	return strconv.Itoa(n)
}

// A row is whole and says nothing twice.
func TestSyscalls(t *testing.T) {
	names := make(map[string]bool)
	numbers := make(map[[2]int]string)
	for _, s := range Syscalls {
		if names[s.Name] || s.Name == "" || s.Group == "" {
			t.Errorf("%+v: not a name and a group of its own", s)
		}
		names[s.Name] = true
		for i, n := range [...]int{s.Numbers.X8664, s.Numbers.I386, s.Numbers.ARM64, s.Numbers.ARM} {
			if before := numbers[[2]int{i, n}]; n != none && before != "" || n == 0 {
				t.Errorf("%s has the number %d of %s", s.Name, n, before)
			}
			numbers[[2]int{i, n}] = s.Name
		}
		if s.OnlyCloses && !s.Closes {
			t.Errorf("%s is recorded only if it closes, which it does not", s.Name)
		}
		if (s.Has(ArgAddress) || s.Has(ArgOwnAddress)) != s.Has(ArgAddressLen) || s.Has(ArgFD) && (s.Has(ArgDirFD) || s.Has(ArgFDs)) ||
			s.Has(ArgFDs) != (s.Makes == MakesPair) || s.Has(ArgMessages) != (s.Makes == Receives) || s.Has(ArgMode) && s.Has(ArgValue) {
			t.Errorf("%s: roles that do not fit each other: %v", s.Name, s.Arguments)
		}
	}
	if slices.ContainsFunc(Syscalls[slices.IndexFunc(Syscalls[:], func(s Syscall) bool { return !s.ByDefault }):], func(s Syscall) bool { return s.ByDefault }) {
		t.Error("those that are traced by default are not the first ones")
	}
	if len(Syscalls) > 64 {
		t.Errorf("%d syscalls do not fit sets of 64 bits", len(Syscalls))
	}
}
