// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package metrics

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/counting"
	"github.com/copenclose/copenclose/internal/stream"
)

func syscall(name string) uint8 {
	return uint8(slices.IndexFunc(bpf.Syscalls[:], func(s bpf.Syscall) bool { return s.Name == name }))
}

// snapshot is what was counted of the host: so many opens that worked, so many with each
// of the errors.
func snapshot(worked uint64, failed map[uint16]uint64) *counting.Snapshot {
	s := &counting.Snapshot{Time: time.Now(), Cells: make(map[counting.Cell]counting.Count)}
	add := func(errno uint16, n uint64) {
		s.Cells[counting.Cell{Origin: counting.Host, Syscall: syscall("openat"), Error: errno}] = counting.Count{Calls: n}
		s.Account.Counted += n
	}
	add(0, worked)
	for errno, n := range failed {
		add(errno, n)
	}
	return s
}

func collector(s *counting.Snapshot, edit func(*Config)) *Collector {
	cfg := Config{Take: func() (*counting.Snapshot, error) { return s, nil }, MaxSeries: 100}
	if edit != nil {
		edit(&cfg)
	}
	return New(cfg)
}

func TestCalls(t *testing.T) {
	c := collector(snapshot(5, map[uint16]uint64{2: 3}), func(cfg *Config) { cfg.Labels = []Label{Syscall, Container, Error} })
	err := testutil.CollectAndCompare(c, strings.NewReader(`
# HELP copenclose_calls_total Calls that were counted in the kernel. error is the errno by name, or empty.
# TYPE copenclose_calls_total counter
copenclose_calls_total{container="",error="",syscall="openat"} 5
copenclose_calls_total{container="",error="ENOENT",syscall="openat"} 3
# HELP copenclose_calls_seen_total What became of each call: counted, filtered, lost, or missed (at most).
# TYPE copenclose_calls_seen_total counter
copenclose_calls_seen_total{fate="counted"} 8
copenclose_calls_seen_total{fate="filtered"} 0
copenclose_calls_seen_total{fate="lost"} 0
copenclose_calls_seen_total{fate="missed"} 0
`))
	if err != nil {
		t.Error(err)
	}
	problems, err := testutil.CollectAndLint(collector(snapshot(5, nil), nil))
	if err != nil || len(problems) > 0 {
		t.Errorf("%v: %v", problems, err)
	}
}

// sums returns the values of a counter by container and error.
func sums(t *testing.T, c *Collector) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]float64)
	for _, family := range families {
		if family.GetName() != "copenclose_calls_total" {
			continue
		}
		for _, m := range family.Metric {
			found[label(m, "container")+" "+label(m, "error")] += m.GetCounter().GetValue()
		}
	}
	return found
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.Label {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// However many errors there are, the series are bounded, the first ones keep theirs,
// and the sum is that of all calls.
func TestSeriesAreBounded(t *testing.T) {
	failed := make(map[uint16]uint64)
	for errno := range uint16(50) {
		failed[errno+1] = 10
	}
	s := snapshot(1000, nil)
	c := collector(nil, func(cfg *Config) {
		cfg.MaxSeries = 3
		cfg.Take = func() (*counting.Snapshot, error) { return s, nil }
	})
	if got := sums(t, c); len(got) != 1 || got[" "] != 1000 {
		t.Errorf("first %v", got)
	}
	s = snapshot(1, failed) // smaller than all others, but first
	got := sums(t, c)
	var sum, others float64
	for series, n := range got {
		sum += n
		if strings.HasPrefix(series, other) {
			others += n
		}
	}
	if sum != 501 || got[" "] != 1 || others != 48*10 {
		t.Errorf("sum %v, %v of them other, %v", sum, others, got)
	}
}

func TestHistogram(t *testing.T) {
	s := snapshot(0, nil)
	latencies := &counting.Latencies{}
	latencies[0], latencies[10] = 3, 1
	s.Cells[counting.Cell{Origin: counting.Host, Syscall: syscall("openat")}] = counting.Count{Calls: 4, Latencies: latencies}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collector(s, func(cfg *Config) { cfg.Latency = true }))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "copenclose_call_duration_seconds" {
			continue
		}
		h := family.Metric[0].GetHistogram()
		if h.GetSampleCount() != 4 || h.GetSchema() != 0 || len(h.PositiveSpan) != 2 || h.PositiveSpan[0].GetOffset() != bpf.LatencyShift+1-30 {
			t.Errorf("got %v", h)
		}
		return
	}
	t.Error("no histogram")
}

