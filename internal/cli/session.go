// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"kernel.org/pub/linux/libs/security/libcap/cap"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/attribution"
	"github.com/copenclose/copenclose/internal/cgroup"
	"github.com/copenclose/copenclose/internal/command"
	"github.com/copenclose/copenclose/internal/container/runtime"
	"github.com/copenclose/copenclose/internal/counting"
	"github.com/copenclose/copenclose/internal/descriptor"
	"github.com/copenclose/copenclose/internal/doctor"
	"github.com/copenclose/copenclose/internal/option"
	"github.com/copenclose/copenclose/internal/privilege"
	"github.com/copenclose/copenclose/internal/program"
	"github.com/copenclose/copenclose/internal/stream"
	"github.com/copenclose/copenclose/internal/tracer"
)

// kernel is what a session needs of a tracer.Tracer.
type kernel interface {
	stream.Source
	attribution.Verdicts
	counting.Source
	Start() error
	AttachMode() tracer.AttachMode
	Misses() string
	HidesExecCloses() bool
	Buffer() tracer.BufferKind
	Syscalls() []bpf.Syscall
	Dropped() (map[uint64]stream.Dropped, error)
	ProcessesLost() uint32
	WakeOn(fd int)
	Close()
}

// session is what every subcommand that traces does, whatever its sink makes of the
// events. Its methods are called in their order here.
type session struct {
	tool *tool
	request
	options    *Options
	sink       stream.Sink
	command    *command.Command // nil for none
	chosen     *chosen          // nil where containers are not chosen
	cgroups    *cgroup.Tree     // nil where --cgroup is not given
	remark     *log.Logger
	network    bool               // peers are answered or called over IP
	births     *descriptor.Kernel // notes how descriptors are made, nil where nobody asks
	kept       *descriptor.Kept   // or where that is noted already
	kernel     kernel
	attributor *attribution.Attributor
	programs   *program.Table // nil where nobody asks which program makes a call
	atEnd      func()         // called when the trace is to end, also by itself
	records    stream.Records // what the kernel's records go to
}

// newSession finds out what is wrong with the command line before anything is done.
// The session must be closed also after an error.
func (t *tool) newSession(o *Options, sink stream.Sink) (s *session, err error) {
	s = &session{tool: t, options: o, sink: sink, remark: log.New(t.stderr, "copenclose: ", 0)}
	if o.Kernel.Quiet {
		s.remark.SetOutput(io.Discard)
	}
	if s.request, err = o.resolve(sink.Needs()); err != nil {
		return s, err
	}
	if err := s.findCgroups(o.Select.Cgroups); err != nil {
		return s, usageError(err)
	}
	if err := o.Select.lookUp(&s.tracer.Filter); err != nil {
		return s, usageError(err)
	}
	if err := s.checkTasks(); err != nil {
		return s, err
	}
	if len(o.Command) > 0 {
		if s.command, err = command.Find(o.Command, t.stderr); err != nil {
			return s, &exitError{command.StatusOf(err), err}
		}
	}
	if s.attribution.Choose != nil {
		s.chosen = watch(&o.Select.Containers, s.attribution.Choose)
		s.attribution.Choose = s.chosen.match
	}
	return s, nil
}

// findCgroups has the tracer trace only these cgroups, or all but some, if there are
// any.
func (s *session) findCgroups(of option.Cgroups) (err error) {
	if of.Len() == 0 {
		return nil
	}
	if s.cgroups, err = cgroup.Open(); err != nil {
		return fmt.Errorf("--cgroup: %w", err)
	}
	to := &s.tracer.Filter.Cgroups
	if to.Only, err = s.directories(of.Only); err == nil {
		to.Except, err = s.directories(of.Except)
	}
	return err
}

