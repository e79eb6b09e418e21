// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"io"
	"slices"
	"strings"

	"github.com/copenclose/copenclose/internal/stream"
)

// containerField is one fact of a container.
type containerField struct {
	name, about string
	ofEvent     bool // events have it, too
	kind        Kind
	value       func(*stream.Container) Value
	// cell is what a table has instead, if the value is not for people.
	cell func(*stream.Container) Value
	// onlyObject says that the table has it in another column, or does not have it.
	onlyObject bool
}

// containerFields has every field of a container, in the order of JSON's keys.
var containerFields = []containerField{
	{name: "id", about: "64 hex digits, or the name where the runtime gives no id", kind: Text, ofEvent: true,
		value: func(c *stream.Container) Value { return textOf(c.ID) },
		cell:  func(c *stream.Container) Value { return textOf(idCell(c)) }},
	{name: "name", about: "as people know it", kind: Text, ofEvent: true,
		value: func(c *stream.Container) Value { return textOf(c.Name) }},
	{name: "image", about: "as it was asked for, or as the runtime names it", kind: Text, ofEvent: true,
		value: func(c *stream.Container) Value { return textOf(c.Image) },
		cell:  func(c *stream.Container) Value { return textOf(shortImage(c.Image)) }},
	{name: "runtime", about: "which runtime made the container; unknown if the cgroup could not be identified", kind: Symbol, ofEvent: true,
		value: func(c *stream.Container) Value { return symbol(c.Runtime) }},
	{name: "hostname", about: "UTS node name", kind: Text,
		value: func(c *stream.Container) Value { return textOf(c.Hostname) }},
	{name: "cgroup_id", about: "cgroup v2 id, the inode number of its directory", kind: Unsigned,
		value: func(c *stream.Container) Value { return unlessZero(c.CgroupID) }},
	{name: "pid", about: "its first process", kind: Unsigned,
		value: func(c *stream.Container) Value { return unlessZero(uint64(c.PID)) }},
	{name: "pod", about: "Kubernetes pod", kind: Text, ofEvent: true,
		value: func(c *stream.Container) Value { return textOf(c.Pod) },
		cell:  func(c *stream.Container) Value { return textOf(podName(c)) }},
	{name: "pod_uid", about: "uid of the pod", kind: Text, ofEvent: true, onlyObject: true,
		value: func(c *stream.Container) Value { return textOf(c.PodUID) }},
	{name: "namespace", about: "Kubernetes namespace of the pod", kind: Text, ofEvent: true, onlyObject: true,
		value: func(c *stream.Container) Value { return textOf(c.Namespace) }},
	{name: "qos", about: "guaranteed, burstable or besteffort, of a Kubernetes pod", kind: Symbol, onlyObject: true,
		value: func(c *stream.Container) Value { return symbol(c.QoS) }},
	{name: "inner", about: "the container that it runs inside, by id or name, as its cgroups are called", kind: Text, ofEvent: true, onlyObject: true,
		value: func(c *stream.Container) Value { return textOf(c.Inner) }},
	{name: "inner_runtime", about: "runtime of inner", kind: Symbol, ofEvent: true, onlyObject: true,
		value: func(c *stream.Container) Value { return symbol(c.InnerRuntime) }},
}

// unlessZero returns n, None for 0, which stands for not known.
func unlessZero(n uint64) Value {
	if n == 0 {
		return Value{}
	}
	return unsigned(n)
}

// idDigits is how many digits of an id people see, as with docker ps.
const idDigits = 12

// shortID returns the first digits of an id of 64.
func shortID(id string) string {
	if isDigest(id) {
		return id[:idDigits]
	}
	return id
}

// idCell returns the id for people, behind a slash that of the container inside.
func idCell(c *stream.Container) string {
	if c.Inner == "" {
		return shortID(c.ID)
	}
	return shortID(c.ID) + "/" + shortID(c.Inner)
}

// shortImage returns an image without most digits of its digest.
func shortImage(image string) string {
	name, digest, ok := strings.Cut(image, "sha256:")
	if !ok || !isDigest(digest) {
		return shortID(image)
	}
	return name + "sha256:" + digest[:idDigits]
}

func isDigest(s string) bool { return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" }

func podName(c *stream.Container) string {
	if c.Pod != "" && c.Namespace != "" {
		return c.Namespace + "/" + c.Pod
	}
	return c.Pod
}

func caller(e *stream.Event) *stream.Container { return e.Container }

func peer(e *stream.Event) *stream.Container { return e.Peer }

// containerParts returns the fields of an object that is a container of an event.
func containerParts(object string, needs stream.Needs, of func(*stream.Event) *stream.Container) (fields []Field) {
	for _, f := range containerFields {
		if !f.ofEvent {
			continue
		}
		field := Field{Name: object + "." + f.name, About: f.about, Kind: f.kind, width: 16, needs: needs, facets: ofContainer,
			value: func(e *stream.Event, _ []byte) Value {
				if c := of(e); c != nil {
					return f.value(c)
				}
				return Value{}
			}}
		if needs.Details { // of a unix socket's peer
			field.facets, field.when = ofCall, condition{all: hasSocket | hasPeer}
		} else {
			field.Column = f.name
		}
		fields = append(fields, field)
	}
	return fields
}

// ListFormats returns the names of the formats that a List can have, the default
// first.
func ListFormats() (list []Format) {
	for _, r := range formats {
		if r.lists {
			list = append(list, r.name)
		}
	}
	return list
}

// List says what a list of containers looks like.
type List struct {
	Format   Format
	NoHeader bool
	OnlyIDs  bool // whole ids, and no header
}

// Write writes a line for each container.
func (l *List) Write(out io.Writer, containers []*stream.Container) error {
	if l.OnlyIDs {
		// What runs in a container has the id of that.
		containers = slices.DeleteFunc(slices.Clone(containers), func(c *stream.Container) bool { return c.Inner != "" })
	}
	r := l.Format.registered()
	o := &Options{Format: l.Format, unbounded: true}
	s := r.style(o, l.fields(r.forPeople), newClock(o, r.precision))
	b := appendList(nil, s, containers) // so that columns become as wide as what is in them
	if b = b[:0]; !l.NoHeader && !l.OnlyIDs {
		b = s.header(b)
	}
	_, err := out.Write(appendList(b, s, containers))
	return err
}

// fields returns what each line has.
func (l *List) fields(forPeople bool) (fields []Field) {
	for _, f := range containerFields {
		value := f.value
		switch {
		case l.OnlyIDs && f.name != "id", forPeople && f.onlyObject:
			continue
		case forPeople && f.cell != nil && !l.OnlyIDs:
			value = f.cell
		}
		fields = append(fields, Field{Name: f.name, Column: strings.ReplaceAll(f.name, "_", ""), Kind: f.kind,
			value: func(e *stream.Event, _ []byte) Value { return value(e.Container) }})
	}
	return fields
}

func appendList(b []byte, s style, list []*stream.Container) []byte {
	line := s.line()
	for _, c := range list {
		if line.first != 0 {
			b = append(b, line.first)
		}
		for _, cell := range line.cells {
			b = cell.append(b, &stream.Event{Container: c})
		}
		b = append(b[:len(b)-1], line.end...)
	}
	return b
}
