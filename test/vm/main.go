// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Command vm boots Debian's kernels in virtual machines, runs the end-to-end
// tests in each, and prints one table.
//
//	vm [FLAGS] FILE... [-- ARGUMENT...]
//
// Each FILE is there in the guest as /t/NAME; one of them is e2e.test, a Go
// test binary, which is run with the arguments.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// release is a line of kernels and the Debian suite that has it, and how it is
// booted: those of one suite share the kernel.
type release struct {
	name, suite string
	// moving is set where the suite goes on to the next kernel, so that the
	// name may be gone from the archive tomorrow.
	moving bool
	// podman is set where Podman's containers with mapped users run: crun
	// maps the mounts for them, which came with 5.12 (mount_setattr).
	podman bool
	// cmdline is more of the kernel's command line.
	cmdline string
	// tests are those that run there, a -test.run; all of them where it is empty.
	// skips are those of them that do not, a -test.skip.
	tests, skips string
	// auto is the way to attach that auto must choose, attaches are those that
	// the kernel must take.
	auto, attaches string
}

// ofTheTool are tests of what the tool does by itself, whatever kernel it runs on: make
// test-e2e has them, and no machine here.
const ofTheTool = "^Test(Serve.*|Collector|Fleet|PromTool|Kubelet|ForeignProc|Top.*|Command(IsEnded|StillRuns|KeepsPrivileges)|CannotRun|Signals|Refusals|Version|Ends.*|" +
	"FullDisk|StoppedReader|BlockedOutput|ClosedBeforeTheHeader|SummaryOfCommand|LeaksCommand|StacksOfGo|Flames|CgroupUnmounted|" +
	"FilteredRequests|Requests(AreCounted|InTheTable)|KeptIsShared|WhoCallsAfterLosses)$"

// betweenOthers are the tests for kernels between the oldest and the newest: of programs
// that differ by kernel, and of what the verifier there says of them.
const betweenOthers = "^Test(AllCloses|AllOpens|Births|Calls|Details|GivesUpPrivileges|HangingCloses|LittleMemory|Lifetime|Makes|Podman|Processes|" +
	"Programs|Requests|SharedHandler|Summary|Verifies|WhoCalls)$"

// ofTheProgram are tests of what the programs do with filters and counters on any kernel,
// of who may load them, and of their end: the oldest has them here, and the kernel of the machine; those that
// count to the last call also the newest, where it preempts the most.
const ofTheProgram = "^Test(Filters.*|FilteredPrograms|SummaryFilters|CgroupFilter|Meter|LoadsWhatIsNeeded|CountsACrowd|CountsToTheLast|Rate.*|NothingStays|StartsAndStops|ClockSetBack|OrdinaryUser)$"

// preemptible are the tests of what goes wrong where a kernel preempts programs:
// calls that are missed, or mixed up.
const preemptible = "^Test(Calls|Programs|FilteredPrograms|CountsToTheLast|CountsACrowd|LoadsWhatIsNeeded|WhoCalls|WhoCallsPerf)$|" + whollyPreemptible

// whollyPreemptible are those of them that the same kernel does not have once more where it
// preempts programs less.
const whollyPreemptible = "^Test(AllCloses|Details|Births|Lifetime)$"

// architecture is what a machine of one kind is made with, and the releases that it
// boots.
type architecture struct {
	qemu     []string
	console  string
	releases []release
}

// onArm64 are the tests of what an architecture has of its own: numbers and registers of
// calls, both ABIs, ways to attach, and what the programs read of the kernel.
const onArm64 = "^Test(Calls|Tables|CgroupID|Hostname|IgnoreHost|Details|FullPath|DeepPath|FiltersLetAllThrough|FilteredPrograms|" +
	"Programs|Makes|Requests|SharedHandler|AllCloses|AllOpens|Follow|Command|Podman|Verifies|LoadsWhatIsNeeded|FdsHolds|Summary|WhoCalls|WhoCallsPerf)$"