func (s *session) directories(idsOrPaths []string) (dirs []string, err error) {
	for _, word := range idsOrPaths {
		dir, err := s.cgroups.Directory(word)
		if err != nil {
			return nil, fmt.Errorf("--cgroup %s: %w", word, err)
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

// checkTasks fails if none of the processes or threads to trace is there, and says
// which of several are not. It cannot know where ids are not those of the host.
func (s *session) checkTasks() error {
	if !inInitialPIDNamespace() {
		return nil
	}
	for _, of := range []struct {
		kind  string
		tasks *option.Tasks
	}{{"process", &s.options.Select.PIDs.Tasks}, {"thread", &s.options.Select.TIDs.Tasks}} {
		missing := of.tasks.Missing()
		if len(missing) == 0 {
			continue
		}
		which := strings.Trim(strings.ReplaceAll(fmt.Sprint(missing), " ", ","), "[]")
		if len(missing) == len(of.tasks.Only) {
			return fmt.Errorf("no %s %s", of.kind, which)
		}
		s.remark.Printf("no %s %s", of.kind, which)
	}
	return nil
}

// initialPIDNamespace is PROC_PID_INIT_INO of include/linux/proc_ns.h.
const initialPIDNamespace = "pid:[4026531836]"

func inInitialPIDNamespace() bool {
	namespace, err := os.Readlink("/proc/self/ns/pid")
	return err == nil && namespace == initialPIDNamespace
}

// load attaches the programs, which send nothing before start.
func (s *session) load() error {
	if s.options.Kernel.Verbose {
		s.tracer.Log = log.New(s.tool.stderr, "", log.Ltime|log.Lmicroseconds)
	}
	if warning := doctor.WarnOfMemory(s.tracer.Details, s.tracer.BufferSize); warning != "" {
		s.remark.Print(warning)
	}
	if s.tracer.Lifetime {
		if err := s.noteBirths(); err != nil {
			return err
		}
	}
	// What comes with an error is an interface with no tracer in it, which is not nil.
	k, err := s.tool.attach(s.tracer)
	if err != nil {
		return err
	}
	s.kernel = k
	return nil
}

// noteBirths has it noted from now on how descriptors are made, by another program than
// those of the trace, unless that is kept.
func (s *session) noteBirths() (err error) {
	if s.kept = s.tool.findKept(); s.kept != nil {
		s.tracer.Births = s.kept.BirthsFD()
		return nil
	}
	o := descriptor.Options{Births: true, Attach: tracer.AutoAttach, Verbose: s.tracer.Log}
	if mode := s.tracer.Attach; mode == tracer.Tracepoint || mode == tracer.PerfTracepoint {
		o.Attach = mode
	}
	if o.Verbose == nil {
		o.Verbose = log.New(io.Discard, "", 0)
	}
	if s.births, err = descriptor.Open(o); err != nil {
		return err
	}
	s.tracer.Births, err = s.births.BirthsFD()
	return err
}

// attribute puts the attribution between the kernel and the sink.
func (s *session) attribute() (err error) {
	s.attributor = attribution.Pass(s.sink)
	defer func() {
		if s.tracer.Programs {
			s.findPrograms()
			s.attributor.Programs = s.programs
		}
		s.records = s.attributor
	}()
	if !s.tracer.Cgroups {
		return nil
	}
	s.attribution.Note = func(note string) { s.remark.Print(note) }
	attributor, err := attribution.New(s.sink, s.kernel, attribution.OpenRegistry, s.attribution)
	switch {
	case err == nil:
		s.attributor = attributor
	case s.attribution.Choose != nil:
		return fmt.Errorf("choose containers: %w", err)
	default:
		s.remark.Printf("cannot read cgroups; containers are told apart by PID namespace only: %v", err)
	}
	return nil
}

// findPrograms finds out what every process runs. From inside a PID namespace processes
// go by other numbers than in records, and are known once they execute a program.
func (s *session) findPrograms() {
	var proc *program.Proc
	if inInitialPIDNamespace() {
		proc = program.OpenProc("/proc")
	}
	s.programs = program.NewTable(proc, s.kernel.ProcessesLost)
	switch {
	case proc == nil:
		s.remark.Print("in this PID namespace programs are known only once they are executed: run copenclose in that of the host to know those that run")
	case proc.Denied() && !privilege.Has(cap.SYS_PTRACE):
		s.remark.Print("without CAP_SYS_PTRACE, programs of other users that run already are not known")
	}
}

// start opens the gate in the kernel, and says so.
func (s *session) start() error {
	if err := s.kernel.Start(); err != nil {
		return err
	}
	var names []string
	for _, y := range s.kernel.Syscalls() {
		names = append(names, y.Name)
	}
	if s.tool.monitored == nil { // the screen says so by itself
		s.remark.Printf("tracing %s (%s, %s buffer)", strings.Join(names, ", "), s.kernel.AttachMode(), s.kernel.Buffer())
	}
	if why := s.kernel.Misses(); why != "" {
		s.remark.Printf("calls can be missed with --attach %s, because this kernel can preempt its own code: %s", s.kernel.AttachMode(), why)
	}
	if s.kernel.HidesExecCloses() {
		s.remark.Print("what an exec closes is not shown: that needs fentry or kernel 6.10")
	}
	if s.chosen != nil {
		s.chosen.remark(s.remark, s.options.Kernel.Runtimes.None)
	}
	if path := string(s.options.Kernel.ReadyFile); path != "" {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			return fmt.Errorf("create the ready file: %w", err)
		}
	}
	return nil
}

// run traces until ctx is done, the time is over or, if there is one, the command
// has ended.
func (s *session) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if d := time.Duration(s.options.Until.Duration); d > 0 {
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	if s.atEnd != nil {
		context.AfterFunc(ctx, s.atEnd)
	}
	if s.command != nil {
		if err := s.command.Start(cancel); err != nil {
			return &exitError{command.StatusOf(err), err}
		}
	}
	s.dropPrivileges()
	s.kernel.WakeOn(int(s.tool.stdout.Fd()))
	defer every(time.Second, s.warnOfLosses())()
	return s.kernel.Run(ctx, s.records)
}

// dropPrivileges gives up what the trace does not need from now on. The command has
// started, and keeps what it has.
func (s *session) dropPrivileges() {
	if s.tool.drop == nil {
		return
	}
	_, _ = time.Now().Zone() // has the time zone read while it can be
	s.tool.drop(privilege.Keep{
		ReadMaps:   tracer.AsksToReadMaps(),
		CgroupIDs:  s.tracer.Cgroups,
		Runtimes:   s.tracer.Cgroups && s.attribution.Names,
		Namespaces: s.tracer.Cgroups && s.attribution.Choose != nil,
		Programs:   s.programs != nil,
		Command:    s.command != nil,
		Network:    s.network,
		Folders:    s.folders(),
	}, func(what string) {
		if s.tracer.Log != nil {
			s.tracer.Log.Print("gave up ", what)
		}
	})
}

// folders returns those that may be read from now on.
func (s *session) folders() []string {
	// In /run and /var/run runtimes listen.
	folders := append(runtime.NodeLogs.Folders(), "/proc", "/sys/fs/cgroup", "/run", "/var/run")
	if s.network {
		folders = append(folders, "/etc", "/usr/share/ca-certificates", "/usr/share/zoneinfo") // resolver and certificates
	}
	return folders
}

// every calls do again and again on a goroutine of its own, until stop is called.
func every(d time.Duration, do func()) (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(d)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				do()
			}
		}
	}()
	return func() {
		close(done)
		<-stopped
	}
}

