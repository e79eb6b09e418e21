// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package top

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/copenclose/copenclose/internal/counting"
)

// The attributes of text; bubbletea leaves out what the terminal, or NO_COLOR, does not
// want. Colours are of the 16 that every terminal has.
const (
	plain   = "\x1b[m"
	bold    = "\x1b[1m"
	reverse = "\x1b[7m"
	red     = "\x1b[31m"
	grey    = "\x1b[90m"
)

// View draws the screen.
func (m *Model) View() tea.View {
	v := tea.NewView(strings.Join(m.draw(), "\n"))
	v.AltScreen = !m.stopped
	return v
}

// draw returns the lines of the screen, each as wide as that at most.
func (m *Model) draw() []string {
	if m.stopped {
		return nil
	}
	screen := []string{m.header(), m.tabs()}
	if m.help {
		screen = append(screen, helpLines...)
	} else {
		screen = append(screen, m.table()...)
	}
	for len(screen) < m.height-1 {
		screen = append(screen, "")
	}
	screen = append(screen[:max(0, m.height-1)], m.bottom())
	for i, line := range screen {
		screen[i] = ansi.Truncate(line, m.width, "")
	}
	return screen
}

// header says what was counted, and how it is shown. Where there is no room for all of
// it, the machine's name, the number of containers and more are left out.
func (m *Model) header() string {
	right := "[every " + fmt.Sprintf("%g", m.cfg.Interval.Seconds()) + "s]"
	if m.paused {
		right = reverse + "[stopped]" + plain
	}
	host, number, clock, calls, lost := m.shown(m.cfg.Host), "", "", "", ""
	if m.frame != nil {
		a := &m.frame.Account
		number, clock = m.numContainers(), m.frame.Time.Local().Format(time.TimeOnly)
		calls, lost = counting.Short(perSecond(a.Counted+a.Other, m.frame))+" calls/s", m.lost()
	}
	left := ""
	for _, parts := range [][]string{{host, clock, number, calls, lost}, {clock, number, calls, lost}, {clock, calls, lost}, {calls, lost}, {lost}} {
		left = bold + "copenclose top" + plain
		for _, part := range append(parts, "filter: "+m.filterText()) {
			if part != "" {
				left += "   " + part
			}
		}
		if ansi.StringWidth(left)+1+ansi.StringWidth(right) <= m.width {
			break
		}
	}
	return between(left, right, m.width)
}

func (m *Model) filterText() string {
	var text []string
	if m.failedOnly {
		text = append(text, "failed only")
	}
	switch {
	case m.filter != "" && m.inverse:
		text = append(text, "not "+m.shown(m.filter))
	case m.filter != "":
		text = append(text, m.shown(m.filter))
	}
	if text == nil {
		return "-"
	}
	return strings.Join(text, ", ")
}

func (m *Model) numContainers() string {
	n := 0
	for id, k := range m.known {
		if id.view == containers && id.cell.Origin.Container() != nil && k.gone.IsZero() {
			n++
		}
	}
	if n == 1 {
		return "1 container"
	}
	return fmt.Sprintf("%d containers", n)
}

func (m *Model) lost() string {
	a := &m.frame.Account
	text := fmt.Sprintf("lost %s", counting.Short(float64(a.Lost)))
	if a.Missed > 0 {
		text += fmt.Sprintf(", missed %s", counting.Short(float64(a.Missed)))
	}
	if a.Lost+a.Missed > 0 {
		return red + text + plain
	}
	return text
}

// between puts left and right at the two ends of a line.
func between(left, right string, width int) string {
	room := width - ansi.StringWidth(right)
	if room < 20 {
		return left
	}
	if ansi.StringWidth(left) >= room {
		left = ansi.Truncate(left, room-1, "") + plain
	}
	return left + strings.Repeat(" ", room-ansi.StringWidth(left)) + right
}

// tabs names the views, and says where the user is.
func (m *Model) tabs() string {
	var b strings.Builder
	for v := range views {
		name := fmt.Sprintf(" %d %s ", v+1, v)
		if v == m.place.view {
			name = reverse + name + plain
		}
		b.WriteString(name)
	}
	s := &m.place.scope
	var in []string
	switch {
	case s.Origin == counting.Host:
		in = append(in, "the host")
	case s.Origin != nil:
		in = append(in, m.shown(s.Origin.Label()))
	}
	if s.Program != nil {
		in = append(in, m.shown(s.Program.Path))
	}
	if s.Operation != nil {
		in = append(in, s.Operation.String())
	}
	if s.Error != 0 {
		in = append(in, counting.ErrorName(s.Error))
	}
	if len(in) > 0 {
		b.WriteString("  in " + strings.Join(in, ", "))
	}
	return b.String()
}

// widths returns how wide each column is; 0 if it is left out.
func (m *Model) widths(columns []column) []int {
	widths := make([]int, len(columns))
	left, parts := m.width, 0
	for i, c := range columns {
		if widths[i] = c.width(m); widths[i] > 0 {
			left -= widths[i]
		} else {
			parts -= widths[i]
		}
		if widths[i] != 0 {
			left--
		}
	}
	for i, w := range widths {
		if w < 0 {
			widths[i] = max(4, left*-w/parts)
		}
	}
	return widths
}

