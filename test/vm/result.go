// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/olekukonko/tablewriter"
)

// result is what came of one release.
type result struct {
	release release
	kernel  string // like the release's name; another where the suite has moved on
	version string // of the kernel's package
	took    time.Duration
	err     error // why there are no results, or not all

	outcome map[string]string // of each test that has no subtests: pass, fail, skip
	output  map[string]string // of each test
	attach  map[string]bool   // the ways the tool attached, as the tests logged them
	buffer  map[string]bool

	consoleLog, testLog string
}

var (
	// exitMark is the guest's last word.
	exitMark = regexp.MustCompile(`(?m)^copenclose-vm: exit (\d+)\r?$`)
	// wayMark is logged by each test that ran the tool, with one of the four ways.
	wayMark = regexp.MustCompile(`\battach=(fentry|kprobe|tracepoint|perf) buffer=(ring|perf)`)
)

// read takes in the tests' output, which has test2json's marks, so that nothing
// that a test prints can be taken for a result.
func (res *result) read(goTool, raw string) error {
	in, err := os.Open(raw)
	if err != nil {
		return err
	}
	defer in.Close()
	convert := exec.Command(goTool, "tool", "test2json")
	convert.Stdin = in
	convert.Stderr = os.Stderr
	events, err := convert.Output()
	if err != nil {
		return fmt.Errorf("go tool test2json: %w", err)
	}
	log, err := os.Create(res.testLog)
	if err != nil {
		return err
	}
	defer log.Close()

	res.outcome, res.output = map[string]string{}, map[string]string{}
	res.attach, res.buffer = map[string]bool{}, map[string]bool{}
	for decoder := json.NewDecoder(bytes.NewReader(events)); ; {
		var event struct{ Action, Test, Output string }
		if err := decoder.Decode(&event); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("go tool test2json: %w", err)
		}
		switch event.Action {
		case "output":
			if _, err := log.WriteString(event.Output); err != nil {
				return err
			}
			res.output[event.Test] += event.Output
			for _, way := range wayMark.FindAllStringSubmatch(event.Output, -1) {
				res.attach[way[1]], res.buffer[way[2]] = true, true
			}
		case "run":
			res.outcome[event.Test] = "unfinished"
		case "pass", "fail", "skip":
			if event.Test != "" {
				res.outcome[event.Test] = event.Action
			}
		}
	}
	res.dropParents()

	console, err := os.ReadFile(res.consoleLog)
	if err != nil {
		return err
	}
	switch exit := exitMark.FindSubmatch(console); {
	case exit == nil:
		return errors.New("the machine ended before the tests did")
	case len(res.outcome) == 0:
		return errors.New("no test ran")
	case string(exit[1]) != "0" && res.count("fail")+res.count("unfinished") == 0:
		return fmt.Errorf("the test binary ended with status %s", exit[1])
	}
	return nil
}

// dropParents leaves the tests that have no subtests, unless they failed alone.
func (res *result) dropParents() {
	for name := range res.outcome {
		for at := range len(name) {
			if name[at] != '/' {
				continue
			}
			if parent := name[:at]; res.outcome[parent] != "fail" || res.outcome[name] == "fail" {
				delete(res.outcome, parent)
			}
		}
	}
}

func (res *result) count(outcome string) (n int) {
	for _, o := range res.outcome {
		if o == outcome {
			n++
		}
	}
	return n
}

// failed counts the tests that did not end, too.
func (res *result) failed() int { return res.count("fail") + res.count("unfinished") }

func (res *result) summary() string {
	line := fmt.Sprintf("%s (%s): %d passed, %d failed, %d skipped in %.0f s",
		res.kernel, res.release.suite, res.count("pass"), res.failed(), res.count("skip"), res.took.Seconds())
	if res.err != nil {
		line += ": " + res.err.Error()
	}
	return line
}

// report prints what failed and the table, and returns an error unless every
// kernel that must run ran every test well.
func report(w io.Writer, results []result) error {
	var bad []string
	passed := 0
	for _, res := range results {
		passed += res.count("pass")
		res.explain(w)
		gone := res.release.moving && res.version == "" && res.err != nil
		if !gone && (res.err != nil || res.failed() > 0 || res.count("pass") == 0) {
			bad = append(bad, res.kernel)
		}
	}

	explainSkips(w, results)
	table := tablewriter.NewTable(w)
	table.Header("KERNEL", "ATTACH", "BUFFER", "PASSED", "FAILED", "SKIPPED", "SECONDS")
	for _, res := range results {
		kernel := res.version
		if kernel == "" {
			kernel = res.kernel + " (not to be had)"
		} else if res.release.cmdline != "" {
			kernel += " " + res.release.cmdline
		}
		if err := table.Append(kernel, words(res.attach), words(res.buffer), res.count("pass"),
			res.failed(), res.count("skip"), fmt.Sprintf("%.0f", res.took.Seconds())); err != nil {
			return err
		}
	}
	if err := table.Render(); err != nil {
		return err
	}
	if len(bad) > 0 {
		return fmt.Errorf("failed on %s", strings.Join(bad, ", "))
	}
	if passed == 0 {
		return errors.New("no test ran on any kernel")
	}
	return nil
}

func words(set map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(set)), ", ")
}

// explain prints why tests failed, or did not run at all.
func (res *result) explain(w io.Writer) {
	if res.version != "" && res.kernel != res.release.name {
		fmt.Fprintf(w, "%s: no longer in the archive; %s has %s, which ran in its place\n",
			res.release.name, res.release.suite, res.version)
	}
	for _, name := range slices.Sorted(maps.Keys(res.outcome)) {
		switch res.outcome[name] {
		case "pass", "skip":
		default:
			fmt.Fprintf(w, "%s: FAILED %s:\n%s", res.kernel, name, res.output[name])
		}
	}
	if res.err == nil {
		return
	}
	fmt.Fprintf(w, "%s: %v\n", res.kernel, res.err)
	for _, log := range []string{res.testLog, res.consoleLog} {
		if text, err := os.ReadFile(log); err == nil {
			fmt.Fprintf(w, "the end of %s:\n%s\n", log, tail(text, 40))
		}
	}
}

// explainSkips prints which tests were left out and why, once for all kernels.
func explainSkips(w io.Writer, results []result) {
	for _, res := range results {
		if res.release.tests != "" {
			fmt.Fprintf(w, "%s: of all tests those that match %s\n", res.kernel, res.release.tests)
		}
		if res.release.skips != "" {
			fmt.Fprintf(w, "%s: without those that match %s\n", res.kernel, res.release.skips)
		}
	}
	kernels := map[string][]string{}
	for _, res := range results {
		for name, outcome := range res.outcome {
			if outcome == "skip" {
				skip := name + ": " + reason(res.output[name])
				kernels[skip] = append(kernels[skip], res.kernel)
			}
		}
	}
	for _, skip := range slices.Sorted(maps.Keys(kernels)) {
		fmt.Fprintf(w, "skipped on %s: %s\n", strings.Join(kernels[skip], ", "), skip)
	}
}

// reason is what a test logged, without what the testing package adds.
func reason(output string) string {
	var said []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			said = append(said, line)
		}
	}
	return strings.Join(said, " ")
}

// tail returns the last lines of a text.
func tail(text []byte, lines int) []byte {
	all := bytes.Split(bytes.TrimRight(text, "\r\n"), []byte("\n"))
	return bytes.Join(all[max(0, len(all)-lines):], []byte("\n"))
}
