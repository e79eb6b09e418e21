// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package otlp

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/names"
	"github.com/copenclose/copenclose/internal/output"
	"github.com/copenclose/copenclose/internal/stream"
)

// Numbers of fields of opentelemetry/proto/{collector/logs,logs,common,resource}/v1.
const (
	requestResourceLogs = 1
	resourceLogsSource  = 1
	resourceLogsScope   = 2
	resourceLogsSchema  = 3
	resourceAttributes  = 1
	scopeLogsScope      = 1
	scopeLogsRecords    = 2
	scopeName           = 1
	scopeVersion        = 2
	recordTime          = 1
	recordSeverity      = 2
	recordSeverityText  = 3
	recordBody          = 5
	recordAttributes    = 6
	recordObserved      = 11
	recordEventName     = 12
	keyValueKey         = 1
	keyValueValue       = 2
	anyString           = 1
	anyBool             = 2
	anyInt              = 3
	anyArray            = 5
	anyBytes            = 7
	arrayValues         = 1
)

// schema is the version of the semantic conventions that the names are from.
const schema = "https://opentelemetry.io/schemas/1.44.0"

// semantic has the names that OpenTelemetry's semantic conventions give to fields of
// output.Fields; every other field is called copenclose.NAME.
var semantic = map[string]string{
	"pid":        "process.pid",
	"ppid":       "process.parent_pid",
	"uid":        "process.user.id",
	"tid":        "thread.id",
	"comm":       "thread.name",
	"exe":        "process.executable.path",
	"error":      "error.type",
	"path":       "file.path",
	"mode":       "file.mode",
	"addr":       "network.peer.address",
	"port":       "network.peer.port",
	"local_addr": "network.local.address",
	"local_port": "network.local.port",
	"latency_ns": "copenclose.duration_ns",
}

// AttributeOf returns the name of the attribute that a field becomes, "" for one that
// is a part of the record or of its resource instead, or that no Sink here asks for.
func AttributeOf(f *output.Field) string {
	switch {
	case f.OnlyColumn, f.Name == "time", strings.HasPrefix(f.Name, "container."), f.Needs().Lifetime, f.Needs().Programs && !f.OfExec:
		return ""
	}
	return cmp.Or(semantic[f.Name], "copenclose."+f.Name)
}

// encoder puts the records of a batch together: those of each container behind one
// another, as they will lie in the request.
type encoder struct {
	attributes []attribute
	failures   []attribute // those of failureFields
	common     []byte      // attributes of every resource
	scope      []byte      // a whole InstrumentationScope
	offset     int64       // from CLOCK_MONOTONIC to the time of day, in ns
	observed   uint64      // the time of day when the records were read, in ns

	groups  []group
	latest  int // the group of the event before
	records int
	size    int

	record, value, text []byte // scratch
}

// group is the records of a container, nil for the host's.
type group struct {
	container *stream.Container
	records   []byte
}

// attribute is a field and what its key is in bytes.
type attribute struct {
	field *output.Field
	key   []byte // the field keyValueKey
	bytes []byte // the same of NAME.bytes, for text that is not valid UTF-8
	list  bool   // its words, with | between them, are an array
}

func newEncoder(version string, common []Attribute) *encoder {
	e := &encoder{record: make([]byte, 0, 1024), text: make([]byte, 0, 2*bpf.TextMax)}
	for i := range output.Fields {
		f := &output.Fields[i]
		name := AttributeOf(f)
		if name == "" || f.Kind == output.Files {
			continue
		}
		a := attribute{f, keyOf(name), keyOf(name + ".bytes"), f.Name == "flags" || f.Name == "resolve"}
		e.attributes = append(e.attributes, a)
		if slices.Contains(failureFields, f.Name) {
			e.failures = append(e.failures, a)
		}
	}
	for _, a := range common {
		e.common = appendResourceText(e.common, a.Key, a.Value)
	}
	e.scope = appendText(nil, scopeName, []byte("copenclose"))
	e.scope = appendText(e.scope, scopeVersion, []byte(version))
	return e
}

