// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package top

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/internal/counting"
	"github.com/copenclose/copenclose/internal/escape"
)

// view is a tab of the screen.
type view int

const (
	containers view = iota
	processes
	files
	peers
	errorsView
	views // how many there are
)

func (v view) String() string {
	return [...]string{"Containers", "Processes", "Files", "Peers", "Errors"}[v]
}

// by returns what the lines of v are told apart by.
func (v view) by() counting.Dimensions {
	switch v {
	case containers:
		return counting.ByContainer
	case processes:
		return counting.ByContainer | counting.ByProgram
	case files:
		return counting.ByContainer | counting.ByPath
	case peers:
		return counting.ByContainer | counting.ByPeer
	}
	return counting.ByContainer | counting.ByOperation | counting.ByError
}

// has reports whether v shows calls of a cell.
func (v view) has(c *counting.Cell) bool { return v != errorsView || c.Error != 0 }

// column is a column of a view.
type column struct {
	title  string
	number bool
	still  bool // cannot be sorted by
	red    bool // numbers here are of failures
	cut    cut  // what is shown of text that does not fit
	// width is how wide it is; 0 to leave it out, less than 0 for a share of what is
	// left, so much of it.
	width func(*Model) int
	text  func(*Model, *line) string
	rank  func(*Model, *line) float64 // nil to sort by text
}

// cut says what is left out of text that does not fit.
type cut int

const (
	cutEnd    cut = iota
	cutMiddle     // paths, which say most at both ends, and what stands after one
	cutPath       // whole folders, as long as there is room for the name
)

func fixed(n int) func(*Model) int { return func(*Model) int { return n } }

// share is a part of what is left on the screen.
func share(n int) func(*Model) int { return fixed(-n) }

// rate is a column of so many calls a second.
func rate(title string, width int, calls func(*counting.Sum) uint64) column {
	perSecond := func(m *Model, l *line) float64 { return perSecond(calls(&l.row.Sum), m.frame) }
	return column{
		title: title, number: true, width: fixed(width), rank: perSecond,
		text: func(m *Model, l *line) string { return counting.Short(perSecond(m, l)) },
	}
}

func rateOf(o counting.Operation, title string, width int) column {
	return rate(title, width, func(s *counting.Sum) uint64 { return s.Operations[o].Calls })
}

func failures() column {
	c := rate("FAIL/s", 7, (*counting.Sum).Failed)
	c.red = true
	return c
}

// container is as wide as the longest name so far, a fifth of the screen at most, and
// left out inside of a container.
var container = column{
	title: "CONTAINER", width: func(m *Model) int {
		if m.place.scope.Origin != nil && m.place.view != containers {
			return 0
		}
		return max(len("CONTAINER")+1, min(m.longest, m.width/5))
	},
	text: func(_ *Model, l *line) string { return l.id.cell.Origin.Label() },
}

var program = column{title: "PROGRAM", cut: cutPath, width: share(4), text: func(_ *Model, l *line) string { return l.id.cell.Program.Path }}

// slowest is the 99th percentile of how long opens took.
var slowest = column{
	title: "p99 OPEN", number: true,
	width: func(m *Model) int {
		if m.cfg.Latency {
			return 9
		}
		return 0
	},
	text: func(m *Model, l *line) string {
		if s := l.row.Operations[counting.Open].Latencies; s != nil && s.Quantile(0.99) > 0 {
			return counting.ShortTime(s.Quantile(0.99), "us")
		}
		return "-"
	},
	rank: func(_ *Model, l *line) float64 {
		if s := l.row.Operations[counting.Open].Latencies; s != nil {
			return float64(s.Quantile(0.99))
		}
		return -1
	},
}

var topTarget = column{
	title: "TOP TARGET", still: true, cut: cutMiddle,
	width: func(m *Model) int {
		if m.width < 100 && m.place.view == containers && m.cfg.Latency || m.width < 120 && m.isCrowded() {
			return 0
		}
		return -5
	},
	text: func(m *Model, l *line) string {
		if l.row.Top == nil {
			return ""
		}
		target := l.row.Top.String()
		if l.id.view == errorsView {
			target = l.row.Top.Text // ERROR is beside it
		}
		return target + " (" + l.row.Top.ShareText(m.plusMinus()) + ")"
	},
}

// trend is how many calls there were in the last frames, a column each.
var trend = column{
	title: "TREND", still: true,
	width: trendWidth,
	text: func(m *Model, l *line) string {
		if l.history == nil {
			return ""
		}
		return m.bars(l.history[historyMax-trendWidth(m):])
	},
}

