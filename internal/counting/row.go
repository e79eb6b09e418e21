// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package counting

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/copenclose/copenclose/internal/names"

	"github.com/copenclose/copenclose/bpf"
)

// Dimensions is a set of what rows are told apart by.
type Dimensions uint16

// The dimensions there are. Paths and peers are estimated.
const (
	ByContainer Dimensions = 1 << iota
	ByProgram
	BySyscall
	ByOperation
	ByError
	ByUser
	ByPath
	ByPeer
)

// Estimated is those that are known of samples only.
const Estimated = ByPath | ByPeer

// A Row is the calls that have the same in all dimensions that were asked for.
type Row struct {
	Cell           // what they have in common; zero where they are not told apart
	Sum            // estimated, if there is a Target
	Target *Target // of a row by path or peer
	Top    *Target // what most of them are about, nil if that is not known
}

// mask returns c without what is not in by.
func (by Dimensions) mask(c Cell) Cell {
	if by&ByContainer == 0 {
		c.Origin = nil
	}
	if by&ByProgram == 0 {
		c.Program = nil
	}
	if by&ByUser == 0 {
		c.UID = 0
	}
	if by&ByError == 0 {
		c.Error = 0
	}
	switch {
	case by&BySyscall != 0:
	case by&ByOperation != 0:
		c.Syscall = firstOf[operationOf[c.Syscall]]
	default:
		c.Syscall = 0
	}
	return c
}

// firstOf has the first syscall of each operation.
var firstOf = func() (first [Operations]uint8) {
	for i := len(bpf.Syscalls) - 1; i >= 0; i-- {
		first[operationOf[i]] = uint8(i)
	}
	return first
}()

// Rows returns the rows of s by some dimensions, of the cells that are wanted; samples
// may be nil where by has no estimated dimension. They are in no order.
func (s *Snapshot) Rows(by Dimensions, want func(*Cell) bool, samples *Samples, targets int) []Row {
	sums := make(map[Cell]*Sum)
	for cell, n := range s.Cells {
		if !want(&cell) {
			continue
		}
		key := by.mask(cell)
		sum := sums[key]
		if sum == nil {
			sum = &Sum{}
			sums[key] = sum
		}
		sum.add(&cell, n)
	}
	groups := make(map[Cell][]*sample)
	if samples != nil {
		samples.each(want, func(cell Cell, one *sample) {
			key := by.mask(cell)
			groups[key] = append(groups[key], one)
		})
	}
	rows := make([]Row, 0, len(sums))
	for key, sum := range sums {
		g := newGroup(groups[key])
		if by&Estimated != 0 {
			rows = append(rows, g.rows(by, key, sum, targets)...)
			continue
		}
		row := Row{Cell: key, Sum: *sum}
		if top, ok := g.top(); ok {
			row.Top = &top
		}
		rows = append(rows, row)
	}
	return rows
}

// each gives the samples of the cells that are wanted to yield.
func (s *Samples) each(want func(*Cell) bool, yield func(Cell, *sample)) {
	s.expire()
	for i := range s.list {
		one := &s.list[i]
		cell := one.cell
		cell.Program = s.book.programs.of(one.executable)
		if want(&cell) {
			yield(cell, one)
		}
	}
}

// rows returns a row for each target of the samples of a key. What they stand for is
// made to add up to what was counted.
func (g *group) rows(by Dimensions, key Cell, sum *Sum, targets int) (rows []Row) {
	wanted := func(o Operation) bool {
		return by&ByPath != 0 && o == Open || by&ByPeer != 0 && (o == Connect || o == Accept)
	}
	var chosen []*sample
	var weights [Operations]float64
	for _, one := range g.samples {
		if o := one.cell.Operation(); wanted(o) {
			chosen = append(chosen, one)
			weights[o] += one.weight
		}
	}
	of := newGroup(chosen)
	for _, target := range of.heaviest(targets) {
		row := Row{Cell: key, Target: &target}
		var calls, failed [Operations]float64
		for _, one := range target.sampled {
			o := one.cell.Operation()
			calls[o] += one.weight
			if one.cell.Error != 0 {
				failed[o] += one.weight
			}
		}
		for o := range Operations {
			if weights[o] > 0 {
				scale := float64(sum.Operations[o].Calls) / weights[o]
				row.Operations[o].Calls = uint64(calls[o]*scale + 0.5)
				row.Failures[o] = uint64(failed[o]*scale + 0.5)
			}
		}
		if e, one := target.commonError(); one {
			row.Target.Error = e
		}
		rows = append(rows, row)
	}
	return rows
}

// commonError returns the error that all calls of t have.
func (t *Target) commonError() (number uint16, common bool) {
	for i, one := range t.sampled {
		if i > 0 && one.cell.Error != number {
			return 0, false
		}
		number = one.cell.Error
	}
	return number, true
}

// Rank sorts rows, those first of which more is the most, and returns the first n and
// the sum of the others.
func Rank(rows []Row, more func(*Row) float64, n int) (first []Row, rest Sum, others int) {
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(-cmp.Compare(more(&a), more(&b)), a.compare(&b))
	})
	if n > 0 && len(rows) > n {
		for i := range rows[n:] {
			rest.Add(&rows[n+i].Sum)
		}
		rows, others = rows[:n], len(rows)-n
	}
	return rows, rest, others
}

// compare gives rows of the same rank an order that stays.
func (r *Row) compare(s *Row) int {
	order := cmp.Or(cmp.Compare(r.Syscall, s.Syscall), cmp.Compare(r.Error, s.Error), cmp.Compare(r.UID, s.UID))
	if r.Origin != nil && s.Origin != nil {
		order = cmp.Or(strings.Compare(r.Origin.Label(), s.Origin.Label()), order)
	}
	if r.Program != nil && s.Program != nil {
		order = cmp.Or(strings.Compare(r.Program.Path, s.Program.Path), order)
	}
	if r.Target != nil && s.Target != nil {
		order = cmp.Or(strings.Compare(r.Target.Text, s.Target.Text), order)
	}
	return order
}

// ErrorName returns the name of an errno, "" for 0.
func ErrorName(number uint16) string { return names.Error(-int32(number)) }

// String returns the target as a person reads it; it is not escaped.
func (t *Target) String() string {
	if t.Error == 0 {
		return t.Text
	}
	return ErrorName(t.Error) + " " + t.Text
}

// ShareText returns the share in percent, with how far off it can be.
func (t *Target) ShareText(plusMinus string) string {
	if t.Deviation < 0.005 {
		return fmt.Sprintf("%.0f %%", 100*t.Share)
	}
	return fmt.Sprintf("%.0f %s%.0f %%", 100*t.Share, plusMinus, 100*t.Deviation)
}
