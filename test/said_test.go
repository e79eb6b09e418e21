// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A subject is a part of the trigger program. What it did, it says, and copenclose
// must say the same of it.
type subject struct {
	name    string
	inDir   bool // works in a folder
	atLeast int  // calls that it must have said
}

var subjects = []subject{
	{"details", true, 70},
	{"sockets", false, 60},
	{"connects", false, 25},
	{"signals", true, 70},
	{"seccomp", false, 18},
	{"closes", true, 35},
	{"paths", true, 8},
}

// said is what one program said that it did.
type said struct {
	name string
	dir  string
	did  []event
}

// perform runs a subject, and drops what it says that the kernel lacks.
func perform(t *testing.T, program string, s subject) said {
	t.Helper()
	return performIn(t, program, s, nil)
}

// performIn is perform with a program that is started otherwise.
func performIn(t *testing.T, program string, s subject, setup func(*exec.Cmd)) said {
	t.Helper()
	out := said{name: s.name + "/" + filepath.Base(program)}
	args := []string{s.name}
	if s.inDir {
		out.dir = realTempDir(t)
		args = append(args, out.dir)
	}
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	if setup != nil {
		setup(cmd)
	}
	lines, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	out.did = shownHere(t, parseJSON(t, string(lines)))
	if len(out.did) < s.atLeast {
		t.Fatalf("%s did only %d calls, want %d", out.name, len(out.did), s.atLeast)
	}
	return out
}

// shownHere are those of the things that a program says it did that this kernel has, and shows.
func shownHere(t *testing.T, did []event) (shown []event) {
	t.Helper()
	for _, e := range did {
		if why := e.text("skip"); why != "" {
			t.Logf("left out: %s", why)
			continue
		}
		if since := e.text("_since"); since != "" {
			var major, minor int
			if _, err := fmt.Sscanf(since, "%d.%d", &major, &minor); err != nil {
				t.Fatalf("a program says %v: %v", e, err)
			}
			if !kernelFrom(t, major, minor) {
				continue
			}
		}
		shown = append(shown, e)
	}
	return shown
}

// Each call of each subject is one row with all that it must have, as a 64-bit
// program and a 32-bit one, each way to attach. One run of the tool sees them all,
// since to start it takes seconds in a VM.
func TestPrograms(t *testing.T) {
	allowPing(t)
	eachAttach(t, func(t *testing.T, options ...string) { performAll(t, subjects, options) })
}

// Calls that make descriptors are shown for who asks. Inside a VM attaching to all their
// handlers takes minutes.
func TestMakes(t *testing.T) {
	onceInVM(eachAttach)(t, func(t *testing.T, options ...string) {
		performAll(t, []subject{makes, receives}, append(options, "-s", "all,!exec,!exit"), notMadeUp)
	})
}

var (
	makes    = subject{"makes", true, 95}
	receives = subject{"receives", true, 500}
)

// Inside a VM TestMakes leaves out the ways on functions, but calls of i386 that receive have
// handlers of other names.
func TestReceives(t *testing.T) {
	way := os.Getenv("EXPECT_ATTACH")
	if way != "fentry" && way != "kprobe" {
		t.Skip("TestMakes has each way that there is here")
	}
	// To load a program for each handler takes a while there: there are none for other calls.
	r := start(t, "--attach", way, "-o", "json", "--buffer-size", "32M", "-s", "recvmsg")
	all := []said{perform(t, trigger64, receives), perform(t, trigger32, receives)}
	res := r.stop()
	for _, p := range all {
		want := slices.DeleteFunc(p.did, func(e event) bool { return !strings.HasPrefix(e.text("syscall"), "recv") })
		for _, e := range want {
			e["_no_latency"] = true
		}
		if err := compareSaid(res.events, want); err != nil {
			t.Errorf("%s: %v", p.name, err)
		}
	}
	if err := notMadeUp(res.events); err != nil {
		t.Error(err)
	}
}