func keyOf(name string) []byte { return appendText(nil, keyValueKey, []byte(name)) }

// add encodes an event.
func (e *encoder) add(event *stream.Event) {
	b := e.record[:0]
	at := uint64(int64(event.Time) + e.offset)
	b = appendFixed(b, recordTime, at)
	severity, text := severityOf(event)
	b = appendNumber(b, recordSeverity, severity)
	b = appendText(b, recordSeverityText, text)
	e.text = output.AppendDetail(e.text[:0], event.Record)
	e.value = appendAnyText(e.value[:0], e.text)
	b = appendText(b, recordBody, e.value)
	for i := range e.attributes {
		b = e.appendAttribute(b, &e.attributes[i], event)
	}
	b = appendFixed(b, recordObserved, max(e.observed, at))
	b = appendText(b, recordEventName, eventNames[bpf.Syscalls[event.Syscall].Group])
	e.append(event.Container, b)
}

// append appends a record to those of a container.
func (e *encoder) append(c *stream.Container, record []byte) {
	e.record = record
	g := e.group(c)
	before := len(g.records)
	g.records = appendText(g.records, scopeLogsRecords, record)
	e.size += len(g.records) - before
	e.records++
}

// eventNames has the names of events by the group of the syscall.
var eventNames = func() map[string][]byte {
	list := make(map[string][]byte)
	for _, s := range bpf.Syscalls {
		list[s.Group] = []byte("copenclose." + s.Group)
	}
	return list
}()

// severityOf returns the number and the name of an event's severity: information,
// or a warning of a call that failed, other than one that says to come again.
func severityOf(e *stream.Event) (number uint64, text []byte) {
	if names.IsFailure(e.Ret) {
		return 13, warn
	}
	return 9, info
}

var info, warn = []byte("INFO"), []byte("WARN")

// group returns the group of a container. What becomes known of a container later
// makes another group.
func (e *encoder) group(c *stream.Container) *group {
	if e.latest < len(e.groups) && e.groups[e.latest].container == c {
		return &e.groups[e.latest]
	}
	for i := range e.groups {
		if e.groups[i].container == c {
			e.latest = i
			return &e.groups[i]
		}
	}
	e.latest = len(e.groups)
	if e.latest < cap(e.groups) {
		e.groups = e.groups[:e.latest+1] // with the memory of a batch before
	} else {
		e.groups = append(e.groups, group{})
	}
	g := &e.groups[e.latest]
	g.container, g.records = c, g.records[:0]
	e.size += resourceSize
	return g
}

// resourceSize is about what a resource takes in a request.
const resourceSize = 512

// appendAttribute appends a field of an event, or nothing if the event does not have
// it.
func (e *encoder) appendAttribute(b []byte, a *attribute, event *stream.Event) []byte {
	v := a.field.Value(event, e.text[:0])
	value := e.value[:0]
	switch v.Kind {
	case output.None:
		return b
	case output.True:
		value = appendNumber(value, anyBool, 1)
	case output.Unsigned, output.Duration:
		value = appendNumber(value, anyInt, v.Number())
	case output.Signed, output.Result:
		value = appendNumber(value, anyInt, uint64(v.Signed()))
	case output.Symbol:
		if a.list {
			value = appendList(value, v.Text())
		} else {
			value = appendText(value, anyString, v.Text())
		}
	case output.Text:
		if !utf8.Valid(v.Text()) {
			e.value = appendText(value, anyBytes, v.Text())
			b = appendKeyValue(b, a.bytes, e.value)
		}
		value = appendAnyText(e.value[:0], v.Text())
	default:
		return b
	}
	e.value = value
	return appendKeyValue(b, a.key, value)
}

func appendKeyValue(b, key, value []byte) []byte {
	b = protowire.AppendTag(b, recordAttributes, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(len(key)+protowire.SizeTag(keyValueValue)+protowire.SizeBytes(len(value))))
	b = append(b, key...)
	return appendText(b, keyValueValue, value)
}

