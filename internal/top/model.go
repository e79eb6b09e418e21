// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package top

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/copenclose/copenclose/internal/counting"
)

// Model is what the screen shows. It is a tea.Model.
type Model struct {
	cfg           Config
	width, height int
	frame         *counting.Snapshot // what is shown; nil before the first one
	asked         time.Time          // when the frame after it was asked for
	failed        error              // of the feed; the program ends then
	paused        bool
	failedOnly    bool
	filter        string
	inverse       bool
	place         place
	before        []place // where Esc leads
	order         [views]order
	lines         []line
	first         int // index of the line at the top
	known         map[identity]*known
	longest       int // name of a container so far, in columns
	prompt        prompt
	typed         string
	help          bool
	message       string // at the bottom until the next key
	stopped       bool   // the program is to end
}

// place is where the user is.
type place struct {
	view   view
	scope  Selection
	cursor identity
	index  int // of the cursor, for when what it was on is gone
}

// order is how a view is sorted.
type order struct {
	column  string
	inverse bool
}

// identity tells lines of all views apart.
type identity struct {
	view   view
	cell   counting.Cell
	target string
}

// line is a line of the table.
type line struct {
	id      identity
	row     counting.Row
	words   string // what the filter looks at
	gone    bool   // its container has ended
	history []float64
}

// known is what is remembered of a line of the views without targets.
type known struct {
	row     counting.Row // without numbers
	history [historyMax]float64
	active  time.Time
	gone    time.Time // when its container was seen to have ended
}

const (
	historyMax = 60
	// goneFor is how long a container is shown that has ended.
	goneFor = 5 * time.Second
	// knownMax bounds the lines that are remembered.
	knownMax = 8192
)

// prompt is what is being typed.
type prompt int

const (
	noPrompt prompt = iota
	filterPrompt
	intervalPrompt
)

func newModel(cfg Config) *Model {
	m := &Model{cfg: cfg, width: 80, height: 24, known: make(map[identity]*known)}
	for v := range views {
		m.order[v].column = v.columns(m)[v.sorted()].title
	}
	return m
}

// Init asks for the first frame.
func (m *Model) Init() tea.Cmd { return m.next() }

// frameMsg is what was counted since the last one.
type frameMsg struct {
	frame *counting.Snapshot
	err   error
}

// tickMsg says that it is time for the next frame.
type tickMsg time.Time

func (m *Model) next() tea.Cmd {
	m.asked = m.cfg.Now()
	return func() tea.Msg {
		frame, err := m.cfg.Feed.Next()
		return frameMsg{frame, err}
	}
}

// Update takes a key, a frame, or a new size.
func (m *Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tickMsg:
		return m, m.next()
	case frameMsg:
		if msg.err != nil {
			m.failed, m.stopped = msg.err, true
			return m, tea.Quit
		}
		m.take(msg.frame)
		wait := max(m.cfg.Interval-m.cfg.Now().Sub(m.asked), 0)
		return m, tea.Tick(wait, func(t time.Time) tea.Msg { return tickMsg(t) })
	case rowsEndedMsg:
		if msg.err != nil {
			m.message = msg.err.Error()
		}
	case savedMsg:
		m.message = "saved " + msg.name
		if msg.err != nil {
			m.message = msg.err.Error()
		}
	case tea.PasteMsg:
		if m.prompt != noPrompt {
			m.typed += msg.Content
			m.applyTyped()
		}
	case tea.KeyPressMsg:
		return m, m.key(msg)
	}
	m.scroll()
	return m, nil
}

// take takes a frame. While the screen stands still its numbers count all the same.
func (m *Model) take(frame *counting.Snapshot) {
	for _, v := range []view{containers, processes, errorsView} {
		m.remember(v, frame)
	}
	m.forget(frame.Time)
	if m.paused && m.frame != nil {
		return
	}
	m.frame = frame
	m.refresh()
}

// remember adds a frame to the histories of the lines of a view.
func (m *Model) remember(v view, frame *counting.Snapshot) {
	for id, k := range m.known {
		if id.view == v {
			copy(k.history[:], k.history[1:])
			k.history[historyMax-1] = 0
		}
	}
	for _, row := range m.cfg.Feed.Rows(frame, v.by(), v.has, 0) {
		id := identity{v, row.Cell, ""}
		k := m.known[id]
		if k == nil {
			if len(m.known) >= knownMax {
				continue
			}
			k = &known{row: counting.Row{Cell: row.Cell}}
			m.known[id] = k
		}
		k.history[historyMax-1] = perSecond(row.Calls(), frame)
		k.active = frame.Time
	}
}

