// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/copenclose/copenclose/docs"
	"github.com/copenclose/copenclose/internal/conform"
)

// keysOf are the keys of a struct in JSON.
func keysOf(of reflect.Type) (keys []string) {
	for i := range of.NumField() {
		f := of.Field(i)
		if f.Anonymous {
			keys = append(keys, keysOf(f.Type)...)
			continue
		}
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		keys = append(keys, key)
	}
	return keys
}

// The schemas have the keys of the largest objects, and no others.
func TestSchemaKeys(t *testing.T) {
	var fds, leaks struct {
		Properties map[string]any
		Defs       map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	if err := json.Unmarshal(docs.FdsSchema, &fds); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(docs.LeaksSchema, &leaks); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		schema map[string]any
		object any
	}{
		{fds.Defs["descriptor"].Properties, descriptorJSON{}},
		{fds.Defs["group"].Properties, groupJSON{}},
		{fds.Defs["container"].Properties, containerJSON{}},
		{fds.Defs["holder"].Properties, holderJSON{}},
		{leaks.Properties, suspectJSON{}},
	} {
		var got []string
		for key := range c.schema {
			got = append(got, key)
		}
		want := keysOf(reflect.TypeOf(c.object))
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%T: the schema has %v, want %v", c.object, got, want)
		}
	}
}

// What is written is as the schemas say: they allow no other keys.
func TestSchemas(t *testing.T) {
	var fds, leaks bytes.Buffer
	first, s := leaky(t, 0, 1), leaky(t, 10*time.Second, 20)
	s.Date(NewAges(first))
	for _, of := range []*Snapshot{attributed(t), s} {
		holdings := of.Select(&Filter{})
		for _, write := range []func() error{
			func() error { return WriteProcessesJSON(&fds, of, holdings, Limit{What: HostFilesLimit}, of.Inotify()) },
			func() error { return WriteContainersJSON(&fds, of.Sums(holdings)) },
			func() error { return WriteTargetsJSON(&fds, of.Targets(holdings)) },
			func() error { return WriteDescriptorsJSON(&fds, of, holdings) },
		} {
			if err := write(); err != nil {
				t.Fatal(err)
			}
		}
	}
	validate(t, docs.FdsSchema, &fds)
	w := NewWatch(&Filter{}, true)
	for i := range 7 {
		w.Add(leaky(t, time.Duration(i)*time.Second, 1+4*i), nil)
	}
	if err := WriteSuspectsJSON(&leaks, time.Now(), w.Suspects(), true); err != nil {
		t.Fatal(err)
	}
	validate(t, docs.LeaksSchema, &leaks)
}

func validate(t *testing.T, schema []byte, lines *bytes.Buffer) {
	t.Helper()
	if conform.Lines(t, schema, lines.Bytes()) == 0 {
		t.Error("nothing was written")
	}
}
