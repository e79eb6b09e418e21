// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package top is the live full-screen view of what is counted.
//
//	Feed -> Model.Update (a frame each interval, keys) -> rows -> Model.View (lines of text)
//
// The model is all that the screen shows; the terminal, its modes and its end are
// bubbletea's.
package top

import (
	"context"
	"errors"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/copenclose/copenclose/internal/counting"
)

// A Feed gives what was counted. Its methods are called by one goroutine at a time.
type Feed interface {
	// Next returns what was counted since it was called last.
	Next() (*counting.Snapshot, error)
	// Rows returns rows of a snapshot, see counting.Snapshot.Rows; without targets if
	// the number of those is 0.
	Rows(s *counting.Snapshot, by counting.Dimensions, want func(*counting.Cell) bool, targets int) []counting.Row
}

// Config says what is shown, and how.
type Config struct {
	Feed     Feed
	Interval time.Duration
	Host     string // where this is
	Latency  bool   // the feed has latencies
	UTF8     bool   // the terminal shows UTF-8
	// Rows returns what shows the calls of a selection one by one, in the terminal and
	// until the user has seen enough, and why these are more; nil if there is no way to.
	Rows func(Selection) (show func() error, wider string)
	// Save writes text to a new file and returns that one's name.
	Save func(text []byte) (name string, err error)
	Now  func() time.Time
}

// A Selection is what the cursor is on.
type Selection struct {
	Origin    *counting.Origin  // nil for all
	Program   *counting.Program // nil for all
	Operation *counting.Operation
	Error     uint16 // 0 for all
	Failed    bool   // only what failed
}

// Run shows the screen until the user quits or ctx is done. The terminal is then as it
// was, whatever happened.
func Run(ctx context.Context, cfg Config, options ...tea.ProgramOption) error {
	m := newModel(cfg)
	_, err := tea.NewProgram(m, append(options, tea.WithContext(ctx))...).Run()
	switch {
	case errors.Is(err, tea.ErrInterrupted), ctx.Err() != nil && errors.Is(err, tea.ErrProgramKilled) && !errors.Is(err, tea.ErrProgramPanic):
		err = nil
	}
	return errors.Join(err, m.failed)
}
