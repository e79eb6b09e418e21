// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package metrics

import (
	"cmp"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/copenclose/copenclose/internal/stream"
)

// Holding is what a process has open.
type Holding struct {
	Container   *stream.Container // nil for the host
	Open, Limit uint64            // descriptors, and how many there may be
}

// Dropped is what of a container's calls was to be recorded and was not.
type Dropped struct {
	Container *stream.Container // nil for the host
	stream.Dropped
}

// use is how much of the limit is used, 1 for all.
func (h *Holding) use() float64 { return float64(h.Open) / float64(max(h.Limit, 1)) }

// holdings is what the processes of a series have open.
type holdings struct {
	open    uint64
	fullest Holding // the one that has used most of its limit
}

func (a *holdings) add(b holdings) {
	a.open += b.open
	if b.fullest.use() >= a.fullest.use() {
		a.fullest = b.fullest
	}
}

// collectHoldings sends what containers have open. Those with fewest are together in the
// container other, if there are too many.
func (c *Collector) collectHoldings(to chan<- prometheus.Metric) {
	if c.cfg.Holdings == nil {
		return
	}
	all, err := c.cfg.Holdings()
	if err != nil {
		to <- prometheus.NewInvalidMetric(c.open, err)
		return
	}
	sums := make(map[key]holdings)
	for _, h := range all {
		k := c.whose(h.Container)
		sum := sums[k]
		sum.add(holdings{h.Open, h})
		sums[k] = sum
	}
	if over := len(sums) - c.cfg.MaxSeries; over > 0 {
		keys := slices.SortedFunc(maps.Keys(sums), func(a, b key) int {
			return cmp.Or(cmp.Compare(sums[a].open, sums[b].open), slices.Compare(a[:], b[:]))
		})
		var rest holdings
		for _, k := range keys[:over+1] {
			rest.add(sums[k])
			delete(sums, k)
		}
		sums[key{other}] = rest
	}
	for k, sum := range sums {
		values := c.values(k, Label.saysWhose)
		to <- prometheus.MustNewConstMetric(c.open, prometheus.GaugeValue, float64(sum.open), values...)
		to <- prometheus.MustNewConstMetric(c.fullest, prometheus.GaugeValue, float64(sum.fullest.Open), values...)
		to <- prometheus.MustNewConstMetric(c.limit, prometheus.GaugeValue, float64(sum.fullest.Limit), values...)
	}
}

// collectDropped sends which events did not come out of the kernel.
func (c *Collector) collectDropped(to chan<- prometheus.Metric) {
	if c.cfg.Dropped == nil {
		return
	}
	all, err := c.cfg.Dropped()
	if err != nil {
		to <- prometheus.NewInvalidMetric(c.dropped, err)
		return
	}
	sums := make(map[key]stream.Dropped)
	for _, d := range all {
		k := c.whose(d.Container)
		if _, ok := sums[k]; !ok && len(sums) >= c.cfg.MaxSeries {
			k = key{other}
		}
		sums[k] = stream.Dropped{Lost: sums[k].Lost + d.Lost, Limited: sums[k].Limited + d.Limited}
	}
	for k, n := range sums {
		values := c.values(k, Label.saysWhose)
		to <- prometheus.MustNewConstMetric(c.dropped, prometheus.CounterValue, float64(n.Limited), append(values, "rate")...)
		to <- prometheus.MustNewConstMetric(c.dropped, prometheus.CounterValue, float64(n.Lost), append(values, "buffer")...)
	}
}
