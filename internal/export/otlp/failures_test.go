// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package otlp

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	"github.com/copenclose/copenclose/internal/stream"
)

// received returns a line for each record that was sent: its container, event, body and
// count.
func received(t *testing.T, s *stub) (lines []string) {
	t.Helper()
	for _, request := range s.sent {
		data := &logs.LogsData{}
		if err := proto.Unmarshal([]byte(request), data); err != nil {
			t.Fatal(err)
		}
		for _, resource := range data.ResourceLogs {
			container := "host"
			for _, a := range resource.Resource.Attributes {
				if a.Key == "container.name" {
					container = a.Value.GetStringValue()
				}
			}
			for _, r := range resource.ScopeLogs[0].LogRecords {
				lines = append(lines, fmt.Sprintf("%s %s: %s", container, r.EventName, r.Body.GetStringValue()))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

func TestFailures(t *testing.T) {
	s := &stub{}
	f := NewFailures(newSink(newQueue(s, queueMax, func(error) {}), "1", false, nil), time.Hour)
	for range 3 {
		for _, e := range []*stream.Event{
			{Record: opened(t, "/etc/absent", -2), Container: web},
			{Record: opened(t, "/etc/absent", -13), Container: web},
			{Record: opened(t, "/etc/absent", -2)},
			{Record: opened(t, "/etc/hosts", 3), Container: web}, // no failure
			{Record: connected(t), Container: web},               // not decided yet
		} {
			if err := f.Event(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"app copenclose.failures: 3 times open EACCES /etc/absent",
		"app copenclose.failures: 3 times open ENOENT /etc/absent",
		"host copenclose.failures: 3 times open ENOENT /etc/absent",
	}
	if got := received(t, s); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// However many kinds of failures a container has, the records are bounded and their
// counts add up.
func TestFailuresBounded(t *testing.T) {
	s := &stub{}
	f := NewFailures(newSink(newQueue(s, queueMax, func(error) {}), "1", false, nil), time.Hour)
	const n = 3 * failuresMax
	for i := range n {
		if err := f.Event(&stream.Event{Record: opened(t, fmt.Sprint("/tmp/", i), -2), Container: web}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var sum, count int
	lines := received(t, s)
	for _, line := range lines {
		if _, err := fmt.Sscanf(line, "app copenclose.failures: %d times", &count); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		sum += count
	}
	if len(lines) != failuresMax+1 || sum != n {
		t.Errorf("%d records of %d failures, want %d of %d", len(lines), sum, failuresMax+1, n)
	}
}
