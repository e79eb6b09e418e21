// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package program

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/procstat"
	"github.com/copenclose/copenclose/internal/stream"
)

// Proc is a proc file system in which processes go by the numbers that records have. It may
// be used by several goroutines.
type Proc struct {
	dir     string
	reading atomic.Int32 // how many reads of arguments have not come back
	denied  atomic.Bool  // an executable may not be looked up
}

// OpenProc returns the proc file system at dir, which is /proc but for tests.
func OpenProc(dir string) *Proc { return &Proc{dir: dir} }

// Denied reports whether the executable of a process was not looked up, because that
// takes CAP_SYS_PTRACE.
func (p *Proc) Denied() bool { return p.denied.Load() }

// found is what /proc has of a process. Its Parents are not known yet.
type found struct {
	program  stream.Program
	parent   uint32
	ofKernel bool // a thread of it
}

// all returns the numbers of all processes.
func (p *Proc) all() (pids []uint32) {
	entries, _ := os.ReadDir(p.dir)
	for _, e := range entries {
		if pid, err := strconv.ParseUint(e.Name(), 10, 32); err == nil {
			pids = append(pids, uint32(pid))
		}
	}
	return pids
}

func (p *Proc) path(pid uint32, name string) string {
	return filepath.Join(p.dir, strconv.FormatUint(uint64(pid), 10), name)
}

// has reports whether there is such a process.
func (p *Proc) has(pid uint32) bool {
	_, err := os.Lstat(p.path(pid, ""))
	return err == nil
}

// read returns what a process runs. ok is false if it has ended.
func (p *Proc) read(pid uint32) (f found, ok bool) {
	f = p.readProgram(pid)
	if f.program.Exe == "" && f.program.Comm == "" {
		return f, false
	}
	if !f.ofKernel || f.program.Exe != "" {
		f.program.Args, f.program.ArgsCut = p.readArgs(pid)
	}
	return f, true
}

// readProgram returns what a process runs, without the arguments; nothing if it has ended.
func (p *Proc) readProgram(pid uint32) (f found) {
	stat, err := readAtMost(p.path(pid, "stat"), statMax)
	if err != nil {
		return found{}
	}
	comm, state, parent := parseStat(stat)
	if state == 'Z' || state == 'X' {
		return found{}
	}
	f.parent, f.ofKernel = parent, pid == kthreadd || parent == kthreadd
	exe, err := os.Readlink(p.path(pid, "exe"))
	switch {
	case os.IsPermission(err):
		p.denied.Store(true)
		f.program.Comm = comm
	case err == nil:
		root, _ := os.Readlink(p.path(pid, "root"))
		f.program.Exe = cleanExe(exe, root)
	case f.ofKernel:
		f.program.Comm = comm
	default:
		return found{} // it has just ended
	}
	return f
}

// kthreadd is the process that forks the threads of the kernel.
const kthreadd = 2

// statMax is more than the longest file stat; proc_pid_stat(5).
const statMax = 2048

// parseStat returns what a file stat says; comm is empty if it is none.
func parseStat(stat []byte) (comm string, state byte, parent uint32) {
	comm, fields := procstat.Parse(stat)
	if len(fields) < 2 {
		return "", 0, 0
	}
	ppid, err := strconv.ParseUint(string(fields[1]), 10, 32)
	if err != nil {
		return "", 0, 0
	}
	return comm, fields[0][0], uint32(ppid)
}

// cleanExe returns the path of an executable as records have it: without what the kernel
// adds to that of one that is not there any more, and up to the root of who runs it.
func cleanExe(exe, root string) string {
	exe = strings.TrimSuffix(exe, " (deleted)")
	if memfd, ok := strings.CutPrefix(exe, "/memfd:"); ok {
		return "memfd:" + memfd
	}
	if below, ok := strings.CutPrefix(exe, root); ok && root != "/" && strings.HasPrefix(below, "/") {
		return below
	}
	return exe
}

const (
	// argsTimeout is how long it may take to read the arguments of a process. They are in
	// its memory, and who maps a file of its own file system there can make that last
	// for ever.
	argsTimeout = 100 * time.Millisecond
	// stuckMax bounds how many such reads are left alone, each with a thread.
	stuckMax = 8
)

// readArgs returns the arguments of a process as a record has them.
func (p *Proc) readArgs(pid uint32) (args []byte, cut bool) {
	if p.reading.Load() >= stuckMax {
		return nil, true
	}
	done := make(chan []byte, 1)
	p.reading.Add(1)
	go func() {
		defer p.reading.Add(-1)
		text, _ := readAtMost(p.path(pid, "cmdline"), bpf.ArgsMax+1)
		done <- text
	}()
	timer := time.NewTimer(argsTimeout)
	defer timer.Stop()
	select {
	case args = <-done:
	case <-timer.C:
		return nil, true
	}
	if len(args) > bpf.ArgsMax {
		return args[:bpf.ArgsMax], true
	}
	return args, false
}

// readAtMost returns the beginning of a file.
func readAtMost(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}