// fcntl and fcntl64 of i386 have one handler, and each is shown to who asks for it.
func TestSharedHandler(t *testing.T) {
	attach, lists := eachAttach, []string{"fcntl,fcntl64", "fcntl", "fcntl64,memfd_create"}
	if way := os.Getenv("EXPECT_ATTACH"); way != "" {
		attach = func(t *testing.T, test func(*testing.T, ...string)) { test(t, "--attach", way) }
		lists = lists[:2] // to start takes seconds in a VM
	}
	attach(t, func(t *testing.T, options ...string) {
		for _, list := range lists {
			t.Run(list, func(t *testing.T) {
				r := start(t, append(options, "-o", "json", "--latency", "-s", list, "--comm", "trigger,trigger32")...)
				notTraced := func(name string) bool { return !slices.Contains(strings.Split(list, ","), name) }
				p := perform(t, trigger32, makes)
				var int80 traced
				if runtime.GOARCH == "amd64" {
					int80 = trigger(t, trigger64, nil, "int80-copies")
				}
				res := r.stop()
				want := slices.DeleteFunc(p.did, func(e event) bool { return notTraced(e.text("syscall")) })
				if err := compareSaid(res.events, want); err != nil {
					t.Error(err)
				}
				var shown []string
				for _, e := range res.events {
					if e.number("pid") == int80.pid && e.text("comm") == "trigger" {
						shown = append(shown, e.text("syscall"))
					}
				}
				if want := slices.DeleteFunc(int80.did, notTraced); !slices.Equal(shown, want) {
					t.Errorf("of a 64-bit program's calls with int 0x80 %v are shown, want %v", shown, want)
				}
			})
		}
	})
}

// notMadeUp looks at the rows of a program whose threads rewrite what recvmsg says that it
// received, see receives.c: each is of what is open.
func notMadeUp(rows []event) error {
	n := 0
	for _, e := range rows {
		if e.text("comm") != "rewritten" || e.text("syscall") != "recvmsg" {
			continue
		}
		if fd := e.number("fd"); fd == 900 || !strings.HasSuffix(e.text("path"), "/file") {
			return fmt.Errorf("a program has made up %v", e)
		}
		n++
	}
	if n == 0 {
		return fmt.Errorf("no rows of what is rewritten")
	}
	return nil
}

var ends = subject{"ends", true, 250}

// Closes that no call is for are shown for who asks, each once. Inside a VM the verifier
// looks at their loops for ten seconds.
func TestAllCloses(t *testing.T) {
	onceInVM(everyWay)(t, func(t *testing.T, options ...string) {
		performAll(t, []subject{ends}, append(options, "--all-closes"))
	})
}

// The same from the other kind of buffer, of one subject.
func TestDetails(t *testing.T) {
	way, err := autoWay()
	if err != nil {
		t.Fatal(err)
	}
	runWay(t, way, "perf", func(t *testing.T, options ...string) { performAll(t, subjects[:1], options) })
}

// performAll runs subjects as programs of both kinds, and compares. Of all rows, also has
// to hold.
func performAll(t *testing.T, subjects []subject, options []string, also ...func([]event) error) {
	t.Helper()
	var failed map[string]error
	var res result
	for attempt := 1; attempt <= attempts; attempt++ {
		r := start(t, append(options, "-o", "json", "--latency", "--buffer-size", "32M")...)
		var all []said
		for _, s := range subjects {
			all = append(all, perform(t, trigger64, s), perform(t, trigger32, s))
		}
		res = r.stop()
		validate(t, res.stdout)
		failed = make(map[string]error)
		if res.lost > 0 {
			failed["all"] = fmt.Errorf("events were lost: %s", res.summary)
		}
		for _, one := range all {
			if err := compareSaid(res.events, reaching(one.did, options)); err != nil {
				failed[one.name] = fmt.Errorf("%w\n%s", err, res.summary)
			}
		}
		for _, holds := range also {
			if err := holds(res.events); err != nil {
				failed["all rows"] = err
			}
		}
		// A call that the kernel missed cannot be compared.
		if len(failed) == 0 || res.missed == 0 {
			break
		}
	}
	if len(failed) > 0 && res.missesCalls() {
		t.Skipf("%d attempts, and this way misses calls here: %s", attempts, res.summary)
	}
	for name, err := range failed {
		t.Run(name, func(t *testing.T) { t.Error(err) })
	}
}

