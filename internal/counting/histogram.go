// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package counting

import (
	"time"

	"github.com/copenclose/copenclose/bpf"
)

// Latencies is how long calls took, in powers of two: see bpf.Total.
type Latencies [bpf.Latencies]uint64

func (l *Latencies) add(m *Latencies) {
	for i, n := range m {
		l[i] += n
	}
}

// Quantile returns the time that the part q of the calls, from 0 to 1, did not exceed,
// and 0 if there are none. Inside a power of two calls are taken to be spread evenly,
// so it is at most a factor of two off.
func (l *Latencies) Quantile(q float64) time.Duration {
	var all uint64
	for _, n := range l {
		all += n
	}
	rank, below := q*float64(all), 0.
	for i, n := range l {
		if n == 0 || below+float64(n) < rank {
			below += float64(n)
			continue
		}
		from, size := 0., float64(uint64(1)<<(bpf.LatencyShift+i))
		if i > 0 {
			from = size
		} else {
			size *= 2
		}
		return time.Duration(from + size*(rank-below)/float64(n))
	}
	return 0
}
