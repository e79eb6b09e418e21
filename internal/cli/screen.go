// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/internal/counting"
	"github.com/copenclose/copenclose/internal/names"
	"github.com/copenclose/copenclose/internal/output"
	"github.com/copenclose/copenclose/internal/top"
)

// framesPerSecond is how often bubbletea looks whether there is something to draw: often
// enough for keys, and seldom enough to cost nothing.
const framesPerSecond = 15

// topScreen shows the screen until the user quits. It takes two processes, because what
// the keys e and S do needs what a tracer gives up, see monitor.
func (t *tool) topScreen(c *cli.Context, o *Options, only *topOptions) error {
	if output.ScreenOf(t.stdout) == nil || output.ScreenOf(os.Stdin) == nil || os.Getenv("TERM") == "" || os.Getenv("TERM") == "dumb" {
		return usagef("top needs a terminal; --batch prints tables")
	}
	if t.monitored == nil {
		return t.monitorScreen(passedOn(c))
	}
	return t.drawScreen(c.Context, o, only)
}

// drawScreen traces and draws, in the process that a monitor started.
func (t *tool) drawScreen(ctx context.Context, o *Options, only *topOptions) error {
	feed, err := t.startFeed(o, only)
	defer feed.session.close()
	if err != nil {
		return err
	}
	// The monitor takes these, and ends this process by the end of the wire.
	signal.Ignore(unix.SIGHUP, unix.SIGQUIT)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := serveMonitored(t.monitored, cancel)
	ended := make(chan error, 1)
	go func() {
		ended <- feed.session.run(ctx)
		cancel()
	}()
	if err := m.draw(true); err != nil {
		cancel()
		return errors.Join(err, <-ended)
	}
	host, _ := os.Hostname() // an empty one is shown as such
	err = top.Run(ctx, top.Config{
		Feed: feed, Interval: time.Duration(only.interval), Host: host, Latency: only.rows.latency, UTF8: output.IsUnicode(os.Getenv), Now: time.Now,
		Rows: func(s top.Selection) (func() error, string) {
			narrower, wider := narrow(s)
			if narrower == nil {
				return nil, wider
			}
			return func() error { return m.showRows(narrower) }, wider
		},
		Save: m.save,
	}, tea.WithInput(os.Stdin), tea.WithOutput(t.stdout), tea.WithColorProfile(t.profile()), tea.WithFPS(framesPerSecond))
	cancel()
	return errors.Join(err, notEnough(<-ended), m.draw(false))
}

// profile returns the 16 colours that the screen has, or none. bubbletea itself would
// run tmux to find out how many there are.
func (t *tool) profile() colorprofile.Profile {
	if output.ColorAuto.Colors(output.ScreenOf(t.stdout), os.Getenv) {
		return colorprofile.ANSI
	}
	return colorprofile.ASCII
}

// narrow returns options with which a trace shows the calls of a selection, and why
// these are more than that; nil if no options do.
func narrow(s top.Selection) (narrower map[string]string, wider string) {
	narrower = make(map[string]string)
	switch s.Origin {
	case nil:
	case counting.Host:
		narrower["container"] = "!*"
	case counting.Unknown, counting.Rest:
		return nil, "no filter has the calls of containers that are not known"
	default:
		narrower["container"] = s.Origin.Container().ID
	}
	if s.Program != nil {
		// There is no filter of executables. A thread begins with the name of its own.
		name := path.Base(s.Program.Path)
		if name = name[:min(len(name), 15)]; path.IsAbs(s.Program.Path) && name != "/" && utf8.ValidString(name) && !strings.ContainsAny(name, ",! ") {
			narrower["comm"] = name
			wider = "these were all threads called " + name
		} else {
			wider = "these were calls of all programs"
		}
	}
	if s.Operation != nil {
		narrower["syscall"] = s.Operation.String()
	}
	if s.Error != 0 {
		narrower["errno"] = names.Error(-int32(s.Error))
	}
	if s.Failed {
		narrower["failed"] = ""
	}
	return narrower, wider
}
