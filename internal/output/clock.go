package output

import (
	"time"

	"golang.org/x/sys/unix"
)

// A Clock turns the kernel's monotonic times into the time of day. The two
// differ by the time of boot, and by more after each suspend and each time
// somebody sets the clock.
type Clock struct {
	offset int64 // ns
	// The last second that was formatted. Most events share it with the one
	// before.
	second int64
	text   []byte
}

// clockStep is by how much the clocks must have moved apart to call it a step,
// and not the time it takes to read both.
const clockStep = int64(100 * time.Microsecond)

// Adjust looks at both clocks, and follows when they were moved apart.
func (c *Clock) Adjust() {
	var monotonic, realtime unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &monotonic) != nil || unix.ClockGettime(unix.CLOCK_REALTIME, &realtime) != nil {
		return
	}
	offset := realtime.Nano() - monotonic.Nano()
	if step := offset - c.offset; step > clockStep || step < -clockStep {
		c.offset = offset
	}
}

// appendSeconds appends the time of day of a monotonic time in ns, in UTC and to
// the second, like 2021-01-19T07:35:10Z.
func (c *Clock) appendSeconds(b []byte, monotonic uint64) []byte {
	second := (int64(monotonic) + c.offset) / int64(time.Second)
	if second != c.second || c.text == nil {
		c.second = second
		c.text = time.Unix(second, 0).UTC().AppendFormat(c.text[:0], time.RFC3339)
	}
	return append(b, c.text...)
}