func TestNothingCounted(t *testing.T) {
	broken := errors.New("no totals")
	c := New(Config{Take: func() (*counting.Snapshot, error) { return nil, broken }})
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	if _, err := registry.Gather(); err == nil || !strings.Contains(err.Error(), broken.Error()) {
		t.Errorf("a scrape gave %v", err)
	}
}

func TestParseLabel(t *testing.T) {
	for _, l := range Labels {
		if got, err := ParseLabel(string(l)); got != l || err != nil {
			t.Errorf("%s: %s, %v", l, got, err)
		}
	}
	want := fmt.Sprintf("no label %q; there are container, namespace, pod, image, runtime, operation, syscall, error", "pid")
	if _, err := ParseLabel("pid"); err == nil || err.Error() != want {
		t.Errorf("pid: %v", err)
	}
}

// What is open is summed by container, with the process that is nearest to its limit; the
// smallest ones are together where there are too many.
func TestHoldings(t *testing.T) {
	held := func(name string, open, limit uint64) Holding {
		return Holding{Container: &stream.Container{Name: name, Pod: "p", Namespace: "n"}, Open: open, Limit: limit}
	}
	all := []Holding{held("web", 10, 1000), held("web", 9, 10), {nil, 50, 0}, held("a", 1, 10), held("b", 2, 4)}
	c := collector(snapshot(0, nil), func(cfg *Config) {
		cfg.MaxSeries = 3
		cfg.Holdings = func() ([]Holding, error) { return all, nil }
	})
	err := testutil.CollectAndCompare(c, strings.NewReader(`
# HELP copenclose_open_fds Descriptors that are open in all processes.
# TYPE copenclose_open_fds gauge
copenclose_open_fds{container="",namespace="",pod=""} 50
copenclose_open_fds{container="web",namespace="n",pod="p"} 19
copenclose_open_fds{container="other",namespace="",pod=""} 3
# HELP copenclose_fullest_process_open_fds Descriptors of the process that has used most of its limit.
# TYPE copenclose_fullest_process_open_fds gauge
copenclose_fullest_process_open_fds{container="",namespace="",pod=""} 50
copenclose_fullest_process_open_fds{container="web",namespace="n",pod="p"} 9
copenclose_fullest_process_open_fds{container="other",namespace="",pod=""} 2
# HELP copenclose_fullest_process_limit_fds How many that process may have (RLIMIT_NOFILE).
# TYPE copenclose_fullest_process_limit_fds gauge
copenclose_fullest_process_limit_fds{container="",namespace="",pod=""} 0
copenclose_fullest_process_limit_fds{container="web",namespace="n",pod="p"} 10
copenclose_fullest_process_limit_fds{container="other",namespace="",pod=""} 4
`), "copenclose_open_fds", "copenclose_fullest_process_open_fds", "copenclose_fullest_process_limit_fds")
	if err != nil {
		t.Error(err)
	}
}

// What was dropped is counted by container and by why.
func TestDropped(t *testing.T) {
	web := &stream.Container{Name: "web"}
	c := collector(snapshot(0, nil), func(cfg *Config) {
		cfg.Dropped = func() ([]Dropped, error) {
			return []Dropped{{web, stream.Dropped{Lost: 1, Limited: 2}}, {web, stream.Dropped{Limited: 3}}, {nil, stream.Dropped{Lost: 4}}}, nil
		}
	})
	err := testutil.CollectAndCompare(c, strings.NewReader(`
# HELP copenclose_export_events_dropped_total Events that were to be sent and did not come out of the kernel: over the rate, or no room in the buffer.
# TYPE copenclose_export_events_dropped_total counter
copenclose_export_events_dropped_total{container="",namespace="",pod="",reason="buffer"} 4
copenclose_export_events_dropped_total{container="",namespace="",pod="",reason="rate"} 0
copenclose_export_events_dropped_total{container="web",namespace="",pod="",reason="buffer"} 1
copenclose_export_events_dropped_total{container="web",namespace="",pod="",reason="rate"} 5
`), "copenclose_export_events_dropped_total")
	if err != nil {
		t.Error(err)
	}
}