// appendList appends an AnyValue that is an array of the words.
func appendList(b, words []byte) []byte {
	size := 0
	for word := range bytes.SplitSeq(words, bar) {
		size += protowire.SizeTag(arrayValues) + protowire.SizeBytes(protowire.SizeTag(anyString)+protowire.SizeBytes(len(word)))
	}
	b = protowire.AppendTag(b, anyArray, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	for word := range bytes.SplitSeq(words, bar) {
		b = protowire.AppendTag(b, arrayValues, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(protowire.SizeTag(anyString)+protowire.SizeBytes(len(word))))
		b = appendText(b, anyString, word)
	}
	return b
}

var bar = []byte{'|'}

// appendAnyText appends an AnyValue of text, in which U+FFFD stands for each bad byte:
// protobuf refuses a string that is not valid UTF-8.
func appendAnyText(b, text []byte) []byte {
	if utf8.Valid(text) {
		return appendText(b, anyString, text)
	}
	return appendText(b, anyString, bytes.ToValidUTF8(text, replacement))
}

var replacement = []byte("\uFFFD")

// finish appends the request of all that was added, and begins anew.
func (e *encoder) finish(b []byte) []byte {
	for i := range e.groups {
		g := &e.groups[i]
		resource := e.appendResource(nil, g.container)
		records := protowire.SizeTag(scopeLogsScope) + protowire.SizeBytes(len(e.scope)) + len(g.records)
		size := protowire.SizeTag(resourceLogsSource) + protowire.SizeBytes(len(resource)) +
			protowire.SizeTag(resourceLogsScope) + protowire.SizeBytes(records) +
			protowire.SizeTag(resourceLogsSchema) + protowire.SizeBytes(len(schema))
		b = protowire.AppendTag(b, requestResourceLogs, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(size))
		b = appendText(b, resourceLogsSource, resource)
		b = protowire.AppendTag(b, resourceLogsScope, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(records))
		b = appendText(b, scopeLogsScope, e.scope)
		b = append(b, g.records...)
		b = protowire.AppendTag(b, resourceLogsSchema, protowire.BytesType)
		b = protowire.AppendString(b, schema)
		g.container = nil
	}
	e.groups, e.latest, e.records, e.size = e.groups[:0], 0, 0, 0
	return b
}

// appendResource appends the attributes of a container's resource; of the host's only
// those that all have.
func (e *encoder) appendResource(b []byte, c *stream.Container) []byte {
	b = append(b, e.common...)
	if c == nil {
		return b
	}
	image, tag := splitImage(c.Image)
	inPod := c.Pod != ""
	for _, a := range []struct {
		key, value string
		there      bool
	}{
		{"container.id", c.ID, true},
		{"container.name", c.Name, true},
		{"container.runtime.name", c.Runtime, true},
		{"container.image.name", image, true},
		{"copenclose.container.image.tag", tag, true},
		{"k8s.namespace.name", c.Namespace, inPod},
		{"k8s.pod.name", c.Pod, inPod},
		{"k8s.pod.uid", c.PodUID, true},
		{"k8s.container.name", c.Name, inPod},
	} {
		if a.there && a.value != "" {
			b = appendResourceText(b, a.key, a.value)
		}
	}
	return b
}

// splitImage cuts an image at its tag or digest.
func splitImage(image string) (name, tag string) {
	if name, digest, ok := strings.Cut(image, "@"); ok {
		return name, digest
	}
	// A colon before a slash is that of the registry's port.
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		return image[:i], image[i+1:]
	}
	return image, ""
}

func appendResourceText(b []byte, key, value string) []byte {
	return appendText(b, resourceAttributes,
		appendText(keyOf(key), keyValueValue, appendAnyText(nil, []byte(value))))
}

// appendText appends a field of a length and so many bytes: text or a message.
func appendText(b []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), value)
}

func appendNumber(b []byte, field protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), n)
}

func appendFixed(b []byte, field protowire.Number, n uint64) []byte {
	return binary.LittleEndian.AppendUint64(protowire.AppendTag(b, field, protowire.Fixed64Type), n)
}
