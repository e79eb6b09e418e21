// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

/*
#include <bpf/bpf.h>

static int prog_info(int fd, struct bpf_prog_info *info)
{
	__u32 size = sizeof(*info);

	return bpf_prog_get_info_by_fd(fd, info, &size);
}

static int load_fexit_on_nothing(void)
{
	const struct bpf_insn nothing[] = { { .code = BPF_JMP | BPF_EXIT } };
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_TRACE_FEXIT, .attach_btf_id = 1);

	return bpf_prog_load(BPF_PROG_TYPE_TRACING, NULL, "GPL", nothing, 1, &opts);
}
*/
import "C"

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/aquasecurity/libbpfgo"
	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/stream"
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
	shared   *bpf.Shared
	verdicts verdicts
	mappings [][]byte
}

// forwardLibbpfLog gives libbpf's words to l, and none to the terminal.
func forwardLibbpfLog(l *log.Logger) {
	libbpfgo.SetLoggerCbs(libbpfgo.Callbacks{
		Log: func(_ int, msg string) { l.Print(strings.TrimRight(msg, "\n")) },
	})
}

// bestBuffer is Ring where the kernel has it.
func bestBuffer() BufferKind {
	if ok, err := libbpfgo.BPFMapTypeIsSupported(libbpfgo.MapTypeRingbuf); err == nil && ok {
		return Ring
	}
	return Perf
}

// refusesFentry tells whether the kernel takes no programs on functions at all, as
// when it is locked down. It says so before it looks at the program, and sooner
// than when ours were prepared for it.
func refusesFentry() bool {
	return unix.Errno(-C.load_fexit_on_nothing()) == unix.EPERM
}

// openObject reads the embedded object.
func openObject() (*object, error) {
	module, err := openModule("copenclose.bpf.o", bpf.Object)
	if err != nil {
		return nil, err
	}
	return &object{module: module}, nil
}

// configure sets what must be known before load: the constants, which maps there
// are and how large, and which programs are loaded.
func (o *object) configure(cfg Config, way Way) error {
	if err := o.choosePrograms(cfg, way); err != nil {
		return err
	}
	var random [4]byte
	if _, err := rand.Read(random[:]); err != nil {
		return fmt.Errorf("choose a token: %w", err)
	}
	// Whatever the call, its first argument is a bad fd or a bad pointer.
	o.token = 1<<63 | uint64(binary.NativeEndian.Uint32(random[:]))<<32 | 0xffffffff

	constants := bpf.Config{
		Traced:        o.syscalls,
		Token:         o.token,
		WantHostname:  cfg.Hostname,
		WantDetails:   cfg.Details,
		WantLatency:   cfg.Latency,
		WantFile:      cfg.File,
		UseRingBuffer: cfg.Buffer == Ring,
	}
	cfg.Filter.configure(&constants)
	if err := o.module.InitGlobalVariable(bpf.ConfigVariable, constants); err != nil {
		return fmt.Errorf("set the constants: %w", err)
	}
	return o.chooseMaps(cfg)
}

// chooseMaps leaves out the maps that no remaining code uses, and sizes the
// buffer.
func (o *object) chooseMaps(cfg Config) error {
	cpus, err := libbpfgo.NumPossibleCPUs()
	if err != nil {
		return fmt.Errorf("count the CPUs: %w", err)
	}
	for _, m := range []struct {
		name    string
		wanted  bool
		entries int // 0 to leave it as it is
	}{
		{bpf.RingMap, cfg.Buffer == Ring, cfg.BufferSize},
		{bpf.PerfMap, cfg.Buffer == Perf, cpus},
		{bpf.SlotsMap, cfg.freeSlots(cpus) > 0, bpf.ClosingSlots + cfg.freeSlots(cpus)},
		{bpf.FreeSlotsMap, cfg.freeSlots(cpus) > 0, cfg.freeSlots(cpus)},
		{bpf.ClosingSlotsMap, cfg.usesSlots(), 0},
		{bpf.ClosingMap, cfg.usesSlots(), 0},
		{bpf.EnteredMap, cfg.Latency, 0},
		{bpf.ConnectingMap, o.watchesConnects(cfg), 0},
		{bpf.IDsMap, len(cfg.Filter.ids()) > 0 || cfg.Filter.Command, 0},
		{bpf.CommsMap, len(cfg.Filter.Comms) > 0, 0},
		{bpf.PathsMap, len(cfg.Filter.Paths) > 0, 0},
		{bpf.CgroupsMap, len(cfg.Filter.Cgroups) > 0, 0},
		{bpf.VerdictsMap, cfg.Filter.usesVerdicts(), 0},
	} {
		bpfMap, err := o.module.GetMap(m.name)
		if err == nil && !m.wanted {
			err = bpfMap.SetAutocreate(false)
		}
		if err == nil && m.wanted && m.entries > 0 {
			err = bpfMap.SetMaxEntries(uint32(m.entries))
		}
		if err != nil {
			return fmt.Errorf("configure the map %s: %w", m.name, err)
		}
	}
	return nil
}

