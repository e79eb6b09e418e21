// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package metrics has what the kernel counted as metrics of Prometheus.
//
// A series is a container, an operation and an error; never a process, a path or an
// address, of which there is no end. The number of series is bounded, and calls that
// find no room are in series of the container "other", so that the sum is right.
package metrics

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/counting"
	"github.com/copenclose/copenclose/internal/stream"
)

// Label is what series of calls can be told apart by.
type Label string

// The labels there are.
const (
	Container Label = "container"
	Namespace Label = "namespace"
	Pod       Label = "pod"
	Image     Label = "image"
	Runtime   Label = "runtime"
	Syscall   Label = "syscall"
	Operation Label = "operation"
	Error     Label = "error"
)

// Labels has all of them, in their order in a series.
var Labels = []Label{Container, Namespace, Pod, Image, Runtime, Operation, Syscall, Error}

// DefaultLabels are those of calls where no others are asked for.
var DefaultLabels = []Label{Container, Namespace, Pod, Operation, Syscall, Error}

// other is the container of calls that found no series of their own.
const other = "other"

// forgetAfter is for how long a container that ended keeps its series: a scrape or two
// must see the last of it.
const forgetAfter = 5 * time.Minute

// Config says what a Collector shows.
type Config struct {
	// Take returns all that was counted so far.
	Take func() (*counting.Snapshot, error)
	// Labels are those of calls; DefaultLabels if there are none.
	Labels []Label
	// MaxSeries bounds the series of calls.
	MaxSeries int
	// Latency says that it is known how long calls took.
	Latency bool
	// Holdings returns what containers have open; nil where nobody looks. An error is in
	// the answer to the scrape.
	Holdings func() ([]Holding, error)
	// Dropped returns what was dropped of calls that were to be sent, by container; nil
	// where none are.
	Dropped func() ([]Dropped, error)
	// More is called at each scrape for what others know.
	More func(chan<- prometheus.Metric)
}

// Collector is a prometheus.Collector.
type Collector struct {
	cfg      Config
	calls    *prometheus.Desc
	duration *prometheus.Desc
	events   *prometheus.Desc
	open     *prometheus.Desc
	fullest  *prometheus.Desc
	limit    *prometheus.Desc
	dropped  *prometheus.Desc

	mu     sync.Mutex
	series map[key]time.Time // each that has a place, and when its container had ended; zero if it has not
}

// key has a value for each of Labels; "" for those that are not shown.
type key [8]string

// New returns a Collector.
func New(cfg Config) *Collector {
	if len(cfg.Labels) == 0 {
		cfg.Labels = DefaultLabels
	}
	var calls, durations, whose []string
	for _, l := range Labels {
		if !slices.Contains(cfg.Labels, l) {
			continue
		}
		calls = append(calls, string(l))
		if l != Error {
			durations = append(durations, string(l))
		}
		if l.saysWhose() {
			whose = append(whose, string(l))
		}
	}
	return &Collector{
		cfg:      cfg,
		calls:    prometheus.NewDesc("copenclose_calls_total", "Calls that were counted in the kernel. error is the errno by name, or empty.", calls, nil),
		duration: prometheus.NewDesc("copenclose_call_duration_seconds", "How long calls took, counted by powers of two of a nanosecond; bounds are 7 % low, because 2^30 of them are 1.07 s.", durations, nil),
		events:   prometheus.NewDesc("copenclose_calls_seen_total", "What became of each call: counted, filtered, lost, or missed (at most).", []string{"fate"}, nil),
		open:     prometheus.NewDesc("copenclose_open_fds", "Descriptors that are open in all processes.", whose, nil),
		fullest:  prometheus.NewDesc("copenclose_fullest_process_open_fds", "Descriptors of the process that has used most of its limit.", whose, nil),
		limit:    prometheus.NewDesc("copenclose_fullest_process_limit_fds", "How many that process may have (RLIMIT_NOFILE).", whose, nil),
		dropped:  prometheus.NewDesc("copenclose_export_events_dropped_total", "Events that were to be sent and did not come out of the kernel: over the rate, or no room in the buffer.", append(whose, "reason"), nil),
		series:   make(map[key]time.Time),
	}
}

// saysWhose reports whether a label says whose a call is, and nothing of the call.
func (l Label) saysWhose() bool { return l != Operation && l != Syscall && l != Error }

// ParseLabel returns the label of a name.
func ParseLabel(name string) (Label, error) {
	if slices.Contains(Labels, Label(name)) {
		return Label(name), nil
	}
	var names []string
	for _, l := range Labels {
		names = append(names, string(l))
	}
	return "", fmt.Errorf("no label %q; there are %s", name, strings.Join(names, ", "))
}

// Describe sends nothing, because some metrics are there only when others give them.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends what is counted up to now.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	s, err := c.cfg.Take()
	if err != nil {
		to <- prometheus.NewInvalidMetric(c.calls, err)
		return
	}
	for k, n := range c.sum(s) {
		to <- prometheus.MustNewConstMetric(c.calls, prometheus.CounterValue, float64(n), c.values(k, Label.isOfCalls)...)
	}
	if c.cfg.Latency {
		for k, l := range c.latencies(s) {
			to <- c.histogram(k, l)
		}
	}
	for fate, n := range map[string]uint64{
		"counted": s.Account.Counted + s.Account.Other, "filtered": s.Account.Filtered, "lost": s.Account.Lost, "missed": s.Account.Missed,
	} {
		to <- prometheus.MustNewConstMetric(c.events, prometheus.CounterValue, float64(n), fate)
	}
	c.collectHoldings(to)
	c.collectDropped(to)
	if c.cfg.More != nil {
		c.cfg.More(to)
	}
}

