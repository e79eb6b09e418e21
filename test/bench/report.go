// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
	"golang.org/x/sys/unix"
)

// newTable has the first column at the left, numbers at the right.
func newTable(w io.Writer, s settings, header ...string) *tablewriter.Table {
	align := make([]tw.Align, len(header))
	for i := range align {
		align[i] = tw.AlignRight
	}
	align[0] = tw.AlignLeft
	options := []tablewriter.Option{
		tablewriter.WithRowAlignmentConfig(tw.CellAlignment{PerColumn: align}),
		tablewriter.WithHeaderAutoFormat(tw.Off),
		tablewriter.WithRowAutoWrap(tw.WrapNone),
	}
	if s.markdown {
		options = append(options, tablewriter.WithRenderer(renderer.NewMarkdown()))
	}
	t := tablewriter.NewTable(w, options...)
	t.Header(header)
	return t
}

// describeMachine says on what this runs, and what else runs on it.
func describeMachine() (string, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "", fmt.Errorf("ask for the kernel's release: %w", err)
	}
	model := "unknown"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if m := regexp.MustCompile(`model name\s*: (.*)`).FindSubmatch(text); m != nil {
			model = string(m[1])
		}
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "", fmt.Errorf("read the load: %w", err)
	}
	return fmt.Sprintf("Linux %s, %d CPUs (%s); load %s, %d tracing programs of others attached\n",
		unix.ByteSliceToString(name.Release[:]), runtime.NumCPU(), model, strings.Join(strings.Fields(string(load))[:3], " "), tracers()), nil
}

func whole(v float64) string { return strconv.FormatFloat(v, 'f', 0, 64) }

// ratio is v beside ours.
func ratio(v, ours float64) string {
	if ours <= 0 || v <= 0 {
		return "-"
	}
	if v/ours < 10 {
		return strconv.FormatFloat(v/ours, 'f', 2, 64)
	}
	return whole(v / ours)
}

func mib(kib float64) string { return strconv.FormatFloat(kib/1024, 'f', 1, 64) }

// printTools prints the main table.
func (m *measured) printTools(w io.Writer) error {
	fmt.Fprintf(w, "\nA loop of open and close of /dev/null on CPU %d, the tool on CPU %d. Alone a pair takes %.0f ns.\n"+
		"Medians of %d rounds; x is the ratio to %s. An event is a line that the tool wrote;\n"+
		"of tools that write none, CPU is per call that was made.\n\n",
		generatorCPU(), toolCPU, m.bare(), m.rounds, ours)
	t := newTable(w, m.settings, "tool", "ns added\nper call", "x", "of it in\nprograms", "CPU ns\nper event", "x", "events seen\nof made", "lost",
		"resident\nMiB", "peak\nMiB", "start-up\nms", "ns added to an\nuntraced call", "of it in\nprograms")
	failures := ""
	for _, sub := range m.subjects {
		if err := m.failed(sub.name); err != nil {
			failures += fmt.Sprintf("%s: %s\n", sub.name, err)
			if err := t.Append(sub.name, "cannot run"); err != nil {
				return err
			}
			continue
		}
		a, c := m.middle(sub.name, added), m.middle(sub.name, cpu)
		row := []string{
			sub.name, whole(a), ratio(a, m.middle(ours, added)), whole(m.middle(sub.name, inTraced)),
			whole(c), ratio(c, m.middle(ours, cpu)), "-", "-",
			mib(m.middle(sub.name, resident)), mib(m.middle(sub.name, peak)), whole(m.middle(sub.name, startup)),
			whole(m.middle(sub.name, untraced)), whole(m.middle(sub.name, inUntraced)),
		}
		if seen, made := m.seen(sub.name); made > 0 {
			row[6] = fmt.Sprintf("%d of %d", seen, made)
			row[7] = share(made-seen, made)
		}
		if m.middle(sub.name, startup) == 0 { // programs alone
			row[4], row[5], row[8], row[9], row[10] = "-", "-", "-", "-", "-"
		}
		if err := t.Append(row); err != nil {
			return err
		}
	}
	if err := t.Render(); err != nil {
		return err
	}
	_, err := io.WriteString(w, failures)
	return err
}