// forget drops the lines of containers that ended a while ago, containers where nothing
// happened for as long as the history is, and programs and errors where nothing did for
// some seconds.
func (m *Model) forget(now time.Time) {
	for id, k := range m.known {
		if o := id.cell.Origin; o != nil && o.Gone() && k.gone.IsZero() {
			k.gone = now
		} else if o == nil || !o.Gone() {
			k.gone = time.Time{}
		}
		idleFor := goneFor
		if id.view == containers {
			idleFor = historyMax * max(m.cfg.Interval, time.Second)
		}
		if !k.gone.IsZero() && now.Sub(k.gone) > goneFor || now.Sub(k.active) > idleFor {
			delete(m.known, id)
		}
	}
}

func perSecond(n uint64, frame *counting.Snapshot) float64 {
	if frame.Seconds <= 0 {
		return 0
	}
	return float64(n) / frame.Seconds
}

// wants reports whether calls of a cell are shown where the user is.
func (m *Model) wants(c *counting.Cell) bool {
	s := &m.place.scope
	return (s.Origin == nil || c.Origin == s.Origin) && (s.Program == nil || c.Program == s.Program) &&
		(s.Operation == nil || c.Operation() == *s.Operation) &&
		(s.Error == 0 || c.Error == s.Error) && (!m.failedOnly || c.Error != 0) && m.place.view.has(c)
}

// targetsMax is how many files or peers are told apart.
const targetsMax = 40

// refresh makes the lines anew.
func (m *Model) refresh() {
	if m.frame == nil {
		return
	}
	v := m.place.view
	m.lines = m.lines[:0]
	seen := make(map[identity]bool)
	for _, row := range m.cfg.Feed.Rows(m.frame, v.by(), m.wants, targetsMax) {
		id := identity{view: v, cell: row.Cell}
		if row.Target != nil {
			id.target = row.Target.Text
		}
		seen[id] = true
		m.add(line{id: id, row: row})
	}
	if !m.failedOnly {
		// What is there, but does nothing now.
		for id, k := range m.known {
			if id.view == v && !seen[id] && m.wants(&id.cell) {
				m.add(line{id: id, row: k.row})
			}
		}
	}
	m.sort()
	m.follow()
	m.scroll()
}

// add adds a line that passes the filter.
func (m *Model) add(l line) {
	if o := l.id.cell.Origin; o != nil {
		l.gone = o.Gone()
	}
	if k := m.known[l.id]; k != nil {
		l.history = slices.Clone(k.history[:]) // that of the frame, also when the screen stands still
	}
	l.words = l.text(m)
	if m.filter != "" && strings.Contains(strings.ToLower(l.words), strings.ToLower(m.filter)) == m.inverse {
		return
	}
	m.lines = append(m.lines, l)
	m.longest = max(m.longest, ansi.StringWidth(m.shown(l.id.cell.Origin.Label())))
}

func (m *Model) sort() {
	o := m.order[m.place.view]
	columns := m.place.view.columns(m)
	by := columns[max(0, slices.IndexFunc(columns, func(c column) bool { return c.title == o.column }))]
	slices.SortFunc(m.lines, func(a, b line) int {
		var order int
		if by.rank != nil {
			order = -cmp.Compare(by.rank(m, &a), by.rank(m, &b))
		} else {
			order = strings.Compare(by.text(m, &a), by.text(m, &b))
		}
		if o.inverse {
			order = -order
		}
		return cmp.Or(order, strings.Compare(a.words, b.words))
	})
}

// follow keeps the cursor on what it was on.
func (m *Model) follow() {
	if i := slices.IndexFunc(m.lines, func(l line) bool { return l.id == m.place.cursor }); i >= 0 {
		m.place.index = i
		return
	}
	m.move(0)
}

// move moves the cursor by n lines.
func (m *Model) move(n int) {
	m.place.index = max(0, min(m.place.index+n, len(m.lines)-1))
	if len(m.lines) > 0 {
		m.place.cursor = m.lines[m.place.index].id
	}
}

// body is how many lines of the table there is room for.
func (m *Model) body() int { return max(1, m.height-4) }

// scroll keeps the cursor on the screen.
func (m *Model) scroll() {
	m.first = max(0, min(m.first, len(m.lines)-m.body()))
	m.first = min(m.first, m.place.index)
	m.first = max(m.first, m.place.index-m.body()+1)
}

// key does what a key asks for.
func (m *Model) key(key tea.KeyPressMsg) tea.Cmd {
	m.message = ""
	if key.String() == "ctrl+c" {
		m.stopped = true
		return tea.Quit
	}
	if m.prompt != noPrompt {
		m.typeKey(key)
		return nil
	}
	if m.help {
		m.help = false
		return nil
	}
	cmd := m.command(key.String())
	m.scroll()
	return cmd
}