// warnOfLosses returns a function that says on stderr how many events were lost since
// it last did. Losses happen when the reader is held up, which is why the reader does
// not say it.
func (s *session) warnOfLosses() func() {
	var before uint64
	return func() {
		if counts, err := s.kernel.Counts(); err == nil && counts.Lost > before {
			fmt.Fprintf(s.tool.stderr, "copenclose: lost %d events\n", counts.Lost-before)
			before = counts.Lost
		}
	}
}

// commandTimeout is how long a command may take to end when it is asked to.
const commandTimeout = 5 * time.Second

// endCommand ends the command if the session ends before it, and returns the status
// to exit with: that of the command, if it ended by itself or because ctx was
// canceled by a signal, which is meant for both.
func (s *session) endCommand(ctx context.Context) (status int) {
	if s.command == nil {
		return 0
	}
	status, byItself := s.command.Ended()
	if byItself {
		return status
	}
	if err := s.command.End(commandTimeout); err != nil {
		fmt.Fprintln(s.tool.stderr, "copenclose:", err)
		return 0
	}
	if status, _ = s.command.Ended(); errors.Is(context.Cause(ctx), errSignal) {
		return status
	}
	return 0
}

// close ends the attribution first, which sets verdicts in the kernel.
func (s *session) close() {
	if s.attributor != nil {
		s.attributor.Close()
	}
	if s.kernel != nil {
		s.kernel.Close()
	}
	if s.births != nil {
		if lost := s.births.Lost(); lost > 0 {
			s.remark.Printf("there was no room to note how %d descriptors were made", lost)
		}
		s.births.Close()
	}
	if s.kept != nil {
		s.kept.Close()
	}
	s.cgroups.Close()
}
