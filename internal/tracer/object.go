package tracer

/*
#include <bpf/bpf.h>

static int prog_info(int fd, struct bpf_prog_info *info)
{
	__u32 size = sizeof(*info);

	return bpf_prog_get_info_by_fd(fd, info, &size);
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
	"strings"
	"sync/atomic"
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
	links    []*libbpfgo.BPFLink
	nonce    uint64
	syscalls uint32 // a bit for each index of bpf.Syscalls that is traced
	shared   *bpf.Shared
	mapping  []byte
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

// openObject reads the embedded object. It goes through a file in memory:
// libbpfgo raises RLIMIT_MEMLOCK when it opens a buffer, which fails without
// CAP_SYS_RESOURCE; so opened, it leaves that to libbpf, which knows whether the
// kernel needs it (before 5.11).
func openObject() (*object, error) {
	fd, err := unix.MemfdCreate("copenclose.bpf.o", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "copenclose.bpf.o")
	defer f.Close()
	if _, err := f.Write(bpf.Object); err != nil {
		return nil, fmt.Errorf("write the programs to memory: %w", err)
	}
	module, err := libbpfgo.NewModuleFromFileArgs(libbpfgo.NewModuleArgs{
		BPFObjPath:      fmt.Sprintf("/proc/self/fd/%d", fd),
		SkipMemlockBump: true,
	})
	if err != nil {
		return nil, fmt.Errorf("open the BPF object: %w", err)
	}
	return &object{module: module}, nil
}

// configure sets what must be known before load: the constants, which maps there
// are and how large, and which programs are loaded.
func (o *object) configure(cfg Config, way Way) error {
	var nonce [4]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return fmt.Errorf("make up a knock: %w", err)
	}
	// Whatever the call, its first argument is a bad fd or a bad pointer.
	o.nonce = uint64(binary.NativeEndian.Uint32(nonce[:]))<<32 | 0xffffffff

	for i, s := range bpf.Syscalls {
		if s.Exists() {
			o.syscalls |= 1 << i
		}
	}
	for name, value := range map[string]any{
		"ignore_host":     cfg.IgnoreHost,
		"want_hostname":   cfg.Hostname,
		"use_ring_buffer": cfg.Buffer == Ring,
		"traced":          o.syscalls,
		"knock":           o.nonce,
	} {
		if err := o.module.InitGlobalVariable(name, value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}

	if cfg.Buffer == Ring {
		return errors.Join(o.sizeMap(bpf.RingMap, cfg.BufferSize), o.leaveOut(bpf.PerfMap), o.choosePrograms(way))
	}
	cpus, err := libbpfgo.NumPossibleCPUs()
	if err != nil {
		return fmt.Errorf("count the CPUs: %w", err)
	}
	return errors.Join(o.sizeMap(bpf.PerfMap, cpus), o.leaveOut(bpf.RingMap), o.choosePrograms(way))
}

func (o *object) sizeMap(name string, entries int) error {
	m, err := o.module.GetMap(name)
	if err == nil {
		err = m.SetMaxEntries(uint32(entries))
	}
	if err != nil {
		return fmt.Errorf("size the map %s: %w", name, err)
	}
	return nil
}

func (o *object) leaveOut(name string) error {
	m, err := o.module.GetMap(name)
	if err == nil {
		err = m.SetAutocreate(false)
	}
	if err != nil {
		return fmt.Errorf("leave out the map %s: %w", name, err)
	}
	return nil
}

// choosePrograms leaves those programs to load that way and this kernel need.
func (o *object) choosePrograms(way Way) error {
	if err := o.chooseProgram(bpf.SysExitProgram, way == Tracepoint); err != nil {
		return err
	}
	for i, s := range bpf.Syscalls {
		wanted := way == Fentry && o.syscalls&(1<<i) != 0
		if err := o.chooseHandler(s.Program(bpf.ABI64), wanted, true, handlers64(s.Name)); err != nil {
			return err
		}
		if err := o.chooseHandler(s.Program(bpf.ABI32), wanted, false, handlers32(s.Name)); err != nil {
			return err
		}
	}
	return o.chooseHandler(bpf.SocketcallProgram, way == Fentry, false, handlers32("socketcall"))
}

// chooseHandler aims a program at the first of functions that the kernel has.
// Where it has none, the calls cannot happen either, unless it must.
func (o *object) chooseHandler(name string, wanted, must bool, functions []string) error {
	if !wanted {
		return o.chooseProgram(name, false)
	}
	program, err := o.module.GetProgram(name)
	if err != nil {
		return err
	}
	for _, function := range functions {
		if err = program.SetAttachTarget(0, function); err == nil {
			return o.chooseProgram(name, true)
		}
	}
	if must {
		return fmt.Errorf("no handler to trace: %w", err)
	}
	return o.chooseProgram(name, false)
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

// handlers64 are the functions that handle a syscall of a 64-bit program; the
// names are made by SYSCALL_DEFINE in arch/*/include/asm/syscall_wrapper.h.
func handlers64(syscall string) []string {
	if runtime.GOARCH == "arm64" {
		return []string{"__arm64_sys_" + syscall}
	}
	return []string{"__x64_sys_" + syscall}
}