// command does what a key asks for where nothing is being typed.
func (m *Model) command(key string) tea.Cmd {
	switch key {
	case "q":
		m.stopped = true
		return tea.Quit
	case "up", "k":
		m.move(-1)
	case "down", "j":
		m.move(1)
	case "pgup", "ctrl+b":
		m.move(-m.body())
	case "pgdown", "ctrl+f":
		m.move(m.body())
	case "home", "g":
		m.move(-len(m.lines))
	case "end", "G":
		m.move(len(m.lines))
	case "enter", "right", "l":
		m.enter()
	case "esc", "left", "h", "backspace":
		m.back()
	case "tab":
		m.show((m.place.view + 1) % views)
	case "shift+tab":
		m.show((m.place.view + views - 1) % views)
	case "1", "2", "3", "4", "5":
		m.show(view(key[0] - '1'))
	case "/":
		m.prompt, m.typed = filterPrompt, m.filter
	case "!":
		m.inverse = !m.inverse
		m.refresh()
	case "s", "f6", ">":
		m.sortNext(1)
	case "<":
		m.sortNext(-1)
	case "I", "R":
		m.order[m.place.view].inverse = !m.order[m.place.view].inverse
		m.refresh()
	case "x":
		m.failedOnly = !m.failedOnly
		m.refresh()
	case "space":
		m.paused = !m.paused
	case "d":
		m.prompt, m.typed = intervalPrompt, ""
	case "S":
		return m.save()
	case "e":
		return m.rows()
	case "?", "f1":
		m.help = true
	}
	return nil
}

// show shows another view of the same scope.
func (m *Model) show(v view) {
	m.place.view, m.place.cursor, m.place.index = v, identity{}, 0
	m.refresh()
}

// enter goes into what the cursor is on.
func (m *Model) enter() {
	if m.place.index >= len(m.lines) {
		return
	}
	l := m.lines[m.place.index]
	to := m.place
	to.scope = m.selection(&l)
	switch m.place.view {
	case containers:
		to.view = processes
	case processes:
		to.view = files
	case errorsView:
		to.view = files
		if o := *to.scope.Operation; o != counting.Open {
			to.view = peers
		}
	default:
		m.message = "nothing is below a file or a peer; e shows the calls"
		return
	}
	to.cursor, to.index = identity{}, 0
	m.before = append(m.before, m.place)
	m.place = to
	m.refresh()
}

// back goes back out.
func (m *Model) back() {
	switch n := len(m.before); {
	case n > 0:
		m.place, m.before = m.before[n-1], m.before[:n-1]
	case m.filter != "":
		m.filter = ""
	default:
		return
	}
	m.refresh()
}

// selection returns what a line is about, inside of where the user is.
func (m *Model) selection(l *line) Selection {
	s := m.place.scope
	by := m.place.view.by()
	if by&counting.ByContainer != 0 {
		s.Origin = l.id.cell.Origin
	}
	if by&counting.ByProgram != 0 {
		s.Program = l.id.cell.Program
	}
	if by&counting.ByError != 0 {
		s.Error = l.id.cell.Error
	}
	if by&counting.ByOperation != 0 {
		o := l.id.cell.Operation()
		s.Operation = &o
	}
	return s
}

func (m *Model) sortNext(step int) {
	columns := m.place.view.columns(m)
	var titles []string
	for _, c := range columns {
		if c.width(m) != 0 && !c.still {
			titles = append(titles, c.title)
		}
	}
	o := &m.order[m.place.view]
	o.column = titles[(slices.Index(titles, o.column)+step+len(titles))%len(titles)]
	o.inverse = false
	m.refresh()
}

// typeKey takes a key of what is being typed.
func (m *Model) typeKey(key tea.KeyPressMsg) {
	switch key.String() {
	case "enter":
		if m.prompt == intervalPrompt {
			m.setInterval()
		}
		m.prompt = noPrompt
	case "esc":
		if m.prompt == filterPrompt {
			m.filter = ""
			m.refresh()
		}
		m.prompt = noPrompt
	case "backspace":
		if r := []rune(m.typed); len(r) > 0 {
			m.typed = string(r[:len(r)-1])
		}
		m.applyTyped()
	case "ctrl+u":
		m.typed = ""
		m.applyTyped()
	default:
		m.typed += key.Text
		m.applyTyped()
	}
}

// applyTyped applies what was typed so far.
func (m *Model) applyTyped() {
	if m.prompt == filterPrompt {
		m.filter = m.typed
		m.refresh()
	}
}

func (m *Model) setInterval() {
	seconds, err := strconv.ParseFloat(strings.TrimSuffix(m.typed, "s"), 64)
	if err != nil || !(seconds >= 0.1 && seconds <= 3600) {
		m.message = fmt.Sprintf("%q is not a number of seconds from 0.1 to 3600", m.typed)
		return
	}
	m.cfg.Interval = time.Duration(seconds * float64(time.Second))
}
