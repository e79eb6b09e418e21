// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package privilege

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// dropped is set in the process that gives up its privileges.
const dropped = "COPENCLOSE_TEST_DROPPED"

func TestMain(m *testing.M) {
	if dir := os.Getenv(dropped); dir != "" {
		if err := giveUp(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// What is kept works afterwards, on every thread, and nothing else does.
func TestDrop(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kept", "other"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "file"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), dropped+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func giveUp(dir string) error {
	socket := filepath.Join(dir, "kept", "socket")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	child := exec.Command("sleep", "1000")
	if err := child.Start(); err != nil {
		return err
	}
	// Threads that are there before, and wait.
	var waiting sync.WaitGroup
	release := make(chan struct{})
	for range 8 {
		waiting.Go(func() {
			runtime.LockOSThread()
			<-release
		})
	}

	var said []string
	Drop(Keep{CgroupIDs: true, Runtimes: true, Command: true, Folders: []string{"/proc", filepath.Join(dir, "kept"), "/no/such"}},
		func(line string) { said = append(said, line) })
	if len(said) != 4 {
		return fmt.Errorf("it says %q", said)
	}
	landlocked := false
	if abi, err := syscall.LandlockGetABIVersion(); err == nil && abi > 0 {
		landlocked = true
	}
	for i, want := range map[int]string{0: "left", 1: "no_new_privs", 3: "seccomp"} {
		if !strings.Contains(said[i], want) {
			return fmt.Errorf("it says %q", said[i])
		}
	}

	var wrong []error
	expect := func(what string, err, want error) {
		if !errors.Is(err, want) {
			wrong = append(wrong, fmt.Errorf("%s: %v, want %v", what, err, want))
		}
	}
	read := func(name string) error {
		_, err := os.ReadFile(name)
		return err
	}
	expect("read what is kept", read(filepath.Join(dir, "kept", "file")), nil)
	if landlocked {
		expect("read another file", read(filepath.Join(dir, "other", "file")), fs.ErrPermission)
		expect("read /etc/passwd", read("/etc/passwd"), fs.ErrPermission)
	}
	expect("write what is kept", os.WriteFile(filepath.Join(dir, "kept", "file"), nil, 0o644), fs.ErrPermission)
	expect("make a file", os.WriteFile(filepath.Join(dir, "kept", "new"), nil, 0o644), fs.ErrPermission)
	expect("run a program", exec.Command("/bin/true").Run(), fs.ErrPermission)
	_, err = net.Listen("tcp", "127.0.0.1:0")
	expect("open a port", err, fs.ErrPermission)
	_, err = net.Dial("tcp", "127.0.0.1:1")
	expect("connect over the network", err, fs.ErrPermission)
	_, err = unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE)
	expect("make memory that runs", err, fs.ErrPermission)
	expect("mount", unix.Mount("none", dir, "tmpfs", 0, ""), fs.ErrPermission)
	expect("set a limit", unix.Prlimit(0, unix.RLIMIT_CORE, &unix.Rlimit{}, nil), fs.ErrPermission)
	_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, 0, 0)
	expect("load a program", errno, unix.EPERM)
	_, _, errno = unix.Syscall(unix.SYS_BPF, unix.BPF_MAP_LOOKUP_ELEM, 0, 0)
	if errno == unix.EPERM {
		// A kernel before 5.19 asks for CAP_BPF; the filter does not refuse it.
		errno = unix.EINVAL
	}
	expect("read a map", errno, unix.EINVAL)

	// What the tool does.
	accepted := make(chan error, 1)
	go func() {
		_, err := net.DialTimeout("unix", socket, time.Second)
		accepted <- err
	}()
	expect("connect to a runtime", <-accepted, nil)
	_ = listener
	expect("end the command", child.Process.Kill(), nil)
	_ = child.Wait()
	if status := child.ProcessState.Sys().(interface{ Signaled() bool }); !status.Signaled() {
		wrong = append(wrong, errors.New("the command was not waited for"))
	}
	if now := time.Now(); now.In(time.Local).IsZero() {
		wrong = append(wrong, errors.New("no time"))
	}
	// Threads that come later, and what the garbage collector does.
	for range 8 {
		waiting.Go(func() {
			runtime.LockOSThread()
			_ = make([]byte, 32<<20)
			runtime.GC()
		})
	}
	wrong = append(wrong, everyThread())
	close(release)
	waiting.Wait()
	return errors.Join(wrong...)
}

// everyThread returns an error if a thread has more than was left.
func everyThread() error {
	threads, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(threads) < 8 {
		return fmt.Errorf("%d threads: %w", len(threads), err)
	}
	for _, name := range threads {
		status, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			return err
		}
		for _, want := range []string{"NoNewPrivs:\t1\n", "Seccomp:\t2\n", "CapInh:\t0000000000000000\n", "CapAmb:\t0000000000000000\n"} {
			if !strings.Contains(string(status), want) {
				return fmt.Errorf("a thread is not %q:\n%s", want, status)
			}
		}
		for _, set := range []string{"CapPrm:\t", "CapEff:\t"} {
			_, rest, _ := strings.Cut(string(status), set)
			digits, _, _ := strings.Cut(rest, "\n")
			var mask uint64
			if _, err := fmt.Sscanf(digits, "%x", &mask); err != nil {
				return fmt.Errorf("%s%s: %w", set, digits, err)
			}
			if more := mask &^ (1<<cap.DAC_OVERRIDE | 1<<cap.DAC_READ_SEARCH | 1<<cap.KILL); more != 0 {
				return fmt.Errorf("%s%x is left", set, more)
			}
		}
	}
	return nil
}

