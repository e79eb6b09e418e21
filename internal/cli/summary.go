// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/copenclose/copenclose/internal/stream"
)

// summary says what became of every call that was traced.
type summary struct {
	Shown       uint64 `json:"shown"`
	Filtered    uint64 `json:"filtered"`
	Lost        uint64 `json:"lost"`
	Limited     uint64 `json:"over_rate"`
	Missed      uint64 `json:"missed_at_most"`
	NotFollowed uint64 `json:"processes_not_followed"`
	Unwritten   uint64 `json:"unwritten"` // recorded, but their lines could not be written
	// What Lost and Limited are of, most first.
	ByContainer []dropped `json:"by_container,omitempty"`
}

func newSummary(shown uint64, counts stream.Counts, unwritten uint64) summary {
	return summary{
		Shown: shown, Filtered: counts.Filtered, Lost: counts.Lost, Limited: counts.Limited,
		Missed: counts.Missed, NotFollowed: counts.Unfollowed, Unwritten: unwritten,
	}
}

// String returns the summary for people.
func (s summary) String() string {
	events := "events"
	if s.Shown == 1 {
		events = "event"
	}
	text := fmt.Sprintf("%d %s shown, %d filtered, %d lost", s.Shown, events, s.Filtered, s.Lost)
	if s.Limited > 0 {
		text += fmt.Sprintf(", %d over the rate", s.Limited)
	}
	if s.Missed > 0 {
		text += fmt.Sprintf(", at most %d missed", s.Missed)
	}
	if s.NotFollowed > 0 {
		text += fmt.Sprintf(", %d processes not followed", s.NotFollowed)
	}
	if s.Unwritten > 0 {
		text += fmt.Sprintf(", %d recorded but not written", s.Unwritten)
	}
	return text
}

// summaryFile is where the summary is written for programs, nil for nowhere. It is
// opened before the trace, while the tool may open files.
type summaryFile struct{ *os.File }

func createSummary(path string) (summaryFile, error) {
	if path == "" {
		return summaryFile{}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return summaryFile{}, usagef("--summary-json: %w", err)
	}
	return summaryFile{f}, nil
}

// write writes the summary as an object, and closes the file.
func (f summaryFile) write(s summary) error {
	if f.File == nil {
		return nil
	}
	err := json.NewEncoder(f).Encode(s)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	return nil
}