// sum adds up the cells by series, and gives those that are new a place as long as
// there are some.
func (c *Collector) sum(s *counting.Snapshot) map[key]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	sums := make(map[key]uint64)
	alive := make(map[key]bool)
	for cell, n := range s.Cells {
		k := c.keyOf(&cell)
		sums[k] += n.Calls
		alive[k] = alive[k] || !cell.Origin.Gone()
	}
	for i, sum := range s.Account.OtherSum.Operations {
		if sum.Calls > 0 {
			sums[c.otherOf(counting.Operation(i))] += sum.Calls
		}
	}
	c.place(sums, alive, s.Time)
	return sums
}

// place moves what has no place from sums to the series of the container other. The
// largest of those that are new come first.
func (c *Collector) place(sums map[key]uint64, alive map[key]bool, now time.Time) {
	for k, ended := range c.series {
		switch {
		case sums[k] == 0:
			delete(c.series, k)
		case alive[k]:
			c.series[k] = time.Time{}
		case ended.IsZero():
			c.series[k] = now
		}
	}
	fresh := make([]key, 0, len(sums))
	for k := range sums {
		if _, ok := c.series[k]; !ok && k[0] != other {
			fresh = append(fresh, k)
		}
	}
	slices.SortFunc(fresh, func(a, b key) int { return cmp.Or(-cmp.Compare(sums[a], sums[b]), slices.Compare(a[:], b[:])) })
	for _, k := range fresh {
		switch {
		case !alive[k]:
			c.drop(sums, k) // it ended before it was ever shown, or long ago
		case len(c.series) < c.cfg.MaxSeries:
			c.series[k] = time.Time{}
		default:
			c.drop(sums, k)
		}
	}
	for k, ended := range c.series {
		if !ended.IsZero() && now.Sub(ended) > forgetAfter {
			delete(c.series, k)
			c.drop(sums, k)
		}
	}
}

// drop moves a sum to the series of the container other.
func (c *Collector) drop(sums map[key]uint64, k key) {
	n := sums[k]
	delete(sums, k)
	for i, l := range Labels {
		if l.saysWhose() {
			k[i] = ""
		}
	}
	k[0] = other
	sums[k] += n
}

func (c *Collector) otherOf(o counting.Operation) (k key) {
	k[0] = other
	if c.has(Operation) {
		k[slices.Index(Labels, Operation)] = o.String()
	}
	return k
}

func (c *Collector) has(l Label) bool { return slices.Contains(c.cfg.Labels, l) }

// keyOf returns the series of a cell. The host's container is "".
func (c *Collector) keyOf(cell *counting.Cell) (k key) {
	k = c.whose(cell.Origin.Container())
	for i, l := range Labels {
		switch {
		case !c.has(l):
		case l == Operation:
			k[i] = cell.Operation().String()
		case l == Syscall:
			k[i] = bpf.Syscalls[cell.Syscall].Name
		case l == Error && cell.Error != 0:
			k[i] = counting.ErrorName(cell.Error)
		}
	}
	return k
}

// whose returns the values of the labels that say whose something is.
func (c *Collector) whose(container *stream.Container) (k key) {
	if container == nil {
		return k
	}
	for i, l := range Labels {
		if !c.has(l) {
			continue
		}
		switch l {
		case Container:
			k[i] = cmp.Or(container.Name, container.Label)
		case Namespace:
			k[i] = container.Namespace
		case Pod:
			k[i] = container.Pod
		case Image:
			k[i] = container.Image
		case Runtime:
			k[i] = container.Runtime
		}
	}
	return k
}

// values returns the values of the labels that are shown and wanted. Prometheus takes
// valid UTF-8 only.
func (c *Collector) values(k key, want func(Label) bool) (values []string) {
	for i, l := range Labels {
		if c.has(l) && want(l) {
			values = append(values, strings.ToValidUTF8(k[i], "\uFFFD"))
		}
	}
	return values
}

func (l Label) isOfCalls() bool     { return true }
func (l Label) isOfDurations() bool { return l != Error }

// latencies adds up how long calls took, by series without their errors.
func (c *Collector) latencies(s *counting.Snapshot) map[key]*counting.Latencies {
	c.mu.Lock()
	defer c.mu.Unlock()
	sums := make(map[key]*counting.Latencies)
	for cell, n := range s.Cells {
		if n.Latencies == nil {
			continue
		}
		k := c.keyOf(&cell)
		if _, ok := c.series[k]; !ok {
			continue
		}
		k[slices.Index(Labels, Error)] = ""
		if sums[k] == nil {
			sums[k] = new(counting.Latencies)
		}
		for i, calls := range n.Latencies {
			sums[k][i] += calls
		}
	}
	return sums
}

// histogram returns a native histogram of schema 0, whose bucket i ends at 2^i seconds.
// The sum is estimated from the middle of each power of two.
func (c *Collector) histogram(k key, l *counting.Latencies) prometheus.Metric {
	var count uint64
	var sum float64
	buckets := make(map[int]int64)
	for i, n := range l {
		if n == 0 {
			continue
		}
		power := bpf.LatencyShift + i + 1 // of the end, in ns
		count += n
		sum += float64(n) * 0.75 * math.Ldexp(1e-9, power)
		buckets[power-30] += int64(n)
	}
	h, err := prometheus.NewConstNativeHistogram(c.duration, count, sum, buckets, nil, 0, 0, 0, time.Time{}, c.values(k, Label.isOfDurations)...)
	if err != nil {
		return prometheus.NewInvalidMetric(c.duration, err)
	}
	return h
}