// The filter decides as its rules say, also about the other ABIs of this machine.
func TestFilter(t *testing.T) {
	var raw []bpf.RawInstruction
	for _, i := range filter(allowed(Keep{Runtimes: true})) {
		raw = append(raw, bpf.RawInstruction{Op: i.Code, Jt: i.Jt, Jf: i.Jf, K: i.K})
	}
	instructions, all := bpf.Disassemble(raw)
	if !all {
		t.Fatal("not a program of classic BPF")
	}
	vm, err := bpf.NewVM(instructions)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		arch      uint32
		number    uint32
		arguments [6]uint64
		want      uint32
	}{
		{"write", auditArch, unix.SYS_WRITE, [6]uint64{}, retAllow},
		{"execve", auditArch, unix.SYS_EXECVE, [6]uint64{}, retEPERM},
		{"clone3", auditArch, unix.SYS_CLONE3, [6]uint64{}, retENOSYS},
		{"a thread", auditArch, unix.SYS_CLONE, [6]uint64{unix.CLONE_VM | unix.CLONE_THREAD}, retAllow},
		{"a process", auditArch, unix.SYS_CLONE, [6]uint64{unix.CLONE_VM}, retEPERM},
		{"read", auditArch, unix.SYS_OPENAT, [6]uint64{0, 0, unix.O_CLOEXEC}, retAllow},
		{"read and write", auditArch, unix.SYS_OPENAT, [6]uint64{0, 0, unix.O_RDWR}, retEPERM},
		{"unix socket", auditArch, unix.SYS_SOCKET, [6]uint64{unix.AF_UNIX}, retAllow},
		{"internet socket", auditArch, unix.SYS_SOCKET, [6]uint64{unix.AF_INET}, retEPERM},
		{"read a map", auditArch, unix.SYS_BPF, [6]uint64{unix.BPF_MAP_LOOKUP_ELEM}, retAllow},
		{"load a program", auditArch, unix.SYS_BPF, [6]uint64{unix.BPF_PROG_LOAD}, retEPERM},
		{"32 bits", unix.AUDIT_ARCH_I386, 4, [6]uint64{}, retKill},
		{"x32", auditArch, 1<<30 | unix.SYS_WRITE, [6]uint64{}, map[bool]uint32{true: retKill, false: retEPERM}[x32Bit != 0]},
	} {
		data := make([]byte, 64)
		// The VM reads big-endian, the kernel as the machine does.
		put := func(at int, v uint32) {
			data[at], data[at+1], data[at+2], data[at+3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
		}
		put(dataNumber, c.number)
		put(dataArch, c.arch)
		for i, a := range c.arguments {
			put(dataArguments+8*i, uint32(a))
		}
		got, err := vm.Run(data)
		if err != nil || uint32(got) != c.want {
			t.Errorf("%s: %#x, %v, want %#x", c.name, got, err, c.want)
		}
	}
}