// attempts is how often a test is made anew when the kernel missed a call.
const attempts = 3

// allowPing lets root have ICMP sockets that are not raw, until the test is over.
func allowPing(t *testing.T) {
	const name = "net/ipv4/ping_group_range"
	if unix.Access("/proc/sys/"+name, unix.W_OK) != nil {
		return // the program then says that there are none
	}
	keepSettings(t, name)
	if err := os.WriteFile("/proc/sys/"+name, []byte("0 0"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// reaching leaves out the calls that seccomp refused before their handlers, which
// only the ways on sys_exit see.
func reaching(did []event, options []string) []event {
	if !slices.Contains(options, "fentry") && !slices.Contains(options, "kprobe") {
		return did
	}
	return slices.DeleteFunc(slices.Clone(did), func(e event) bool { return e["_refused"] == true })
}

// ofThose are the rows of the processes that said something, without those of
// helpers, and of what was there before their program.
func ofThose(shown, did []event) []event {
	pids := make(map[int]bool)
	for _, e := range did {
		pids[e.number("pid")] = true
	}
	return slices.DeleteFunc(slices.Clone(shown), func(e event) bool {
		comm := e.text("comm")
		return !pids[e.number("pid")] || comm != "trigger" && comm != "trigger32"
	})
}

// compareSaid compares what was shown with what programs say they did: thread by
// thread in order, but for rows that come at any time. There is no other row.
func compareSaid(shown, did []event) error {
	if len(did) == 0 {
		return fmt.Errorf("nothing was done")
	}
	shown = ofThose(shown, did)
	ordered := make(map[int][]event)
	for _, want := range did {
		if want["_any_order"] != true {
			ordered[want.number("tid")] = append(ordered[want.number("tid")], want)
			continue
		}
		i := slices.IndexFunc(shown, func(e event) bool { return differs(e, want) == nil })
		if i < 0 {
			return fmt.Errorf("no row of %v\nof its process are\n%s", want, listed(shown, want.number("tid")))
		}
		shown = slices.Delete(shown, i, i+1)
	}
	rows := make(map[int][]event)
	for _, e := range shown {
		rows[e.number("tid")] = append(rows[e.number("tid")], e)
	}
	for tid, calls := range ordered {
		for i := range max(len(calls), len(rows[tid])) {
			switch {
			case i >= len(calls):
				return fmt.Errorf("thread %d: a row too much: %v", tid, rows[tid][i])
			case i >= len(rows[tid]):
				return fmt.Errorf("thread %d: no row of %v", tid, calls[i])
			}
			if err := differs(rows[tid][i], calls[i]); err != nil {
				return fmt.Errorf("thread %d, row %d: %w\nshown: %v\ndid:   %v", tid, i, err, rows[tid][i], calls[i])
			}
		}
		delete(rows, tid)
	}
	for _, more := range rows {
		return fmt.Errorf("%d rows of a thread that says it did nothing, the first is %v", len(more), more[0])
	}
	return nil
}

func listed(rows []event, tid int) string {
	var lines []string
	for _, e := range rows {
		if e.number("tid") == tid {
			lines = append(lines, fmt.Sprint(e))
		}
	}
	return strings.Join(lines, "\n")
}

// differs says what a row has that the program says otherwise. Keys that it does
// not speak of may have any value, and those that are null must not be there;
// trigger.h says what keys with an underscore are.
func differs(row, want event) error {
	latency := row.number("latency_ns")
	if latency <= 0 && want["_refused"] != true && want["_no_latency"] != true {
		return fmt.Errorf("no latency")
	}
	for key, value := range want {
		got, there := row[key]
		switch key {
		case "_any_order", "_refused", "_may_end", "_no_latency", "_since", "_again":
		case "_latency_at_least":
			if latency < int(value.(float64)) {
				return fmt.Errorf("it took %d ns, want %.0f at least", latency, value)
			}
		case "_latency_at_most":
			if latency > int(value.(float64)) {
				return fmt.Errorf("it took %d ns, want %.0f at most", latency, value)
			}
		case "_not_file":
			if row["file"] == value {
				return fmt.Errorf("file is %v", value)
			}
		case "closed":
			if err := closedDiffer(row, want); err != nil {
				return err
			}
		default:
			if there != (value != nil) || !reflect.DeepEqual(got, value) {
				return fmt.Errorf("%s is %v, want %v", key, got, value)
			}
		}
	}
	return nil
}

// closedAtLeast is how many files a close_range shows at least, where it closed more.
const closedAtLeast = 8

func closedDiffer(row, want event) error {
	shown, _ := row["closed"].([]any)
	did, _ := want["closed"].([]any)
	if len(did) == 0 && row["closed"] != nil {
		return fmt.Errorf("closed is %v, want none", row["closed"])
	}
	if len(shown) > len(did) || len(shown) < len(did) && (want["_may_end"] != true || len(shown) < closedAtLeast) {
		return fmt.Errorf("closed has %d files, want %d", len(shown), len(did))
	}
	for i := range shown {
		file, ok := shown[i].(map[string]any)
		if !ok {
			return fmt.Errorf("closed has %v", shown[i])
		}
		for key, value := range did[i].(map[string]any) {
			if got, there := file[key]; there != (value != nil) || !reflect.DeepEqual(got, value) {
				return fmt.Errorf("closed file %d: %s is %v, want %v", i, key, got, value)
			}
		}
	}
	return nil
}

// Filters see what a program got, not what the kernel had meanwhile: an error that
// it means to make the call again after is none.
func TestFilteredPrograms(t *testing.T) {
	autoAttach(t, func(t *testing.T, options ...string) {
		for _, c := range []struct {
			subject string
			filter  func(dir string) []string
			want    func(e event, dir string) bool
		}{
			{"signals", func(string) []string { return []string{"--errno", "EINTR"} },
				func(e event, _ string) bool { return e.text("error") == "EINTR" }},
			{"signals", func(string) []string { return []string{"--failed"} },
				func(e event, _ string) bool { return e.text("error") != "" }},
			{"paths", func(dir string) []string { return []string{"--path", dir} },
				func(e event, dir string) bool {
					return strings.HasPrefix(e.text("path"), dir) || strings.HasPrefix(e.text("file"), dir)
				}},
			{"ends", func(dir string) []string { return []string{"--all-closes", "--path", dir} },
				func(e event, _ string) bool {
					return strings.HasPrefix(e.text("path"), os.TempDir()) || e.text("by") != "" && e["closed_count"] != nil
				}},
			{"ends", func(string) []string { return []string{"--all-closes", "--failed"} },
				func(e event, _ string) bool { return e.text("error") != "" }},
		} {
			for _, program := range []string{trigger64, trigger32} {
				all := append(slices.Clone(subjects), ends)
				i := slices.IndexFunc(all, func(s subject) bool { return s.name == c.subject })
				// The folder is not known before, but where it is.
				filter := c.filter(os.TempDir())
				t.Run(filepath.Base(program)+" "+strings.Join(filter, " "), func(t *testing.T) {
					var err error
					for attempt := 1; attempt <= attempts; attempt++ {
						r := start(t, slices.Concat(options, []string{"-o", "json", "--latency"}, filter)...)
						p := perform(t, program, all[i])
						res := r.stop()
						want := slices.DeleteFunc(slices.Clone(p.did), func(e event) bool { return !c.want(e, p.dir) })
						if err = compareSaid(ofThose(res.events, p.did), want); err == nil || res.missed == 0 {
							break
						}
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
		}
	})
}