// choosePrograms leaves those programs to load that the configuration, way and
// this kernel need, and notes which syscalls they trace.
func (o *object) choosePrograms(cfg Config, way Way) error {
	for i, s := range bpf.Syscalls {
		if s.Exists() && (len(cfg.Syscalls) == 0 || slices.Contains(cfg.Syscalls, s.Name)) && (!s.IfCloses || cfg.usesSlots()) {
			o.syscalls |= 1 << i
		}
	}
	if err := o.chooseHandlers(cfg, way); err != nil {
		return err
	}
	if o.syscalls == 0 {
		return errors.New("the kernel has none of these syscalls, or they are shown only with -o wide and -o json")
	}
	atEntry := cfg.Latency || cfg.usesSlots() && slices.ContainsFunc(o.traced(), func(s bpf.Syscall) bool { return s.Closes })
	return errors.Join(
		o.chooseProgram(bpf.HandlersReturnProgram, way == Kprobe),
		o.chooseProgram(bpf.HandlersEnterProgram, way == Kprobe && atEntry),
		o.chooseProgram(bpf.SysExitProgram, way == Tracepoint),
		o.chooseProgram(bpf.SysEnterProgram, way == Tracepoint && atEntry),
		o.chooseProgram(bpf.PerfSysExitProgram, way == PerfTracepoint),
		o.chooseProgram(bpf.PerfSysEnterProgram, way == PerfTracepoint && atEntry),
		o.chooseProgram(bpf.SignalProgram, true),
		o.chooseProgram(bpf.ExitProgram, true),
		o.chooseProgram(bpf.StateProgram, o.watchesConnects(cfg)),
		o.chooseProgram(bpf.ForkProgram, cfg.Filter.FollowChildren),
		o.chooseProgram(bpf.ExecProgram, cfg.Filter.Command),
		o.chooseProgram(bpf.MkdirProgram, cfg.Cgroups),
		o.chooseProgram(bpf.RmdirProgram, cfg.Cgroups),
	)
}

// watchesConnects reports whether the outcome of connects is recorded. A filter of
// paths lets none of them pass.
func (o *object) watchesConnects(cfg Config) bool {
	return cfg.Details && len(cfg.Filter.Paths) == 0 && o.traces("connect")
}

func (o *object) traces(name string) bool {
	return slices.ContainsFunc(o.traced(), func(s bpf.Syscall) bool { return s.Name == name })
}

// traced are the syscalls whose calls are recorded.
func (o *object) traced() (traced []bpf.Syscall) {
	for i, s := range bpf.Syscalls {
		if o.syscalls&(1<<i) != 0 {
			traced = append(traced, s)
		}
	}
	return traced
}

// handler is a function of the kernel that handles a syscall.
type handler struct {
	syscall  bpf.Syscall
	abi      bpf.ABI
	function string
}

// chooseHandlers finds the functions that handle the syscalls that are traced, if way
// is on functions; for fentry it leaves a program for each of them to load.
func (o *object) chooseHandlers(cfg Config, way Way) error {
	onFunctions, load := way == Fentry || way == Kprobe, way == Fentry
	for i, s := range bpf.Syscalls {
		wanted := onFunctions && o.syscalls&(1<<i) != 0
		atEntry := cfg.Latency || cfg.usesSlots() && s.Closes
		if found, err := o.chooseHandler(s, bpf.ABI64, wanted, load, atEntry); err != nil {
			return err
		} else if wanted && !found {
			// An older kernel without this syscall.
			o.syscalls &^= 1 << i
		}
		// Where it has none for 32-bit programs, there are no such calls.
		if _, err := o.chooseHandler(s, bpf.ABI32, wanted, load, atEntry); err != nil {
			return err
		}
	}
	bySocketcall := onFunctions && slices.ContainsFunc(o.traced(), func(s bpf.Syscall) bool { return s.Socketcall != 0 })
	_, err := o.chooseHandler(bpf.Socketcall, bpf.ABI32, bySocketcall, load, cfg.Latency)
	return err
}