// handlers32 are those of a 32-bit program, the likelier first: where a syscall
// has a compat handler, the plain one is not called. On arm64 the rest goes
// through the same functions as for 64-bit programs.
func handlers32(syscall string) []string {
	if runtime.GOARCH == "arm64" {
		return []string{"__arm64_compat_sys_" + syscall}
	}
	return []string{"__ia32_compat_sys_" + syscall, "__ia32_sys_" + syscall}
}

func (o *object) load() error {
	if err := o.module.BPFLoadObject(); err != nil {
		return err
	}
	mapping, err := unix.Mmap(o.mapFD(bpf.SharedMap), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the shared variables: %w", err)
	}
	o.mapping = mapping
	o.shared = (*bpf.Shared)(unsafe.Pointer(&mapping[0]))
	return nil
}

// mapFD is the file descriptor of a map that the object has for certain.
func (o *object) mapFD(name string) int {
	m, err := o.module.GetMap(name)
	if err != nil {
		panic(err)
	}
	return m.FileDescriptor()
}

func (o *object) setPerfFD(cpu, fd int) error {
	m, err := o.module.GetMap(bpf.PerfMap)
	if err != nil {
		return err
	}
	key, value := uint32(cpu), uint32(fd)
	if err := m.Update(unsafe.Pointer(&key), unsafe.Pointer(&value)); err != nil {
		return fmt.Errorf("hand over the perf buffer of CPU %d: %w", cpu, err)
	}
	return nil
}

func (o *object) attach() error {
	for _, program := range o.programs {
		link, err := program.AttachGeneric()
		if err != nil {
			return fmt.Errorf("attach %s: %w", program.Name(), err)
		}
		o.links = append(o.links, link)
	}
	return nil
}

// knock makes each traced call once, in a way that cannot succeed. The programs
// hear that the tool is there, begin to send what others do, and leave out what
// this process does. A program that hears nothing would show nothing.
func (o *object) knock() error {
	for i, s := range bpf.Syscalls {
		if o.syscalls&(1<<i) == 0 {
			continue
		}
		_, _, _ = unix.RawSyscall(uintptr(s.Number), uintptr(o.nonce), 0, 0)
		if atomic.LoadUint32(&o.shared.Heard)&(1<<i) == 0 {
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
	// Programs run in RCU read-side sections, and this waits for all of them:
	// in the kernel it is synchronize_rcu().
	_, _, _ = unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0)
}

// counts adds up the counters of all CPUs, and the calls that the kernel did not
// show to a program because it was running already on that CPU (5.12; 9ed9e9ba2337,
// "bpf: Count the number of times recursion was prevented").
func (o *object) counts() (Counts, error) {
	m, err := o.module.GetMap(bpf.CountersMap)
	if err != nil {
		return Counts{}, err
	}
	var key uint32
	value, err := m.GetValue(unsafe.Pointer(&key))
	if err != nil {
		return Counts{}, fmt.Errorf("read the counters: %w", err)
	}
	var c Counts
	for _, cpu := range unsafe.Slice((*bpf.Counters)(unsafe.Pointer(&value[0])), len(value)/int(unsafe.Sizeof(bpf.Counters{}))) {
		c.Filtered += cpu.Filtered
		c.Lost += cpu.Lost
	}
	for _, program := range o.programs {
		var info C.struct_bpf_prog_info
		if C.prog_info(C.int(program.FileDescriptor()), &info) == 0 {
			c.Lost += uint64(info.recursion_misses)
		}
	}
	return c, nil
}

func (o *object) close() {
	if o.links != nil {
		o.detach()
	}
	if o.mapping != nil {
		_ = unix.Munmap(o.mapping)
	}
	o.module.Close()
}
