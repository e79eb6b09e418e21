// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package option

import (
	"slices"
	"testing"
	"time"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]int{
		"8M": 8 << 20, "8m": 8 << 20, "8MiB": 8 << 20, "1000000": 1 << 20, "5M": 8 << 20,
		"65536": 64 << 10, "1": 64 << 10, "1G": 1 << 30, "0.5M": 512 << 10,
		"": 0, "0": 0, "-8M": 0, "1T": 0, "8X": 0, "M": 0, "8 M 8": 0,
	} {
		n := Size{Min: 64 << 10, Max: 1 << 30}
		if err := n.Set(text); n.Bytes != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v; want %d", text, n.Bytes, err, want)
		}
	}
	n := Size{Bytes: 8 << 20}
	if n.String() != "8M" {
		t.Errorf("8M is shown as %s", &n)
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"10s": 10 * time.Second, "1.5": 1500 * time.Millisecond, "10": 10 * time.Second, "1m30s": 90 * time.Second, "250ms": 250 * time.Millisecond,
		"": 0, "0": 0, "-1s": 0, "soon": 0, "s": 0, "1 h": 0,
	} {
		var d Duration
		if err := d.Set(text); time.Duration(d) != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %v, %v; want %v", text, time.Duration(d), err, want)
		}
	}
}

func TestChoice(t *testing.T) {
	c := NewChoice("auto", "ring", "perf")
	if c.String() != "auto" {
		t.Errorf("default is %s", c)
	}
	if err := c.Set("perf"); err != nil || c.String() != "perf" {
		t.Errorf("%s, %v", c, err)
	}
	if err := c.Set("AUTO"); err != nil || c.String() != "auto" {
		t.Errorf("%s, %v", c, err)
	}
	if err := c.Also("percpu", "perf").Set("PerCPU"); err != nil || c.String() != "perf" {
		t.Errorf("%s, %v", c, err)
	}
	for _, bad := range []string{"", "per", "perf "} {
		if err := c.Set(bad); err == nil || c.String() != "perf" {
			t.Errorf("%q: %s, %v", bad, c, err)
		}
	}
}

// A group stands for its syscalls, and those that replace descriptors are there for what
// they close, unless more is asked for.
func TestSyscalls(t *testing.T) {
	byDefault := []string{"openat", "accept4", "connect", "close", "dup3"}
	for text, want := range map[string]struct {
		has, hasNot, onlyCloses []string
	}{
		"":                     {byDefault, []string{"dup", "socket", "bpf"}, []string{"dup2", "dup3"}},
		"!close":               {byDefault[:3], []string{"close", "dup3"}, nil},
		"close":                {[]string{"close", "close_range", "dup3"}, []string{"openat", "dup"}, []string{"dup2", "dup3"}},
		"dup3":                 {[]string{"dup3"}, []string{"dup", "close"}, nil},
		"close,dup":            {[]string{"close", "dup3", "dup", "fcntl"}, []string{"openat"}, nil},
		"sockets":              {[]string{"socket", "socketpair", "bind", "listen"}, []string{"connect", "pipe2"}, nil},
		"descriptors":          {[]string{"socket", "dup3", "bpf", "memfd_create"}, []string{"bind", "openat", "close"}, nil},
		"eventfd,signalfd":     {[]string{"eventfd2", "signalfd4"}, []string{"pipe2"}, nil},
		"all":                  {append(byDefault, "socket", "bind", "bpf"), nil, nil},
		"all,!bpf,!dup":        {[]string{"openat", "socket"}, []string{"bpf", "dup3", "fcntl"}, nil},
		"ALL,!descriptors,dup": {[]string{"openat", "bind"}, []string{"socket", "dup"}, nil},
	} {
		var y Syscalls
		if text != "" {
			if err := y.Set(text); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
		}
		names := y.Names()
		for _, name := range want.has {
			if !slices.Contains(names, name) {
				t.Errorf("%q has no %s: %v", text, name, names)
			}
		}
		for _, name := range want.hasNot {
			if slices.Contains(names, name) {
				t.Errorf("%q has %s: %v", text, name, names)
			}
		}
		onlyCloses := slices.DeleteFunc(want.onlyCloses, func(name string) bool { return name == "dup2" && !slices.Contains(names, name) })
		if got := y.OnlyCloses(); !slices.Equal(got, onlyCloses) {
			t.Errorf("%q: %v only close, want %v", text, got, onlyCloses)
		}
	}
	for _, text := range []string{"nothing", "!all", "dup,!dup"} {
		if err := new(Syscalls).Set(text); err == nil {
			t.Errorf("%q is no mistake", text)
		}
	}
}
