// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"

	"github.com/copenclose/copenclose/internal/escape"
	"github.com/copenclose/copenclose/internal/stream"
)

func label(c *stream.Container, known bool) string {
	switch {
	case !known:
		return "unknown"
	case c == nil:
		return "-"
	}
	return escaped([]byte(c.Label))
}

// escaped is text that cannot do anything to a terminal.
func escaped(text []byte) string { return escape.String(string(text)) }

func number[N int | uint32 | uint64](n N) string { return strconv.FormatUint(uint64(n), 10) }

// limitText returns a limit, which can be none.
func limitText(limit uint64) string {
	if limit == math.MaxUint64 {
		return "unlimited"
	}
	return number(limit)
}

func percent(use float64) string { return fmt.Sprintf("%.0f%%", 100*use) }

func size(bytes uint64) string {
	if bytes == 0 {
		return ""
	}
	return units.CustomSize("%.4g%s", float64(bytes), 1024, []string{"", "K", "M", "G", "T", "P"})
}

// most returns the largest group in words.
func most(groups []*Group) string {
	if len(groups) == 0 {
		return ""
	}
	return number(groups[0].Count) + " " + groups[0].What()
}

// WriteProcesses writes a table with a row for each process. Where a filter of
// descriptors is set, MATCH is how many of them it lets pass.
func WriteProcesses(out io.Writer, s *Snapshot, holdings []*Holding, f *Filter) error {
	columns := []string{"CONTAINER", "PID", "COMM", ">FDS", ">LIMIT", ">USE", "?>+/MIN", "?>FULL IN", "?>OLDEST", "?>DELETED", "HOLDS MOST"}
	if f.ofDescriptors() {
		columns = slices.Insert(columns, 3, ">MATCH")
	}
	t := newTable(columns...)
	for _, h := range holdings {
		perMinute, fullIn, oldest := s.change(h)
		cells := []string{
			label(h.Container, h.IsKnown), number(h.PID), escaped(h.Comm()), number(len(h.Descriptors)),
			limitText(h.Limit), percent(h.Use()), perMinute, fullIn, oldest, size(h.Held()), most(h.Groups),
		}
		if f.ofDescriptors() {
			cells = slices.Insert(cells, 3, number(len(h.Matching)))
		}
		t.add(cells...)
	}
	return t.write(out)
}

// change says how a process's table grows, when it is full, and how old the oldest of what
// matches is; nothing in a snapshot that has no dates.
func (s *Snapshot) change(h *Holding) (perMinute, fullIn, age string) {
	if !s.isDated {
		return "", "", ""
	}
	if h.PerMinute != 0 {
		perMinute = fmt.Sprintf("%+.1f", h.PerMinute)
	}
	if full := h.FullIn(h.PerMinute); full > 0 {
		fullIn = roughly(full)
	}
	if d := oldest(h.Matching); d != nil {
		age = string(d.origin.Age) + roughly(d.age(s))
	}
	return perMinute, fullIn, age
}

// Held is how many bytes the deleted files among those matching still take.
func (h *Holding) Held() (held uint64) {
	seen := make(map[uint64]bool)
	for _, d := range h.Matching {
		if d.Held > 0 && !seen[d.Object] {
			seen[d.Object] = true
			held += d.Held
		}
	}
	return held
}

// WriteLimits writes which other limits there are, those of inotify only where half of
// one is used.
func WriteLimits(out io.Writer, files Limit, inotify []Limit) error {
	var b strings.Builder
	b.WriteString("other limits: ")
	for _, l := range inotify {
		if l.Use() < 0.5 {
			continue
		}
		fmt.Fprintf(&b, "%s of uid %d: %s of %s", l.What, l.Owner, grouped(l.Used), grouped(l.Max))
		if l.MostCount > 0 {
			fmt.Fprintf(&b, " (%d %s)", l.MostCount, escaped([]byte(l.Most)))
		}
		b.WriteString("; ")
	}
	fmt.Fprintf(&b, "%s of the host: %s of %s\n", files.What, grouped(files.Used), grouped(files.Max))
	_, err := io.WriteString(out, b.String())
	return err
}

