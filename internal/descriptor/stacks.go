// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stack"
)

// Stacks are taken of few calls, so libbpf's reader is good enough for them.
const (
	stacksQueue   = 64
	stacksTimeout = 200 // ms, after which the reader looks whether it is to end
)

func (k *Kernel) recordStacks() error {
	taken := make(chan []byte, stacksQueue)
	ring, err := k.module.InitRingBuf(bpf.StacksMap, taken)
	if err != nil {
		return fmt.Errorf("read stacks: %w", err)
	}
	k.stacks = stack.NewRecorder()
	ring.Poll(stacksTimeout)
	go func() { // until the module is closed
		for b := range taken {
			if s := bpf.ViewCallStack(b); s != nil {
				k.stacks.Add(s)
			}
		}
	}()
	return nil
}

// Suspect has stacks taken of these calls, and of no others any more.
func (k *Kernel) Suspect(makers map[bpf.Maker]bool) error {
	m, err := k.module.GetMap(bpf.SuspectsMap)
	if err != nil {
		return err
	}
	err = unpreempted(func() error {
		for maker := range k.suspects {
			if !makers[maker] {
				_ = m.DeleteKey(unsafe.Pointer(&maker)) // it is there
			}
		}
		for maker := range makers {
			if k.suspects[maker] {
				continue
			}
			var none bpf.Suspect
			if err := m.Update(unsafe.Pointer(&maker), unsafe.Pointer(&none)); err != nil {
				return fmt.Errorf("take stacks of process %d: %w", maker.PID, err)
			}
		}
		return nil
	})
	k.suspects = makers
	return err
}

// Calls returns those of which stacks were taken since it was called before.
func (k *Kernel) Calls() []stack.Call { return k.stacks.Collect() }

// StacksLost returns how many stacks are missing, and why.
func (k *Kernel) StacksLost() (gone, skipped uint64, err error) {
	counts := k.stacks.Counts()
	m, err := k.module.GetMap(bpf.StacksLostMap)
	if err != nil {
		return 0, 0, err
	}
	var zero uint32
	value, err := m.GetValue(unsafe.Pointer(&zero))
	if err != nil {
		return 0, 0, fmt.Errorf("read the map %s: %w", m.Name(), err)
	}
	return counts.Gone, counts.Skipped + binary.NativeEndian.Uint64(value), nil
}