// isCrowded reports whether the view has two columns of names.
func (m *Model) isCrowded() bool { return m.place.view == processes && m.place.scope.Origin == nil }

func trendWidth(m *Model) int {
	switch {
	case m.width >= 190:
		return historyMax
	case m.width >= 150:
		return 30
	case m.width >= 110 && !m.isCrowded():
		return 10
	}
	return 0
}

// deviation is by how many calls a second a rate can be off.
var deviation = column{
	title: "+-", number: true, still: true, width: fixed(7),
	text: func(m *Model, l *line) string {
		t := l.row.Target
		if t.Deviation == 0 || t.Share == 0 {
			return ""
		}
		return m.plusMinus() + counting.Short(perSecond(l.row.Calls(), m.frame)*t.Deviation/t.Share)
	},
}

func target(title string) column {
	return column{title: title, cut: cutMiddle, width: share(6), text: func(_ *Model, l *line) string { return l.row.Target.Text }}
}

var targetError = column{
	title: "ERROR", red: true, width: fixed(13),
	text: func(_ *Model, l *line) string { return counting.ErrorName(l.row.Target.Error) },
}

var errorName = column{
	title: "ERROR", red: true, width: fixed(13),
	text: func(_ *Model, l *line) string {
		return counting.ErrorName(l.id.cell.Error)
	},
}

var operation = column{title: "CALL", width: fixed(8), text: func(_ *Model, l *line) string { return l.id.cell.Operation().String() }}

// columns returns the columns of v.
func (v view) columns(*Model) []column {
	open, connect := rateOf(counting.Open, "OPEN/s", 7), rateOf(counting.Connect, "CONN/s", 7)
	accept, closes := rateOf(counting.Accept, "ACPT/s", 7), rateOf(counting.Close, "CLOSE/s", 8)
	switch v {
	case containers:
		return []column{container, open, connect, accept, closes, failures(), slowest, topTarget, trend}
	case processes:
		return []column{program, container, open, connect, accept, closes, failures(), slowest, topTarget, trend}
	case files:
		return []column{target("FILES"), open, deviation, failures(), targetError, container}
	case peers:
		return []column{target("PEER"), connect, accept, deviation, failures(), targetError, container}
	}
	return []column{errorName, operation, rate("PER s", 8, (*counting.Sum).Calls), container, topTarget, trend}
}

// sorted returns the index of the column by which v is sorted at first.
func (v view) sorted() int {
	switch v {
	case processes:
		return 2
	case errorsView:
		return 2
	}
	return 1
}

// text is what the filter looks at: the words of a line.
func (l *line) text(m *Model) string {
	var words []string
	for _, c := range l.id.view.columns(m) {
		if !c.number && c.title != trend.title {
			words = append(words, c.text(m, l))
		}
	}
	return strings.Join(words, " ")
}

// isRoutine reports whether an error is no failure but how programs are told to wait.
func isRoutine(number uint16) bool {
	switch unix.Errno(number) {
	case unix.EAGAIN, unix.EINPROGRESS, unix.EINTR, 0:
		return true
	}
	return false
}

// isRed reports whether what l has in c is shown in red.
func (c *column) isRed(l *line) bool {
	if !c.red {
		return false
	}
	switch {
	case l.id.view == errorsView:
		return !isRoutine(l.id.cell.Error)
	case l.row.Target != nil && l.row.Target.Error != 0:
		return !isRoutine(l.row.Target.Error)
	}
	return l.row.Failed() > 0
}

// shown makes text that others chose safe for this terminal.
func (m *Model) shown(text string) string {
	text = escape.String(text)
	if m.cfg.UTF8 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r < 0x80:
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, "\\u%04x", r)
		default:
			fmt.Fprintf(&b, "\\U%08x", r)
		}
	}
	return b.String()
}

// plusMinus is the sign before how far off an estimate can be.
func (m *Model) plusMinus() string {
	if m.cfg.UTF8 {
		return "±"
	}
	return "+-"
}

// bars draws values in a column each.
func (m *Model) bars(values []float64) string {
	signs := []rune("▁▂▃▄▅▆▇█")
	if !m.cfg.UTF8 {
		signs = []rune(".:-=+*#@")
	}
	most := 0.
	for _, v := range values {
		most = max(most, v)
	}
	b := make([]rune, len(values))
	for i, v := range values {
		b[i] = ' '
		if v > 0 {
			b[i] = signs[min(len(signs)-1, int(v/most*float64(len(signs))))]
		}
	}
	return string(b)
}