// grouped is n with a comma between each three digits.
func grouped(n uint64) string {
	digits := number(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// A Sum is what the processes of a container have together.
type Sum struct {
	Container *stream.Container
	IsKnown   bool
	Holdings  []*Holding // the one that has used most of its limit first
	Count     int        // of descriptors
	Matching  []*Descriptor
	Groups    []*Group
}

// Sums adds up holdings by container, the one with the most descriptors first.
func (s *Snapshot) Sums(holdings []*Holding) []*Sum {
	sums := make(map[string]*Sum)
	var list []*Sum
	for _, h := range holdings {
		key := label(h.Container, h.IsKnown)
		if h.Container != nil {
			key = h.Container.Runtime + "/" + h.Container.ID
		}
		sum := sums[key]
		if sum == nil {
			sum = &Sum{Container: h.Container, IsKnown: h.IsKnown}
			sums[key] = sum
			list = append(list, sum)
		}
		sum.Holdings = append(sum.Holdings, h)
		sum.Count += len(h.Descriptors)
		sum.Matching = append(sum.Matching, h.Matching...)
	}
	groups := newGrouper(s)
	for _, sum := range list {
		sum.Groups = groups.group(sum.Matching)
	}
	slices.SortStableFunc(list, func(a, b *Sum) int { return cmp.Compare(b.Count, a.Count) })
	return list
}

// WriteContainers writes a table with a row for each container. USE is that of the
// process that is nearest to its limit.
func WriteContainers(out io.Writer, sums []*Sum, f *Filter) error {
	columns := []string{"CONTAINER", ">PROCESSES", ">FDS", ">USE", "BY", "HOLDS MOST"}
	if f.ofDescriptors() {
		columns = slices.Insert(columns, 2, ">MATCH")
	}
	t := newTable(columns...)
	for _, s := range sums {
		nearest := s.Holdings[0]
		cells := []string{
			label(s.Container, s.IsKnown), number(len(s.Holdings)), number(s.Count), percent(nearest.Use()),
			number(nearest.PID) + " " + escaped(nearest.Comm()), most(s.Groups),
		}
		if f.ofDescriptors() {
			cells = slices.Insert(cells, 2, number(len(s.Matching)))
		}
		t.add(cells...)
	}
	return t.write(out)
}

// Targets puts what all holdings have into groups, the largest first.
func (s *Snapshot) Targets(holdings []*Holding) []*Group {
	var all []*Descriptor
	for _, h := range holdings {
		all = append(all, h.Matching...)
	}
	return newGrouper(s).group(all)
}

// WriteTargets writes a table with a row for each thing that is open.
func WriteTargets(out io.Writer, groups []*Group) error {
	t := newTable(">FDS", ">PROCESSES", "MOST BY", "KIND", "?STATE", "TARGET")
	for _, g := range groups {
		by := label(g.Most.Container, g.Most.IsKnown)
		if by == "-" {
			by = ""
		} else {
			by += " "
		}
		t.add(number(g.Count), number(g.Tables), by+number(g.Most.PID)+" "+escaped(g.Most.Comm()), g.Kind, g.State, g.Target)
	}
	return t.write(out)
}

// WriteDescriptors writes a table with a row for each descriptor.
func WriteDescriptors(out io.Writer, s *Snapshot, holdings []*Holding) error {
	t := newTable("CONTAINER", "PID", "COMM", ">FD", "MODE", "CLOEXEC", "KIND", "?STATE", "?>AGE", "?HOW", "?OPENED BY", "?>HELD", "?SHARED WITH", "?OTHER END", "TARGET")
	s.join()
	others := s.OtherEnds()
	for _, h := range holdings {
		container, pid, comm := label(h.Container, h.IsKnown), number(h.PID), escaped(h.Comm())
		for _, d := range h.Matching {
			cloexec := "no"
			if d.IsCloexec {
				cloexec = "yes"
			}
			age := ""
			if s.isDated {
				age = string(d.origin.Age) + roughly(d.age(s))
			}
			t.add(container, pid, comm, number(d.FD), d.Access(), cloexec, d.Kind(), d.State(), age, d.origin.How, d.openedElsewhere(), size(d.Held),
				sharedWith(d), otherEnd(others.Of(d)), d.Target())
		}
	}
	return t.write(out)
}

// sharedWith names the first other descriptor of the same file, and how many more
// there are.
func sharedWith(d *Descriptor) string {
	for _, other := range d.shared {
		if other == d {
			continue
		}
		text := "fd " + number(other.FD)
		if other.Table != d.Table {
			text = number(other.PID) + " " + text
		}
		if more := len(d.shared) - 2; more > 0 {
			text += " +" + number(more)
		}
		return text
	}
	return ""
}

func otherEnd(d *Descriptor) string {
	if d == nil {
		return ""
	}
	return number(d.PID) + " " + escaped(d.Table.Comm())
}
