// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/copenclose/copenclose/internal/stack"
)

// IsNotable reports whether a suspect is shown when not all are.
func (s *Suspect) IsNotable() bool {
	return s.Verdict == Grows || s.Verdict == Full || s.Verdict == Pool || s.Verdict == TooEarly && s.Open() > s.Counts[0]
}

// Made is the call that made most of those that appeared, "" if none did.
func (s *Series) Made() (call string) {
	for by, n := range s.By {
		if n > s.By[call] || n == s.By[call] && by < call {
			call = by
		}
	}
	return call
}

// What says what the series is of: tcp 10.0.0.7:5432, CLOSE_WAIT.
func (s *Series) What() string {
	g := Group{Kind: s.Kind, Target: s.Target, State: s.State}
	return g.What()
}

// roughly returns a time in one unit, as coarse as people say it.
func roughly(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d us", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f d", d.Hours()/24)
}

// sitesShown is how many sites of what grows are shown.
const sitesShown = 3

// sites are lines that say where in its program what is open was made.
func (s *Series) sites() (lines []string) {
	sites := s.Sites()
	for _, site := range sites[:min(len(sites), sitesShown)] {
		lines = append(lines, fmt.Sprintf("    %d of %d by %s, at %s:", site.here[s], site.Noted, site.Call, site.At()))
		lines = append(lines, frameLines(site.Stack)...)
	}
	if more := len(sites) - sitesShown; more > 0 {
		lines = append(lines, fmt.Sprintf("    and at %d other places", more))
	}
	return lines
}

// frameLines are the frames of a stack, with a ? where one need not be there, and ... where
// more are missing.
func frameLines(s *stack.Stack) (lines []string) {
	width := 0
	for i := range s.Frames {
		width = max(width, utf8.RuneCountInString(frameAddress(&s.Frames[i])))
	}
	for i := range s.Frames {
		f := &s.Frames[i]
		name := escaped([]byte(f.Function))
		switch {
		case name == "" && f.BuildID != "":
			name = "(build id " + f.BuildID + ")"
		case f.Line > 0:
			name += fmt.Sprintf(" %s:%d", escaped([]byte(f.File)), f.Line)
		}
		mark := " "
		if f.IsGuess {
			mark = "?"
		}
		address := frameAddress(f)
		pad := strings.Repeat(" ", width-utf8.RuneCountInString(address))
		lines = append(lines, strings.TrimRight(fmt.Sprintf("      %s %s%s  %s", mark, address, pad, name), " "))
	}
	if !s.IsWhole {
		lines = append(lines, "        ...")
	}
	return lines
}

// WriteSuspects writes a table of suspects, with all also of those that are steady.
func WriteSuspects(out io.Writer, suspects []*Suspect, all bool) error {
	t := newTable("VERDICT", "CONTAINER", "PID", "COMM", ">OPEN", ">+/MIN", "?>OPENED/MIN", "?>LIVED", ">OLDEST", ">FDS", ">LIMIT", "?>FULL IN", "?>REFUSED", "?BY", "BECAUSE", "WHAT")
	hidden := 0
	for _, s := range suspects {
		if !all && !s.IsNotable() {
			hidden++
			continue
		}
		fullIn, opened, lived, oldest, refused := "", "", "", "", ""
		if s.Closed > 0 {
			lived = roughly(s.Lived)
		}
		if s.Refused > 0 {
			refused = number(s.Refused)
		}
		if s.FullIn > 0 && s.Verdict == Grows {
			fullIn = roughly(s.FullIn)
		}
		if s.Opened > 0 {
			opened = fmt.Sprintf("%.1f", s.Opened)
		}
		if s.Oldest != nil {
			oldest = string(s.AgeBound) + roughly(s.Age)
		}
		t.add(string(s.Verdict), label(s.Table.Container, s.Table.IsKnown), number(s.Table.PID), escaped(s.Table.Comm()),
			number(s.Open()), fmt.Sprintf("%+.1f", s.PerMinute), opened, lived, oldest, number(len(s.Table.Descriptors)),
			limitText(s.Table.Limit), fullIn, refused, s.Made(), s.Reason, s.What())
		t.addBelow(s.sites()...)
	}
	if len(t.rows) > 0 {
		if err := t.write(out); err != nil {
			return err
		}
	}
	if hidden == 0 {
		return nil
	}
	what := "%d kinds of descriptors are steady\n"
	if len(t.rows) > 0 {
		what = "%d other kinds of descriptors are steady\n"
	}
	_, err := fmt.Fprintf(out, what, hidden)
	return err
}

