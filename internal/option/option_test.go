// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package option

import (
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