func share(part, all int) string {
	if part == 0 {
		return "0"
	}
	return fmt.Sprintf("%.2f %%", 100*float64(part)/float64(all))
}

// figure is a column of what is measured beside loads.
type figure struct {
	header string
	text   func(m *measured, l load, sub subject) string
}

// medianOf is a figure that is the median of one in the samples.
func medianOf(header string, of func(sample) float64) figure {
	return figure{header, func(m *measured, _ load, sub subject) string { return whole(m.middle(sub.name, of)) }}
}

var (
	seenFigure = figure{"events seen\nof made", func(m *measured, _ load, sub subject) string {
		seen, made := m.seen(sub.name)
		if made == 0 {
			return "-"
		}
		return fmt.Sprintf("%d of %d", seen, made)
	}}
	lostFigure = figure{"lost", func(m *measured, _ load, sub subject) string {
		seen, made := m.seen(sub.name)
		if made == 0 {
			return "-"
		}
		return share(made-seen, made)
	}}
)

// printGrowth prints what measureGrowth measured.
func (b *byLoad) printGrowth(w io.Writer, s settings) error {
	fmt.Fprintf(w, "\nHow cost grows. Threads run on all CPUs, and the tool where it finds room; processes in\n"+
		"cgroups take turns of ten pairs on one CPU. The time is that for which a call has a CPU.\n\n")
	return b.print(w, s, medianOf("ns of a\npair alone", bare), medianOf("ns added\nper call", added), medianOf("CPU ns\nper event", cpu),
		seenFigure, lostFigure, medianOf("events made\nper second", rate))
}

// printEvents prints what measureEvents measured.
func (b *byLoad) printEvents(w io.Writer, s settings) error {
	fmt.Fprintf(w, "\nWhat one of each takes. CPU is per line, and of processes per process.\n\n")
	alone := figure{"ns alone", func(m *measured, l load, sub subject) string {
		return whole(m.middle(sub.name, bare) / sub.perCall(l))
	}}
	return b.print(w, s, alone, medianOf("ns added", added), medianOf("of it in\nprograms", inTraced), medianOf("CPU ns\nof the tool", cpu),
		seenFigure, lostFigure, medianOf("start-up\nms", startup))
}

// print prints a row for each tool beside each load.
func (b *byLoad) print(w io.Writer, s settings, figures ...figure) error {
	header := []string{"load", "tool"}
	for _, f := range figures {
		header = append(header, f.header)
	}
	t := newTable(w, s, header...)
	for _, l := range b.loads {
		m := b.results[l.name]
		for _, sub := range m.subjects {
			row := []string{l.name, sub.name}
			if err := m.failed(sub.name); err != nil {
				row = append(row, "cannot run: "+err.Error())
			} else {
				for _, f := range figures {
					row = append(row, f.text(m, l, sub))
				}
			}
			if err := t.Append(row); err != nil {
				return err
			}
		}
	}
	return t.Render()
}

// timeOf is the ns of a Go benchmark of a package, 0 if it was not run.
func timeOf(path, pkg, name string) float64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	m := regexp.MustCompile(`(?m)^pkg: \S+/` + pkg + `\n(?:.*\n)*?Benchmark` + name + `-?\d*\s+\d+\s+(\S+) ns/op`).FindSubmatch(text)
	if m == nil {
		return 0
	}
	ns, _ := strconv.ParseFloat(string(m[1]), 64)
	return ns
}

var benchmarkLine = regexp.MustCompile(`(?m)^(?:pkg: (\S+)|Benchmark\S+.* (\d+) allocs/op)$`)

// allocations is the most that a Go benchmark made per event, of those that are
// on the way from the ring to the line.
func allocations(path string) (most float64, found bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	perEvent := false
	for _, m := range benchmarkLine.FindAllStringSubmatch(string(text), -1) {
		if pkg := m[1]; pkg != "" {
			perEvent = slices.Contains([]string{"bpf", "tracer", "output"}, filepath.Base(pkg))
			continue
		}
		if n, err := strconv.ParseFloat(m[2], 64); err == nil && perEvent {
			found, most = true, max(most, n)
		}
	}
	return most, found
}
