// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package top

import (
	"bytes"
	"io"

	tea "charm.land/bubbletea/v2"

	"github.com/copenclose/copenclose/internal/counting"
)

// dimensions returns those of a view in the order of their columns.
func (v view) dimensions() (by []counting.Dimensions) {
	for d := counting.ByContainer; d <= counting.ByPeer; d <<= 1 {
		if v.by()&d != 0 {
			by = append(by, d)
		}
	}
	return by
}

// savedMsg is what became of a table that was to be saved.
type savedMsg struct {
	name string
	err  error
}

// save writes what the screen shows to a new file.
func (m *Model) save() tea.Cmd {
	if m.frame == nil {
		return nil
	}
	r := counting.Report{By: m.place.view.dimensions(), Latency: m.cfg.Latency, Time: m.frame.Time, Seconds: m.frame.Seconds, Account: m.frame.Account}
	for i := range m.lines {
		r.Rows = append(r.Rows, m.lines[i].row)
	}
	var text bytes.Buffer
	if err := r.WriteJSON(&text); err != nil {
		m.message = err.Error()
		return nil
	}
	return func() tea.Msg {
		name, err := m.cfg.Save(text.Bytes())
		return savedMsg{name, err}
	}
}

// rowsEndedMsg says that the user has seen enough rows.
type rowsEndedMsg struct{ err error }

// rows leaves the terminal to what shows the calls of a selection one by one.
func (m *Model) rows() tea.Cmd {
	s := m.place.scope
	if m.place.index < len(m.lines) {
		s = m.selection(&m.lines[m.place.index])
	}
	s.Failed = m.failedOnly
	show, wider := m.cfg.Rows(s)
	m.message = wider
	if show == nil {
		return nil
	}
	return tea.Exec(inTerminal(show), func(err error) tea.Msg { return rowsEndedMsg{err} })
}

// inTerminal is a tea.ExecCommand that finds the terminal by itself.
type inTerminal func() error

func (show inTerminal) Run() error     { return show() }
func (inTerminal) SetStdin(io.Reader)  {}
func (inTerminal) SetStdout(io.Writer) {}
func (inTerminal) SetStderr(io.Writer) {}
