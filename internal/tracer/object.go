// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"fmt"
	"io"
	"log"
	"os"
	"time"
	"unsafe"

	"github.com/aquasecurity/libbpfgo"
	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
)

var discard = log.New(io.Discard, "", 0)

// object is the loaded copenclose.bpf.o.
type object struct {
	module   *libbpfgo.Module
	programs []*libbpfgo.BPFProg
	handlers []handler
	links    []*libbpfgo.BPFLink
	attached []int // files that keep programs attached without a link
	token    uint64
	syscalls uint64 // a bit for each index of bpf.Syscalls that is traced
	// onlyCloses has those that are recorded only if they close something.
	onlyCloses uint64
	shared     *bpf.Shared
	verdicts   verdicts
	totals     totalsLayout // where calls are counted
	uring      uring
	// hidesExecCloses: see Tracer.HidesExecCloses.
	hidesExecCloses bool
	// countsDropped says that what is dropped is counted by container.
	countsDropped bool
	mappings      [][]byte
	waiter        *waiter // nil before load
}

// openObject reads the embedded object.
func openObject(l *log.Logger) (*object, error) {
	module, err := openModule("copenclose.bpf.o", bpf.WriteObject, l)
	if err != nil {
		return nil, err
	}
	return &object{module: module}, nil
}

// configure sets what must be known before load: the constants, which maps there
// are and how large, and which programs are loaded.
func (o *object) configure(cfg Config, mode AttachMode) error {
	if err := o.choosePrograms(cfg, mode); err != nil {
		return err
	}
	if err := o.chooseToken(); err != nil {
		return err
	}
	constants := bpf.Config{
		Traced:        o.syscalls,
		OnlyCloses:    o.onlyCloses,
		Token:         o.token,
		WantHostname:  cfg.Hostname,
		WantDetails:   cfg.Details,
		WantLatency:   cfg.Latency,
		WantFile:      cfg.File,
		WantLifetime:  cfg.Lifetime,
		AllCloses:     cfg.AllCloses,
		AllOpens:      cfg.AllOpens,
		WantPrograms:  cfg.Programs,
		Receives:      cfg.receives(),
		UseRingBuffer: cfg.Buffer == Ring,
		ByContainer:   cfg.ByContainer,

		SubmitArguments:   o.uring.submit,
		CompleteArguments: o.uring.complete,
		RefuseArguments:   o.uring.refuse,
	}
	if r := cfg.Rate; r.PerSecond > 0 {
		constants.RateInterval = uint64(time.Second) / uint64(r.PerSecond)
		constants.RateBurst = uint64(r.Burst-1) * constants.RateInterval
	}
	cfg.Filter.configure(&constants)
	if err := o.configureCounting(cfg, &constants); err != nil {
		return err
	}
	if err := o.module.InitGlobalVariable(bpf.ConfigVariable, constants); err != nil {
		return fmt.Errorf("set the constants: %w", err)
	}
	for _, abi := range []bpf.ABI{bpf.ABI64, bpf.ABI32} {
		if err := o.module.InitGlobalVariable(bpf.NumbersVariable(abi), bpf.Numbered(o.syscalls, abi)); err != nil {
			return fmt.Errorf("set the numbers of syscalls: %w", err)
		}
	}
	return o.chooseMaps(cfg)
}

func (o *object) load(cfg Config) error {
	if err := o.module.BPFLoadObject(); err != nil {
		return err
	}
	var err error
	if o.waiter, err = newWaiter(); err != nil {
		return err
	}
	shared, err := o.mmap(bpf.SharedMap, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return err
	}
	o.shared = (*bpf.Shared)(unsafe.Pointer(&shared[0]))
	if !cfg.usesVerdicts() {
		return nil
	}
	size := bpf.VerdictSets * int(unsafe.Sizeof(bpf.VerdictSet{}))
	table, err := o.mmap(bpf.VerdictsMap, 0, size, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return err
	}
	o.verdicts.sets = unsafe.Slice((*bpf.VerdictSet)(unsafe.Pointer(&table[0])), bpf.VerdictSets)
	return nil
}

func (o *object) close() {
	if o.links != nil || o.attached != nil {
		_ = o.detach()
	}
	if o.waiter != nil {
		o.waiter.close()
	}
	for _, m := range o.mappings {
		_ = unix.Munmap(m)
	}
	o.module.Close()
}
