// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"errors"

	"github.com/aquasecurity/libbpfgo"

	"github.com/copenclose/copenclose/bpf"
)

// chooseOpening leaves the program to load that records what execve(2) opens by itself, if
// that is asked for: the one that finds mappings in the way of this kernel.
func (o *object) chooseOpening(cfg Config) error {
	wanted := cfg.AllOpens && o.traces("openat")
	canFind := false
	if wanted {
		// Of the type of our program libbpf cannot tell; all that trace have the same helpers.
		canFind, _ = libbpfgo.BPFHelperIsSupported(libbpfgo.BPFProgTypeTracepoint, libbpfgo.BPFFuncFindVma)
	}
	return errors.Join(
		o.chooseProgram(bpf.ExecOpensProgram, wanted && canFind),
		o.chooseProgram(bpf.ExecOpensListedProgram, wanted && !canFind),
	)
}
