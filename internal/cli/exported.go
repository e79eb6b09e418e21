// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"fmt"
	"io"
	"log"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/copenclose/copenclose/bpf"
	"github.com/copenclose/copenclose/internal/counting"
	"github.com/copenclose/copenclose/internal/descriptor"
	"github.com/copenclose/copenclose/internal/export/metrics"
	"github.com/copenclose/copenclose/internal/stream"
)

var (
	buildInfo     = prometheus.NewDesc("copenclose_build_info", "Version and commit; the value is 1.", []string{"version", "commit"}, nil)
	exportRecords = prometheus.NewDesc("copenclose_export_records_total", "Records of events by what became of them.", []string{"fate"}, nil)
	exportBytes   = prometheus.NewDesc("copenclose_export_bytes_total", "Bytes that were sent, before compression.", nil, nil)
	exportQueue   = prometheus.NewDesc("copenclose_export_queue_bytes", "Bytes that wait to be sent.", nil, nil)
	exportLast    = prometheus.NewDesc("copenclose_export_last_success_timestamp_seconds", "When records were last sent.", nil, nil)
	exportLost    = prometheus.NewDesc("copenclose_export_events_lost_total", "Events that found no room in the buffer from the kernel.", nil, nil)
)

// exported sends what is known of the tool and of what it sends.
func (s *server) exported(to chan<- prometheus.Metric) {
	to <- prometheus.MustNewConstMetric(buildInfo, prometheus.GaugeValue, 1, s.tool.build.Version, s.tool.build.Commit)
	if s.sink == nil {
		return
	}
	a := s.sink.Account()
	for fate, n := range map[string]uint64{"sent": a.Sent, "rejected": a.Rejected, "dropped": a.Dropped} {
		to <- prometheus.MustNewConstMetric(exportRecords, prometheus.CounterValue, float64(n), fate)
	}
	to <- prometheus.MustNewConstMetric(exportBytes, prometheus.CounterValue, float64(a.Bytes))
	to <- prometheus.MustNewConstMetric(exportQueue, prometheus.GaugeValue, float64(a.Waiting))
	if !a.LastSent.IsZero() {
		to <- prometheus.MustNewConstMetric(exportLast, prometheus.GaugeValue, float64(a.LastSent.UnixNano())/1e9)
	}
	if counts, err := s.events.kernel.Counts(); err == nil {
		to <- prometheus.MustNewConstMetric(exportLost, prometheus.CounterValue, float64(counts.Lost))
	}
}

// dropped returns what a scrape asks for what events did not come out of the kernel; nil
// where none are sent.
func (s *server) dropped() func() ([]metrics.Dropped, error) {
	if s.events == nil {
		return nil
	}
	known := make(map[uint64]*stream.Container) // also after a container has ended
	var mu sync.Mutex
	return func() (all []metrics.Dropped, err error) {
		mu.Lock()
		defer mu.Unlock()
		cgroups, err := s.events.kernel.Dropped()
		s.live.Read(func(*counting.Samples) { // meanwhile nothing else looks for containers
			for id, d := range cgroups {
				c := otherContainer
				if id != 0 {
					if c = s.count.attributor.Container(id); c != stream.Unknown {
						known[id] = c
					} else if before, ok := known[id]; ok {
						c = before
					}
				}
				all = append(all, metrics.Dropped{Container: c, Dropped: d})
			}
		})
		return all, err
	}
}

// otherContainer stands for those for which the kernel had no room.
var otherContainer = &stream.Container{Label: droppedOfOther}

// meter counts what containers have open, for scrapes.
type meter struct {
	server *server
	meter  *descriptor.Meter

	mu    sync.Mutex
	read  time.Time
	found []metrics.Holding
}

// openMeter returns nil where the kernel cannot do it, and says so.
func (s *server) openMeter() *meter {
	verbose := log.New(io.Discard, "", 0)
	if s.count.options.Kernel.Verbose {
		verbose = log.New(s.tool.stderr, "", log.Ltime|log.Lmicroseconds)
	}
	m, err := descriptor.OpenMeter(verbose)
	if err != nil {
		s.count.remark.Print(err)
		return nil
	}
	return &meter{server: s, meter: m}
}

func (m *meter) close() {
	if m != nil {
		m.meter.Close()
	}
}

// holdings returns what a scrape asks for what is open, nil without a meter. It looks
// once an interval.
func (m *meter) holdings() func() ([]metrics.Holding, error) {
	if m == nil {
		return nil
	}
	return func() ([]metrics.Holding, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if now := time.Now(); now.Sub(m.read) >= time.Duration(m.server.fleet.interval) {
			found := make([]metrics.Holding, 0, len(m.found))
			var err error
			m.server.live.Read(func(*counting.Samples) { // meanwhile nothing else looks for containers
				err = m.meter.Read(func(u *bpf.Usage) {
					if c, show := m.server.count.attributor.Find(u.CgroupID, bpf.InInitialPIDNS); show {
						found = append(found, metrics.Holding{Container: c, Open: uint64(u.Open), Limit: u.Limit})
					}
				})
			})
			if err != nil {
				return nil, fmt.Errorf("see what is open: %w", err)
			}
			m.read, m.found = now, found
		}
		return m.found, nil
	}
}
