// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// A monitor is the process that the user starts as copenclose top. It starts another one
// that traces and draws, and that gives up what every trace gives up, and waits. What the
// screen's keys ask for beyond that, the monitor does: it runs a trace that is no wider
// than the screen's own, and it writes a file that was not there. When the other process
// has ended in whatever way, SIGKILL among them, the terminal is as it was.
type monitor struct {
	tool  *tool
	trace []setting // of a trace that shows all that the screen counts
	wire  *os.File  // to and from the process that draws
	draws bool      // that process has the terminal

	lock sync.Mutex
	rows *os.Process // shows rows, nil for none
	ends bool        // a signal has asked for an end
}

// screenWord is the hidden first word of the process that a monitor starts.
const screenWord = "__screen"

// setting is a flag and its value, nil if it has none.
type setting struct {
	name  string
	value *string
}

func (o *setting) String() string {
	if o.value == nil {
		return "--" + o.name
	}
	return "--" + o.name + "=" + *o.value
}

// order is what a monitor can be asked for: one of these.
type order struct {
	Rows map[string]string `json:",omitempty"` // show rows of what these options leave
	Save []byte            `json:",omitempty"` // write this to a new file
	Draw *bool             `json:",omitempty"` // it has the terminal from now on, or not any more
}

// answer is that of a monitor.
type answer struct {
	Saved string `json:",omitempty"` // the file's name
	Error string `json:",omitempty"`
}

const (
	// savedMax bounds what one key writes.
	savedMax = 16 << 20
	// saidMax bounds what is kept of what the other process says on stderr.
	saidMax = 64 << 10
)

// narrowing are the options that an order for rows can have.
var narrowing = map[string]bool{"container": true, "comm": true, "syscall": true, "errno": true, "failed": true}

// passedOn returns the options of c that a trace takes, too, and means the same by.
func passedOn(c *cli.Context) (settings []setting) {
	for _, f := range c.Command.Flags {
		name := f.Names()[0]
		switch f.(cli.CategorizableFlag).GetCategory() {
		case "How to show it", "What to show":
			continue
		}
		if !c.IsSet(name) || name == "help" || name == "ready-file" {
			continue
		}
		one := setting{name: name}
		if s := setterOf(f); s != nil {
			value := s.String()
			one.value = &value
		}
		settings = append(settings, one)
	}
	return settings
}

// monitorScreen is a monitor until the screen has ended.
func (t *tool) monitorScreen(trace []setting) error {
	before, err := unix.IoctlGetTermios(int(t.stdout.Fd()), unix.TCGETS)
	if err != nil {
		return fmt.Errorf("read the terminal's settings: %w", err)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket pair: %w", err)
	}
	m := &monitor{tool: t, trace: trace, wire: os.NewFile(uintptr(fds[0]), "screen")}
	theirs := os.NewFile(uintptr(fds[1]), "monitor")
	var said tail
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = append([]string{"copenclose", screenWord}, t.words...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, t.stdout, &said
	cmd.ExtraFiles = []*os.File{theirs}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the process that draws: %w", err)
	}
	theirs.Close()
	go func() {
		for s := range signals {
			m.signal(s)
		}
	}()
	m.serve()
	_ = cmd.Wait() // what it says is in its state
	if m.draws {
		restore(t.stdout, before)
	}
	_, _ = t.stderr.Write(said.text())
	switch ws := cmd.ProcessState.Sys().(syscall.WaitStatus); {
	case ws.Signaled() && ws.Signal() != unix.SIGINT:
		return fmt.Errorf("what drew the screen ended: %s", cmd.ProcessState)
	case ws.Signaled():
		return &exitError{status: 128 + int(ws.Signal())}
	case ws.ExitStatus() != 0:
		return &exitError{status: ws.ExitStatus()}
	}
	return nil
}

// signal ends the screen. While rows are shown, Ctrl-C and Ctrl-\ are for what shows
// them.
func (m *monitor) signal(s os.Signal) {
	m.lock.Lock()
	defer m.lock.Unlock()
	if m.rows != nil {
		if s == unix.SIGINT || s == unix.SIGQUIT {
			return
		}
		_ = m.rows.Signal(unix.SIGTERM)
	}
	m.ends = true
	_ = unix.Shutdown(int(m.wire.Fd()), unix.SHUT_WR)
}

// serve does what it is asked for until the other process has ended, or says what is no
// order.
func (m *monitor) serve() {
	defer m.wire.Close()
	in := json.NewDecoder(m.wire)
	for {
		var o order
		if in.Decode(&o) != nil {
			return
		}
		if o.Draw != nil {
			m.draws = *o.Draw
			continue
		}
		var a answer
		var err error
		if o.Save != nil {
			a.Saved, err = save(o.Save, time.Now())
		} else {
			err = m.showRows(o.Rows)
		}
		if err != nil {
			a.Error = err.Error()
		}
		_ = json.NewEncoder(m.wire).Encode(&a) // nobody reads it if it is to end
	}
}