// chooseHandler aims the programs for a syscall at the first of its functions that
// the kernel has. What is not loaded is aimed all the same, to know whether it has one.
func (o *object) chooseHandler(s bpf.Syscall, abi bpf.ABI, wanted, load, atEntry bool) (found bool, err error) {
	exit, err := o.module.GetProgram(s.ExitProgram(abi))
	if err != nil {
		return false, err
	}
	entry, err := o.module.GetProgram(s.EntryProgram(abi))
	if err != nil {
		return false, err
	}
	for _, function := range handlers(s.Name, abi) {
		if !wanted || exit.SetAttachTarget(0, function) != nil {
			continue
		}
		o.handlers = append(o.handlers, handler{s, abi, function})
		if err := entry.SetAttachTarget(0, function); err != nil {
			return false, err
		}
		found = true
		break
	}
	return found, errors.Join(
		o.chooseProgram(s.ExitProgram(abi), found && load),
		o.chooseProgram(s.EntryProgram(abi), found && load && atEntry),
	)
}

func (o *object) chooseProgram(name string, wanted bool) error {
	program, err := o.module.GetProgram(name)
	if err != nil {
		return err
	}
	if !wanted {
		return program.SetAutoload(false)
	}
	o.programs = append(o.programs, program)
	return nil
}

// handlers are the functions that may handle a syscall, the likelier first; the names
// are made by SYSCALL_DEFINE in arch/*/include/asm/syscall_wrapper.h. Where a syscall
// has a compat handler, 32-bit programs do not call the plain one. On arm64 those
// without one go through the same functions as 64-bit programs.
func handlers(syscall string, abi bpf.ABI) []string {
	switch {
	case runtime.GOARCH == "arm64" && abi == bpf.ABI32:
		return []string{"__arm64_compat_sys_" + syscall}
	case runtime.GOARCH == "arm64":
		return []string{"__arm64_sys_" + syscall}
	case abi == bpf.ABI32:
		return []string{"__ia32_compat_sys_" + syscall, "__ia32_sys_" + syscall}
	}
	return []string{"__x64_sys_" + syscall}
}