// table draws the columns' titles and the lines that there is room for.
func (m *Model) table() []string {
	columns := m.place.view.columns(m)
	widths := m.widths(columns)
	o := m.order[m.place.view]
	var titles []string
	for i, c := range columns {
		if widths[i] == 0 {
			continue
		}
		title := c.title
		if title == deviation.title {
			title = m.plusMinus()
		}
		if c.title == o.column {
			title += m.sortMark(o.inverse)
		}
		c.cut = cutEnd
		titles = append(titles, m.cell(&c, title, widths[i]))
	}
	table := []string{bold + strings.Join(titles, " ") + plain}
	if len(m.lines) == 0 {
		return append(table, m.nothing())
	}
	for i := m.first; i < len(m.lines) && i < m.first+m.body(); i++ {
		table = append(table, m.line(&m.lines[i], columns, widths, i == m.place.index))
	}
	return table
}

// nothing says why the table is empty.
func (m *Model) nothing() string {
	switch {
	case m.frame == nil:
		return "counting ..."
	case m.filter != "":
		return "nothing passes the filter; / and Esc remove it"
	case m.failedOnly:
		return "nothing failed; x shows all"
	}
	return "no calls"
}

func (m *Model) sortMark(inverse bool) string {
	switch {
	case !m.cfg.UTF8 && inverse:
		return "^"
	case !m.cfg.UTF8:
		return "v"
	case inverse:
		return "▴"
	}
	return "▾"
}

// line draws a line; what has ended is grey, and what failed red.
func (m *Model) line(l *line, columns []column, widths []int, cursor bool) string {
	cells := make([]string, 0, len(columns))
	for i := range columns {
		c := &columns[i]
		if widths[i] == 0 {
			continue
		}
		text := m.cell(c, m.shown(c.text(m, l)), widths[i])
		if !cursor && !l.gone && c.isRed(l) {
			text = red + text + plain
		}
		cells = append(cells, text)
	}
	text := strings.Join(cells, " ")
	switch {
	case cursor:
		return reverse + text + plain
	case l.gone:
		return grey + text + plain
	}
	return text
}

// cell makes text as wide as its column.
func (m *Model) cell(c *column, text string, width int) string {
	more := "…"
	if !m.cfg.UTF8 {
		more = "~"
	}
	if n := ansi.StringWidth(text); n > width {
		text = c.cut.of(text, n, width, more)
	}
	pad := strings.Repeat(" ", max(0, width-ansi.StringWidth(text)))
	if c.number {
		return pad + text
	}
	return text + pad
}

// of returns text, which is n wide, so that it is as wide as that at most.
func (c cut) of(text string, n, width int, more string) string {
	switch c {
	case cutMiddle:
		// Of the end there is more: the name, and how much of all it is.
		end := (width - 1) * 2 / 3
		return ansi.Truncate(text, width-1-end, "") + ansi.TruncateLeft(text, n-end, more)
	case cutPath:
		for i := range text {
			if text[i] == '/' && ansi.StringWidth(text[i:]) < width {
				return more + text[i:]
			}
		}
		text = text[strings.LastIndexByte(text, '/')+1:]
	}
	return ansi.Truncate(text, width, more)
}

// bottom is what is being typed, what there is to say, or the keys.
func (m *Model) bottom() string {
	switch {
	case m.prompt == filterPrompt:
		return "filter: " + m.shown(m.typed) + reverse + " " + plain + "   Enter keeps it, Esc removes it"
	case m.prompt == intervalPrompt:
		return "seconds between two looks: " + m.shown(m.typed) + reverse + " " + plain
	case m.message != "":
		return m.shown(m.message)
	case m.help:
		return "any key goes back"
	}
	return m.keys()
}

// keys returns those that there is room for, the last ones always.
func (m *Model) keys() string {
	const last = "? help  q quit"
	line := ""
	for _, key := range []string{
		"Enter in", "Esc out", "/ filter", "s sort", "x failed", "Space stop", "e rows",
		"Tab view", "! inverse", "I invert", "d interval", "S save",
	} {
		if len(line)+len(key)+2+len(last) > m.width {
			break
		}
		line += key + "  "
	}
	return line + last
}

var helpLines = strings.Split(`
 Up Down j k PgUp PgDn Home End   move         1 2 3 4 5 Tab   views
 Enter   into a container, a program, an error
 Esc     back out

 /       show only lines with some text        !   or those without it
 x       only calls that failed
 s F6 <  sort by the next or previous column   I   the other way round
 Space   stop and go on; numbers keep counting
 d       seconds between two looks

 e       show the calls of this line, one by one, until Ctrl-C
 S       save this table as JSON in the current folder
 q Ctrl-C  quit

 The container - is the host. Rates and failures are exact. Files, peers and
 targets are estimated from calls that are looked at: ± is how far off 95 %
 of them are at most.`, "\n")