// showRows runs a trace until it ends: by Ctrl-C.
func (m *monitor) showRows(narrower map[string]string) error {
	args := []string{"-o", "wide"}
	for _, o := range m.trace {
		if _, ok := narrower[o.name]; !ok {
			args = append(args, o.String())
		}
	}
	for name, value := range narrower {
		if !narrowing[name] {
			return fmt.Errorf("rows cannot be narrowed by --%s", name)
		}
		o := setting{name: name, value: &value}
		if name == "failed" {
			o.value = nil
		}
		args = append(args, o.String())
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = "copenclose"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, m.tool.stdout, m.tool.stderr
	if err := m.startRows(cmd); err != nil {
		return err
	}
	err := cmd.Wait()
	m.lock.Lock()
	defer m.lock.Unlock()
	m.rows = nil
	return err
}

func (m *monitor) startRows(cmd *exec.Cmd) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	if m.ends {
		return errors.New("it is to end")
	}
	fmt.Fprintln(m.tool.stderr, "copenclose: Ctrl-C goes back to the screen")
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("show rows: %w", err)
	}
	m.rows = cmd.Process
	return nil
}

// save writes text to a file that is not there yet, because this may run as root in a
// directory of others, and returns the file's name.
func save(text []byte, now time.Time) (name string, err error) {
	if len(text) > savedMax {
		return "", fmt.Errorf("save the table: it has more than %d MiB", savedMax>>20)
	}
	name = "copenclose-top-" + now.Format("20060102T150405.000") + ".json"
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", fmt.Errorf("save the table: %w", err)
	}
	_, err = f.Write(text)
	return name, errors.Join(err, f.Close())
}

// restore gives the terminal the settings that it had, and leaves the screen of what drew
// there, and its modes.
func restore(terminal *os.File, settings *unix.Termios) {
	_ = unix.IoctlSetTermios(int(terminal.Fd()), unix.TCSETSW, settings)
	_, _ = io.WriteString(terminal, ansi.ResetModeSynchronizedOutput+ansi.ResetModeBracketedPaste+ansi.ResetModifyOtherKeys+
		ansi.PopKittyKeyboard(1)+ansi.ResetModeAltScreenSaveCursor+ansi.ResetModeTextCursorEnable+ansi.SetModeTextCursorEnable+ansi.ResetStyle)
}

// tail keeps the end of what is written to it.
type tail struct {
	kept bytes.Buffer
	cut  bool
}

func (t *tail) Write(text []byte) (int, error) {
	t.kept.Write(text)
	if over := t.kept.Len() - saidMax; over > 0 {
		t.kept.Next(over)
		t.cut = true
	}
	return len(text), nil
}

func (t *tail) text() []byte {
	if t.cut {
		return append([]byte("...\n"), t.kept.Bytes()...)
	}
	return t.kept.Bytes()
}

// monitored is the monitor as the process sees it that draws.
type monitored struct {
	wire    *os.File
	answers chan answer
}

// beMonitored returns the wire to the monitor, and gives this process the name that one
// has: it was run as /proc/self/exe, which is there also if copenclose was replaced.
func beMonitored() (wire *os.File) {
	_ = os.WriteFile("/proc/self/comm", []byte("copenclose"), 0)
	return os.NewFile(3, "monitor")
}

// serveMonitored calls end when the monitor has ended.
func serveMonitored(wire *os.File, end context.CancelFunc) *monitored {
	m := &monitored{wire: wire, answers: make(chan answer)}
	go func() {
		defer end()
		defer close(m.answers)
		in := json.NewDecoder(wire)
		for {
			var a answer
			if in.Decode(&a) != nil {
				return
			}
			m.answers <- a
		}
	}()
	return m
}

func (m *monitored) ask(o order) (answer, error) {
	if err := json.NewEncoder(m.wire).Encode(&o); err != nil {
		return answer{}, fmt.Errorf("write to the monitor: %w", err)
	}
	a, ok := <-m.answers
	switch {
	case !ok:
		return a, errors.New("the monitor has ended")
	case a.Error != "":
		return a, errors.New(a.Error)
	}
	return a, nil
}

// showRows returns when the user has seen enough of them.
func (m *monitored) showRows(narrower map[string]string) error {
	_, err := m.ask(order{Rows: narrower})
	return err
}

// save returns the name of the file that has text now.
func (m *monitored) save(text []byte) (name string, err error) {
	a, err := m.ask(order{Save: text})
	return a.Saved, err
}

// draw says whether this process has the terminal.
func (m *monitored) draw(on bool) error {
	if err := json.NewEncoder(m.wire).Encode(&order{Draw: &on}); err != nil {
		return fmt.Errorf("write to the monitor: %w", err)
	}
	return nil
}