// WriteSuspectsJSON writes an object for each suspect, with all also for those that are
// steady.
func WriteSuspectsJSON(out io.Writer, at time.Time, suspects []*Suspect, all bool) error {
	return encode(out, func(encode func(any) error) error {
		for _, s := range suspects {
			if !all && !s.IsNotable() {
				continue
			}
			if err := encode(s.json(at)); err != nil {
				return err
			}
		}
		return nil
	})
}

type suspectJSON struct {
	Time string `json:"time"`
	processJSON
	Verdict  Verdict        `json:"verdict"`
	Reason   string         `json:"reason"`
	Kind     string         `json:"kind"`
	Target   string         `json:"target,omitempty"`
	State    string         `json:"state,omitempty"`
	Open     int            `json:"open"`
	Counts   []int          `json:"counts"`
	Growth   float64        `json:"growth_per_minute"`
	Opened   float64        `json:"opened_per_minute"`
	Closed   uint64         `json:"closed,omitempty"`
	Lived    int64          `json:"closed_lived_ns,omitempty"`
	Longest  int64          `json:"closed_lived_longest_ns,omitempty"`
	Refused  uint64         `json:"refused,omitempty"`
	Ended    bool           `json:"ended,omitempty"`
	Appeared int            `json:"appeared"`
	Gone     int            `json:"gone"`
	By       map[string]int `json:"by,omitempty"`
	Oldest   int64          `json:"oldest_ns,omitempty"`
	Bound    string         `json:"oldest_is,omitempty"`
	FDs      int            `json:"fds"`
	Limit    *uint64        `json:"limit"`
	FullIn   float64        `json:"full_in_seconds,omitempty"`
	Sites    []siteJSON     `json:"sites,omitempty"`
}

// siteJSON is where in a program descriptors are made.
type siteJSON struct {
	Call       string      `json:"call"`
	At         string      `json:"at,omitempty"`
	Open       int         `json:"open"`
	Noted      int         `json:"noted"`
	Frames     []frameJSON `json:"frames"` // the innermost first
	IsComplete bool        `json:"complete"`
}

type frameJSON struct {
	Module   string `json:"module,omitempty"`
	Offset   uint64 `json:"offset"`
	BuildID  string `json:"build_id,omitempty"`
	Function string `json:"function,omitempty"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	IsGuess  bool   `json:"guess,omitempty"`
}

// sitesWritten is how many sites of what grows are written in JSON.
const sitesWritten = 16

func (s *Series) sitesJSON() (list []siteJSON) {
	sites := s.Sites()
	for _, site := range sites[:min(len(sites), sitesWritten)] {
		j := siteJSON{Call: site.Call, At: site.At(), Open: site.here[s], Noted: site.Noted, Frames: []frameJSON{}, IsComplete: site.Stack.IsWhole}
		for i := range site.Stack.Frames {
			f := &site.Stack.Frames[i]
			j.Frames = append(j.Frames, frameJSON{escaped([]byte(f.Module)), f.Offset, f.BuildID, escaped([]byte(f.Function)), escaped([]byte(f.File)), f.Line, f.IsGuess})
		}
		list = append(list, j)
	}
	return list
}

func (s *Suspect) json(at time.Time) *suspectJSON {
	j := &suspectJSON{
		Time: at.UTC().Format(time.RFC3339Nano), processJSON: processOf(s.Table), Verdict: s.Verdict, Reason: s.Reason,
		Kind: s.Kind, Target: s.Target, State: s.State, Open: s.Open(), Counts: s.Counts, Growth: s.PerMinute,
		Opened: s.Opened, Closed: s.Closed, Lived: int64(s.Lived), Longest: int64(s.Longest), Refused: s.Refused, Ended: s.HasEnded, Appeared: s.Appeared, Gone: s.Gone, By: s.By, FDs: len(s.Table.Descriptors),
		Limit: limitOf(s.Table.Limit), FullIn: s.FullIn.Seconds(), Sites: s.sitesJSON(),
	}
	if s.Oldest != nil {
		j.Oldest = int64(s.Age)
		j.Bound = boundNames[s.AgeBound]
	}
	return j
}