var architectures = map[string]architecture{
	"x86": {
		qemu:    []string{"qemu-system-x86_64", "-cpu", "max"},
		console: "ttyS0",
		releases: []release{
			// It takes the longest, so it begins.
			{name: "7.2", suite: "sid", podman: true, moving: true, skips: ofTheTool + "|" + ofTheProgram + "|" + whollyPreemptible + "|^TestPodman$", auto: "kprobe", attaches: "fentry kprobe tracepoint perf"},
			{name: "5.10", suite: "bullseye", skips: ofTheTool, auto: "fentry", attaches: "fentry tracepoint"},
			{name: "6.1", suite: "bookworm", podman: true, tests: betweenOthers, auto: "fentry", attaches: "fentry tracepoint perf"},
			{name: "6.12", suite: "trixie", podman: true, tests: betweenOthers, skips: whollyPreemptible + "|^TestPodman$", auto: "fentry", attaches: "fentry tracepoint perf"},
			{name: "6.12-full", suite: "trixie", cmdline: "preempt=full", tests: preemptible,
				auto: "tracepoint", attaches: "fentry tracepoint perf"},
			{name: "7.2-full", suite: "sid", moving: true, cmdline: "preempt=full", tests: preemptible,
				auto: "kprobe", attaches: "fentry kprobe tracepoint perf"},
		},
	},
	"arm64": {
		// Pointers are signed by what emulation does fast, not by QARMA.
		qemu:    []string{"qemu-system-aarch64", "-machine", "virt", "-cpu", "max,pauth-impdef=on"},
		console: "ttyAMA0",
		releases: []release{
			// fentry came to arm64 with 6.4; before, the kernel answers 524, ENOTSUPP.
			{name: "6.1", suite: "bookworm", podman: true, tests: onArm64, auto: "tracepoint", attaches: "tracepoint perf"},
			{name: "6.12", suite: "trixie", podman: true, tests: onArm64, auto: "fentry", attaches: "fentry tracepoint perf"},
		},
	},
}

// line is the line of kernels, as in 6.12, without how it is booted.
func (r release) line() string {
	line, _, _ := strings.Cut(r.name, "-")
	return line
}

func main() {
	var m matrix
	arch := flag.String("arch", "x86", "architecture of the machines, x86 or arm64")
	kernels := flag.String("kernels", "", "kernels to boot, separated by spaces; all where it is empty")
	jobs := flag.Int("jobs", 2, "virtual machines that run at once")
	flag.StringVar(&m.dir, "dir", "build/vm", "where kernels and logs are kept")
	flag.StringVar(&m.image, "image", "", "ext4 image with the root file system")
	accel := flag.String("accel", "kvm tcg,thread=single", "QEMU's accelerators, of which the first that boots a kernel is taken")
	flag.StringVar(&m.goTool, "go", "go", "the go command")
	flag.DurationVar(&m.limit, "timeout", 20*time.Minute, "longest time a virtual machine may run")
	flag.Parse()
	m.files, m.args = flag.Args(), nil
	if i := slices.Index(m.files, "--"); i >= 0 {
		m.files, m.args = m.files[:i], m.files[i+1:]
	}

	var known bool
	if m.arch, known = architectures[*arch]; !known {
		fmt.Fprintf(os.Stderr, "vm: no architecture %q: there are x86 and arm64\n", *arch)
		os.Exit(1)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	chosen, err := m.arch.choose(*kernels)
	if err == nil {
		m.accel = m.accelerator(ctx, strings.Fields(*accel), chosen)
		err = report(os.Stdout, m.run(ctx, chosen, *jobs))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
		stop()
		os.Exit(1)
	}
}

func (a architecture) choose(names string) ([]release, error) {
	if names == "" {
		return a.releases, nil
	}
	var chosen []release
	for _, name := range strings.Fields(names) {
		i := slices.IndexFunc(a.releases, func(r release) bool { return r.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no kernel %q: choose of %v", name, a.releases)
		}
		chosen = append(chosen, a.releases[i])
	}
	if len(chosen) == 0 {
		return nil, errors.New("no kernel chosen")
	}
	return chosen, nil
}

func (r release) String() string { return r.name }

// accelerator returns which of QEMU's accelerators works with a kernel of the releases.
func (m matrix) accelerator(ctx context.Context, accels []string, chosen []release) string {
	for _, r := range chosen {
		if kernel, err := m.fetch(ctx, r); err == nil { // else it is reported as that release's result
			return m.chooseAccelerator(ctx, accels, filepath.Join(kernel, "vmlinuz"))
		}
	}
	return accels[len(accels)-1]
}

// run tests the releases, some at once, and returns a result for each, in their order.
func (m matrix) run(ctx context.Context, chosen []release, jobs int) []result {
	results := make([]result, len(chosen))
	slots := make(chan struct{}, max(jobs, 1))
	var running sync.WaitGroup
	for i, r := range chosen {
		// Taken here, so that they start in their order.
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			results[i] = m.test(ctx, r)
			fmt.Fprintln(os.Stderr, results[i].summary())
		})
	}
	running.Wait()
	return results
}