func (o *object) load(cfg Config) error {
	if err := o.module.BPFLoadObject(); err != nil {
		return err
	}
	shared, err := o.mmap(bpf.SharedMap, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return err
	}
	o.shared = (*bpf.Shared)(unsafe.Pointer(&shared[0]))
	if !cfg.Filter.usesVerdicts() {
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

// mmap maps a part of a map into memory, until close.
func (o *object) mmap(name string, offset, size, prot int) ([]byte, error) {
	m, err := unix.Mmap(o.mapFD(name), int64(offset), size, prot, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s into memory: %w", name, err)
	}
	o.mappings = append(o.mappings, m)
	return m, nil
}

// mapFD is the file descriptor of a map that the object has for certain.
func (o *object) mapFD(name string) int {
	m, err := o.module.GetMap(name)
	if err != nil {
		panic(err)
	}
	return m.FileDescriptor()
}

// put writes an entry of a map. *K and *V must have the map's layout.
func put[K, V any](o *object, name string, key K, value V) error {
	m, err := o.module.GetMap(name)
	if err == nil {
		err = m.Update(unsafe.Pointer(&key), unsafe.Pointer(&value))
	}
	if err != nil {
		return fmt.Errorf("write to the map %s: %w", name, err)
	}
	return nil
}

// fill puts into the maps what must be there before the first event.
func (o *object) fill(cfg Config) error {
	cpus, err := libbpfgo.NumPossibleCPUs()
	if err == nil {
		err = o.push(bpf.ClosingSlotsMap, 0, cfg.closingSlots())
	}
	if err == nil {
		err = o.push(bpf.FreeSlotsMap, bpf.ClosingSlots, cfg.freeSlots(cpus))
	}
	if err != nil {
		return fmt.Errorf("fill the stacks of slots: %w", err)
	}
	return cfg.Filter.fill(o)
}

// push puts n numbers on a stack, which has no keys; libbpfgo does not know those.
func (o *object) push(name string, first, n int) error {
	for number := uint32(first); number < uint32(first+n); number++ {
		if _, err := C.bpf_map_update_elem(C.int(o.mapFD(name)), nil, unsafe.Pointer(&number), 0); err != nil {
			return err
		}
	}
	return nil
}

func (o *object) attach() error {
	for _, program := range o.programs {
		if err := o.attachProgram(program); err != nil {
			return fmt.Errorf("attach %s: %w", program.Name(), err)
		}
	}
	return nil
}

func (o *object) attachProgram(program *libbpfgo.BPFProg) error {
	var fd int
	var err error
	switch program.Name() {
	case bpf.HandlersReturnProgram:
		fd, err = o.attachToHandlers(program, atReturn)
	case bpf.HandlersEnterProgram:
		fd, err = o.attachToHandlers(program, 0)
	case bpf.PerfSysExitProgram:
		fd, err = attachToEvent(program, "raw_syscalls/sys_exit")
	case bpf.PerfSysEnterProgram:
		fd, err = attachToEvent(program, "raw_syscalls/sys_enter")
	default:
		link, err := program.AttachGeneric()
		if err == nil {
			o.links = append(o.links, link)
		}
		return err
	}
	if err == nil {
		o.attached = append(o.attached, fd)
	}
	return err
}

// handshake makes each traced call once with the token, which cannot succeed. The
// programs learn who the tool is, begin to record what others do, and leave out what
// this process does. A program that does not answer would record nothing.
func (o *object) handshake() error {
	for i, s := range bpf.Syscalls {
		if o.syscalls&(1<<i) == 0 {
			continue
		}
		// Where the kernel does not know the number, the program for the
		// tracepoint answers all the same.
		_, _, _ = unix.RawSyscall(uintptr(s.Number()), uintptr(o.token), 0, 0)
		if atomic.LoadUint64(&o.shared.Answered)&(1<<i) == 0 {
			return fmt.Errorf("the program for %s is attached, but did not run", s.Name)
		}
	}
	return nil
}

const membarrierGlobal = 1 // MEMBARRIER_CMD_GLOBAL, include/uapi/linux/membarrier.h

// detach ends the recording, and returns when the last running program has
// submitted its record.
func (o *object) detach() {
	for _, link := range o.links {
		_ = link.Destroy()
	}
	o.links = nil
	for _, fd := range o.attached {
		_ = unix.Close(fd)
	}
	o.attached = nil
	// Programs run in RCU read-side sections, and this waits for all of them:
	// in the kernel it is synchronize_rcu().
	_, _, _ = unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0)
}

// counts adds up the counters of all CPUs, and those that the kernel has of each
// program (5.12; 9ed9e9ba2337, "bpf: Count the number of times recursion was
// prevented").
func (o *object) counts() (c stream.Counts, err error) {
	m, err := o.module.GetMap(bpf.CountersMap)
	if err != nil {
		return c, err
	}
	var key uint32
	value, err := m.GetValue(unsafe.Pointer(&key))
	if err != nil {
		return c, fmt.Errorf("read the counters: %w", err)
	}
	for _, cpu := range unsafe.Slice((*bpf.Counters)(unsafe.Pointer(&value[0])), len(value)/int(unsafe.Sizeof(bpf.Counters{}))) {
		c.Filtered += cpu.Filtered
		c.Lost += cpu.Lost
		c.Unfollowed += cpu.Unfollowed
	}
	for _, program := range o.programs {
		switch program.Name() {
		case bpf.SignalProgram, bpf.ExitProgram:
			continue // what they miss, the end of the thread tells
		}
		var info C.struct_bpf_prog_info
		if C.prog_info(C.int(program.FileDescriptor()), &info) == 0 {
			c.Missed += uint64(info.recursion_misses)
		}
	}
	return c, nil
}

func (o *object) close() {
	if o.links != nil || o.attached != nil {
		o.detach()
	}
	for _, m := range o.mappings {
		_ = unix.Munmap(m)
	}
	o.module.Close()
}
