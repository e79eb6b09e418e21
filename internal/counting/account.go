// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package counting

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/copenclose/copenclose/internal/escape"
)

// WriteStory writes what a command did, in a screen of 80 by 24: how many calls it made
// and how they failed, what it opened, what it looked for in vain and whom it connected
// to.
func (s *Snapshot) WriteStory(out io.Writer, samples *Samples) error {
	var b strings.Builder
	for _, o := range []Operation{Open, Connect, Accept, Close, Else} {
		s.writeOperation(&b, o, samples)
	}
	if b.Len() == 0 {
		b.WriteString("no calls\n")
	}
	for _, list := range []struct {
		title string
		lines int
		want  func(*Cell) bool
	}{
		{"opened", 5, func(c *Cell) bool { return c.Operation() == Open && c.Error == 0 }},
		{"failed to open", 5, func(c *Cell) bool { return c.Operation() == Open && c.Error != 0 }},
		{"connected to", 3, func(c *Cell) bool { return c.Operation() == Connect }},
	} {
		s.writeTargets(&b, list.title, list.lines, list.want, samples)
	}
	fmt.Fprintf(&b, "\n%s\n", s.Account.Line(s.Seconds))
	_, err := io.WriteString(out, b.String())
	return err
}

// writeOperation writes a line like "1,418 opens, 591 failed: 575 ENOENT, 457 of them in
// /usr/lib/locale/**".
func (s *Snapshot) writeOperation(b *strings.Builder, o Operation, samples *Samples) {
	var sum Sum
	errors := make(map[uint16]uint64)
	for cell, n := range s.Cells {
		if cell.Operation() != o {
			continue
		}
		sum.add(&cell, n)
		if cell.Error != 0 {
			errors[cell.Error] += n.Calls
		}
	}
	if sum.Calls() == 0 {
		return
	}
	fmt.Fprintf(b, "%s %s", Grouped(sum.Calls()), plural(o, sum.Calls()))
	if failed := sum.Failed(); failed > 0 {
		fmt.Fprintf(b, ", %s failed:", Grouped(failed))
		numbers := make([]uint16, 0, len(errors))
		for number := range errors {
			numbers = append(numbers, number)
		}
		slices.SortFunc(numbers, func(x, y uint16) int {
			return cmp.Or(-cmp.Compare(errors[x], errors[y]), cmp.Compare(x, y))
		})
		for i, number := range numbers[:min(len(numbers), 3)] {
			if i > 0 {
				b.WriteString(",")
			}
			fmt.Fprintf(b, " %s %s", Grouped(errors[number]), ErrorName(number))
			if i == 0 {
				s.writeWhere(b, errors[number], samples, func(c *Cell) bool { return c.Operation() == o && c.Error == number })
			}
		}
		if len(numbers) > 3 {
			fmt.Fprintf(b, " and %d other errors", len(numbers)-3)
		}
	}
	if l := sum.Latencies(); l != nil {
		fmt.Fprintf(b, "; half of them within %s, 99 %% within %s", ShortTime(l.Quantile(0.5), "us"), ShortTime(l.Quantile(0.99), "us"))
	}
	b.WriteString("\n")
}

func plural(o Operation, n uint64) string {
	switch {
	case n == 1:
		return o.String()
	case o == Close:
		return "closes"
	case o == Else:
		return "other calls"
	}
	return o.String() + "s"
}

// writeWhere writes in which place most of so many calls were made, if it is worth it.
func (s *Snapshot) writeWhere(b *strings.Builder, calls uint64, samples *Samples, want func(*Cell) bool) {
	top, ok := samples.group(want).top()
	if !ok {
		return
	}
	in := ""
	if strings.HasSuffix(top.Text, "/**") {
		in = "in "
	}
	if calls == 1 {
		fmt.Fprintf(b, " %s%s", in, escape.String(top.Text))
		return
	}
	fmt.Fprintf(b, ", %s of them %s%s", top.calls(calls), in, escape.String(top.Text))
}

// calls returns how many of all calls are about t.
func (t *Target) calls(all uint64) string {
	n := Grouped(uint64(t.Share*float64(all) + 0.5))
	if t.Deviation == 0 {
		return n
	}
	return fmt.Sprintf("about %s (±%s)", n, Grouped(uint64(t.Deviation*float64(all)+0.5)))
}

// group returns the samples of the cells that are wanted.
func (s *Samples) group(want func(*Cell) bool) *group {
	var samples []*sample
	s.each(want, func(_ Cell, one *sample) { samples = append(samples, one) })
	g := newGroup(samples)
	return &g
}

func (s *Snapshot) writeTargets(b *strings.Builder, title string, lines int, want func(*Cell) bool, samples *Samples) {
	var all uint64
	for cell, n := range s.Cells {
		if want(&cell) {
			all += n.Calls
		}
	}
	g := samples.group(want)
	if all == 0 || g.weight == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s:\n", title)
	targets := g.heaviest(lines)
	more := len(targets) - lines
	targets = targets[:min(lines, len(targets))]
	width := 0
	counts := make([]string, len(targets))
	for i := range targets {
		counts[i] = strings.TrimPrefix(targets[i].calls(all), "about ")
		width = max(width, utf8.RuneCountInString(counts[i]))
	}
	for i, t := range targets {
		text := t.Text
		if number, common := t.commonError(); common && number != 0 {
			text = ErrorName(number) + " " + text
		}
		fmt.Fprintf(b, "  %*s  %s\n", width, counts[i], escape.String(text))
	}
	if more > 0 {
		fmt.Fprintf(b, "  %*s  in %d other places\n", width, "", more)
	}
}
