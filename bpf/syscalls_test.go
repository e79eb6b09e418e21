// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package bpf

import (
	"flag"
	"fmt"
	"os"
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
	Unused: "UNUSED", ArgFD: "FD", ArgDirFD: "DIRFD", ArgLastFD: "LAST_FD", ArgPath: "PATH", ArgFlags: "FLAGS",
	ArgMode: "MODE", ArgHow: "HOW", ArgAddress: "ADDRESS", ArgAddressLen: "ADDRESS_LEN",
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
 * the flags that it implies, and the roles of its arguments.
 */
/* clang-format off */
#define NO_NUMBER 0xffff
#define SYSCALLS(ROW)`)
	for _, s := range Syscalls {
		row := []string{s.Name, number(s.Numbers.X8664), number(s.Numbers.I386), number(s.Numbers.ARM64), number(s.Numbers.ARM), fmt.Sprintf("%#o", s.Implies)}
		for _, role := range s.Arguments {
			row = append(row, roles[role])
		}
		fmt.Fprintf(&b, " \\\n\tROW(%s)", strings.Join(row, ", "))
	}
	b.WriteString("\n\n/* Those that socketcall(2) has, by their number there. */\n#define SOCKETCALLS(ROW)")
	for _, s := range Syscalls {
		if s.Socketcall != 0 {
			fmt.Fprintf(&b, " \\\n\tROW(%d, %s)", s.Socketcall, s.Name)
		}
	}
	b.WriteString(`

#define SYSCALL_ENUM(name, ...) SYS_##name,
enum syscall {
	SYSCALLS(SYSCALL_ENUM) SYS_COUNT,
};

/* Sets of syscalls, a bit for each. */
#define BIT(name) (1ULL << SYS_##name)
`)
	for _, set := range []struct {
		name string
		has  func(Syscall) bool
	}{
		{"MAKES_FD", func(s Syscall) bool { return s.MakesFD }},
		{"CLOSES", func(s Syscall) bool { return s.Closes }},
		{"IF_CLOSES", func(s Syscall) bool { return s.IfCloses }},
		{"HAS_PATH", func(s Syscall) bool { return s.Has(ArgPath) }},
		{"HAS_ADDRESS", func(s Syscall) bool { return s.Has(ArgAddress) }},
	} {
		var bits []string
		for _, s := range Syscalls {
			if set.has(s) {
				bits = append(bits, "BIT("+s.Name+")")
			}
		}
		fmt.Fprintf(&b, "#define %s \\\n\t(%s)\n", set.name, strings.Join(bits, " | "))
	}
	b.WriteString("/* clang-format on */\n\n#endif\n")
	return b.String()
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
		if s.IfCloses && !s.Closes {
			t.Errorf("%s is recorded only if it closes, which it does not", s.Name)
		}
		if s.Has(ArgAddress) != s.Has(ArgAddressLen) || s.Has(ArgFD) && s.Has(ArgDirFD) {
			t.Errorf("%s: roles that do not fit each other: %v", s.Name, s.Arguments)
		}
	}
	if len(Syscalls) > 64 {
		t.Errorf("%d syscalls do not fit sets of 64 bits", len(Syscalls))
	}
}
