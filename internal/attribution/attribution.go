// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package attribution says of each event which container it belongs to, and
// whether it is one of those to be shown. It stands between the tracer, whose
// Sink it is, and the output: above them both and above package container.
//
// The kernel decides as far as it knows the cgroup (bpf.Verdict, kept up to date
// from here); what it does not know passes and is decided here.
package attribution

import (
	"context"
	"time"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/container"
	"github.com/copenclose/copenclose/internal/output"
)

// Config says what is to be known and shown.
type Config struct {
	IgnoreHost bool
	Choose     func(*container.Container) bool // nil to show all
	Names      bool                            // ask the runtimes for names
	Sockets    []string                        // of the runtimes, none for those that are found
	Note       func(string)                    // told what the user should know
}

// Verdicts is what the kernel knows of cgroups; tracer.Tracer has it.
type Verdicts interface {
	SetVerdict(cgroup uint64, v bpf.Verdict)
	ForgetVerdict(cgroup uint64)
	VerdictsComplete()
}

// Attributor is a tracer.Sink.
type Attributor struct {
	cfg      Config
	verdicts Verdicts
	writer   *output.Writer
	registry *container.Registry // nil where nothing asks for containers
	filtered uint64

	// What output says of the containers seen lately.
	origins map[*container.Container]*origin
	latest  *container.Container
	found   *origin
}

// origin is a container as output has it.
type origin struct {
	output.Container
	chosen bool
}

// originsMax bounds the containers that are remembered; each time more becomes
// known of one it is another.
const originsMax = 4096

// namesTimeout bounds how long the start waits for the names to choose by.
const namesTimeout = 2 * time.Second

// New makes an Attributor that knows no containers and shows all events.
func New(v Verdicts, w *output.Writer) *Attributor {
	return &Attributor{verdicts: v, writer: w}
}

// Attribute has it find containers. It returns when every cgroup that exists is
// known, and the kernel knows of each whose it is, and where containers are
// chosen when the runtimes have told their names, or had time to. Where that fails, the host is
// the initial PID namespace alone.
func (a *Attributor) Attribute(cfg Config) error {
	a.cfg = cfg
	a.origins = make(map[*container.Container]*origin)
	registry, err := container.New(container.Config{
		Sockets: cfg.Sockets,
		NoNames: !cfg.Names,
		Note:    cfg.Note,
		Changed: a.tell,
	})
	if err != nil {
		return err
	}
	a.registry = registry
	if cfg.Names && cfg.Choose != nil {
		// What a container does before its name is known is not shown. A runtime
		// that does not answer says so by itself.
		ctx, cancel := context.WithTimeout(context.Background(), namesTimeout)
		defer cancel()
		_ = registry.Settle(ctx)
	}
	if warning := registry.Warning(); warning != nil {
		cfg.Note(warning.Error())
		return nil
	}
	a.verdicts.VerdictsComplete()
	return nil
}

// Close ends finding containers.
func (a *Attributor) Close() {
	if a.registry != nil {
		a.registry.Close()
	}
}

// Filtered is how many events were left out here.
func (a *Attributor) Filtered() uint64 { return a.filtered }

// tell tells the kernel of a cgroup, unless the name that decides may still come.
func (a *Attributor) tell(cgroup uint64, c *container.Container) {
	if !a.cfg.IgnoreHost && a.cfg.Choose == nil {
		return
	}
	verdict := bpf.Host
	switch {
	case c == nil:
	case a.cfg.Choose != nil && a.cfg.Choose(c):
		verdict = bpf.Chosen
	case a.cfg.Choose != nil && c.Name == "":
		return
	default:
		verdict = bpf.Container
	}
	// What the kernel has no room for it does not know, and is decided here.
	a.verdicts.SetVerdict(cgroup, verdict)
}

// Cgroup takes news of a cgroup.
func (a *Attributor) Cgroup(r *bpf.Record) {
	if a.registry == nil {
		return
	}
	if r.Removed() {
		a.registry.Removed(r.CgroupID)
		a.verdicts.ForgetVerdict(r.CgroupID)
		return
	}
	path := string(r.Name())
	if len(path) >= pathMax {
		path = "" // cut, so that the registry looks for it
	}
	a.registry.Made(r.CgroupID, path)
	if c, known := a.registry.Lookup(r.CgroupID); known {
		a.tell(r.CgroupID, c)
	}
}

const pathMax = 4095

// Event writes an event, if it is to be shown.
func (a *Attributor) Event(r *bpf.Record) error {
	if a.registry == nil {
		return a.writer.Event(r, nil, nil)
	}
	c, known := a.registry.Lookup(r.CgroupID)
	if a.cfg.IgnoreHost && r.InInitialPIDNS && known && c == nil {
		a.filtered++
		return nil
	}
	if a.cfg.Choose != nil && !a.origin(c).chosen {
		a.filtered++
		return nil
	}
	var peer *output.Container
	if r.Details != nil && r.Details.PeerCgroup != 0 {
		peer = a.shown(a.registry.Lookup(r.Details.PeerCgroup))
	}
	return a.writer.Event(r, a.shown(c, known), peer)
}

// shown is what is shown of what Lookup found: nil for the host.
func (a *Attributor) shown(c *container.Container, known bool) *output.Container {
	switch {
	case !known:
		return &output.Unknown
	case c == nil:
		return nil
	}
	return &a.origin(c).Container
}

// Flush writes what was appended.
func (a *Attributor) Flush() error { return a.writer.Flush() }

func (a *Attributor) origin(c *container.Container) *origin {
	if c == a.latest && a.found != nil {
		return a.found
	}
	o, ok := a.origins[c]
	if !ok {
		if len(a.origins) >= originsMax {
			clear(a.origins)
		}
		o = a.newOrigin(c)
		a.origins[c] = o
	}
	a.latest, a.found = c, o
	return o
}

func (a *Attributor) newOrigin(c *container.Container) *origin {
	o := &origin{chosen: a.cfg.Choose != nil && a.cfg.Choose(c)}
	if c != nil {
		o.Container = output.Container{
			Label: c.Label(), ID: c.ID, Name: c.Name, Image: c.Image, Runtime: c.Runtime,
			Pod: c.Pod, PodUID: c.PodUID, Namespace: c.Namespace,
		}
	}
	return o
}
