// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"math"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/internal/stream"
)

// A Screen is a terminal.
type Screen interface {
	// Size returns how many columns and lines it has now; 0 if that is not known.
	Size() (columns, lines int)
}

type terminal int

// ScreenOf returns the terminal that f is, or nil.
func ScreenOf(f *os.File) Screen {
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil {
		return nil
	}
	return terminal(f.Fd())
}

func (t terminal) Size() (columns, lines int) {
	size, err := unix.IoctlGetWinsize(int(t), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return int(size.Col), int(size.Row)
}

// ColorWhen says when there is colour.
type ColorWhen string

// The values of ColorWhen.
const (
	ColorAuto   ColorWhen = "auto" // on a terminal, unless NO_COLOR or TERM=dumb
	ColorAlways ColorWhen = "always"
	ColorNever  ColorWhen = "never"
)

// Colors reports whether there is colour on screen, nil for none. See no-color.org for
// NO_COLOR.
func (w ColorWhen) Colors(screen Screen, getenv func(string) string) bool {
	if w == ColorAuto {
		return screen != nil && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
	}
	return w == ColorAlways
}

// IsUnicode reports whether the locale has UTF-8; locale(7).
func IsUnicode(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := getenv(name); locale != "" {
			_, charset, _ := strings.Cut(strings.ToLower(locale), ".")
			charset, _, _ = strings.Cut(charset, "@")
			return charset == "utf-8" || charset == "utf8"
		}
	}
	return false
}

// WriteTo sets what depends on where the lines are written to.
func (o *Options) WriteTo(f *os.File, color ColorWhen, getenv func(string) string) {
	o.Screen = ScreenOf(f)
	o.Color = color.Colors(o.Screen, getenv)
	o.Unicode = IsUnicode(getenv)
}

// How many columns a screen has from which on it has room for more.
const (
	roomForPaths = 120 // both ends of sockets, whole names of threads, milliseconds
	roomForUsers = 140 // UID and GID
)

// leastRoom is how much of DETAIL is there on a screen without room for it.
const leastRoom = 10

func isNarrow(width int) bool { return width > 0 && width < roomForPaths }

// fit returns the columns for a screen that is so wide, 0 for any.
func fit(columns []string, width int) []string {
	return slices.DeleteFunc(columns, func(name string) bool {
		switch name {
		case "hostname", "cgroupid": // CONTAINER is beside it
			return name == "hostname" && width > 0
		case "uid", "gid":
			return width > 0 && width < roomForUsers
		}
		return false
	})
}

// fitColumn changes a column for a screen that is so wide. Names are cut. A number, a
// call or an errno that is wider than its column takes room from DETAIL in its row only.
func fitColumn(c *column, field string, width int) {
	narrow := isNarrow(width)
	switch field {
	case "container":
		c.cuts, c.max = true, min(width/5+1, widthMax)
		if narrow {
			c.width, c.max = 14, 14
		}
	case "comm":
		if c.cuts = true; narrow {
			c.width = 9
		}
		c.max = c.width
	case "fd", "ret", "syscall":
		if narrow {
			c.width = narrowWidths[field]
		}
		c.max = c.width
	}
}

var narrowWidths = map[string]int{"fd": 3, "ret": 6, "syscall": 7}

// pages is a format on a screen: it fits the width, and the header is there again on
// each page.
type pages struct {
	*rows
	options *Options
	kind    *registered
	columns int // of the screen, for which rows are
	left    int // lines until the next header; below 0, there is none
}

// newPages returns the format of a kind for o.Screen.
func newPages(o *Options, kind *registered) (*pages, stream.Needs, error) {
	p := &pages{options: o, kind: kind}
	needs, err := p.resize()
	if err != nil {
		return nil, needs, err
	}
	// On another screen there can be all columns.
	all := *o
	all.Screen = nil
	_, needs, err = all.build()
	return p, needs, err
}

// resize makes the rows fit the screen.
func (p *pages) resize() (needs stream.Needs, err error) {
	columns, _ := p.options.Screen.Size()
	if columns == p.columns && p.rows != nil {
		return needs, nil
	}
	o := *p.options
	if p.kind.fits && areChanges(o.Columns) {
		o.width = columns
	}
	p.columns, p.left = columns, 0
	p.rows, needs, err = o.rows(p.kind)
	return needs, err
}

// header: see format.
func (p *pages) header(b []byte) []byte {
	p.left = math.MaxInt
	if _, lines := p.options.Screen.Size(); lines > 2 {
		p.left = lines - 2 // the header itself, and where the cursor is
	}
	return p.rows.header(b)
}

// begin: see format.
func (p *pages) begin(b []byte) []byte {
	_, _ = p.resize() // o.rows found no error before
	b = p.rows.begin(b)
	if !p.isFull() {
		return b
	}
	return p.header(b)
}

// event: see format.
func (p *pages) event(b []byte, e *stream.Event) []byte {
	p.left--
	return p.rows.event(b, e)
}

// isFull reports whether the next event begins a page, in an empty buffer.
func (p *pages) isFull() bool { return p.left <= 0 && !p.options.NoHeader }
