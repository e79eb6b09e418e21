// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// TimeStyle is how the TIME column tells the time.
type TimeStyle string

// The styles there are.
const (
	UTC   TimeStyle = "utc"   // 2021-01-19T07:35:10Z
	Local TimeStyle = "local" // 2021-01-19T08:35:10+01:00
	Unix  TimeStyle = "unix"  // seconds since 1970
	Delta TimeStyle = "delta" // seconds since the event before
)

// Precision is how exactly: the unit of the last digit.
type Precision string

// The precisions there are.
const (
	Seconds      Precision = "s"
	Milliseconds Precision = "ms"
	Microseconds Precision = "us"
	Nanoseconds  Precision = "ns"
)

// digits is how many follow the decimal point.
func (p Precision) digits() int {
	return map[Precision]int{Seconds: 0, Milliseconds: 3, Microseconds: 6, Nanoseconds: 9}[p]
}

// clock turns the kernel's monotonic times into text. They differ from the time
// of day by the time of boot, and by more after each suspend and each time
// somebody sets the clock.
type clock struct {
	style  TimeStyle
	digits int
	zone   *time.Location
	offset int64  // ns
	before uint64 // the event before, for Delta
	// The last second that was formatted, in front of and behind the fraction.
	// Most events share it with the one before.
	second       int64
	prefix, zulu []byte
}

func newClock(style TimeStyle, precision Precision) clock {
	c := clock{style: style, digits: precision.digits(), zone: time.UTC, second: -1}
	if style == Local {
		c.zone = time.Local
	}
	c.adjust()
	return c
}

// width is how wide the text is, as a column.
func (c *clock) width() int {
	now := uint64(time.Now().UnixNano() - c.offset)
	if c.style == Delta {
		return 5 + c.digits
	}
	return len(c.append(nil, now))
}

// clockStep is by how much the clocks must have moved apart to call it a step,
// and not the time it takes to read both.
const clockStep = int64(100 * time.Microsecond)

// adjust looks at both clocks, and follows when they were moved apart.
func (c *clock) adjust() {
	offset := realtimeOffset()
	if step := offset - c.offset; step > clockStep || step < -clockStep {
		c.offset = offset
	}
}

// realtimeOffset is by how much the time of day is ahead of the monotonic time,
// in ns; tests have another.
var realtimeOffset = func() int64 {
	var monotonic, realtime unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &monotonic)
	_ = unix.ClockGettime(unix.CLOCK_REALTIME, &realtime)
	return realtime.Nano() - monotonic.Nano()
}

// append appends the text of a monotonic time in ns.
func (c *clock) append(b []byte, monotonic uint64) []byte {
	if c.style == Delta {
		return c.appendDelta(b, monotonic)
	}
	now := int64(monotonic) + c.offset
	second := now / int64(time.Second)
	if second != c.second {
		c.formatSecond(second)
	}
	b = append(b, c.prefix...)
	b = appendFraction(b, now-second*int64(time.Second), c.digits)
	return append(b, c.zulu...)
}

// same tells whether append would append what it did last.
func (c *clock) same(monotonic uint64) bool {
	since := int64(monotonic) + c.offset - c.second*int64(time.Second)
	return c.digits == 0 && c.style != Delta && since >= 0 && since < int64(time.Second)
}

func (c *clock) formatSecond(second int64) {
	c.second = second
	if c.style == Unix {
		c.prefix = strconv.AppendInt(c.prefix[:0], second, 10)
		return
	}
	t := time.Unix(second, 0).In(c.zone)
	c.prefix = t.AppendFormat(c.prefix[:0], "2006-01-02T15:04:05")
	c.zulu = t.AppendFormat(c.zulu[:0], "Z07:00")
}

func (c *clock) appendDelta(b []byte, monotonic uint64) []byte {
	if c.before == 0 || monotonic < c.before {
		c.before = monotonic
	}
	delta := int64(monotonic - c.before)
	c.before = monotonic
	b = strconv.AppendInt(b, delta/int64(time.Second), 10)
	return appendFraction(b, delta%int64(time.Second), c.digits)
}

// appendFraction appends a point and the first digits of the ns of a second.
func appendFraction(b []byte, ns int64, digits int) []byte {
	if digits == 0 {
		return b
	}
	start := len(b)
	b = strconv.AppendInt(b, int64(time.Second)+ns, 10) // its first digit becomes the point
	b[start] = '.'
	return b[:start+1+digits]
}

// appendDuration appends ns in a unit that suits people.
func appendDuration(b []byte, ns uint64) []byte {
	switch {
	case ns < uint64(time.Millisecond):
		return append(appendIn(b, ns, time.Microsecond), "us"...)
	case ns < uint64(time.Second):
		return append(appendIn(b, ns, time.Millisecond), "ms"...)
	}
	return append(appendIn(b, ns, time.Second), 's')
}

// appendIn appends ns in a unit, with three digits behind the point.
func appendIn(b []byte, ns uint64, unit time.Duration) []byte {
	b = strconv.AppendUint(b, ns/uint64(unit), 10)
	return appendFraction(b, int64(ns%uint64(unit))*int64(time.Second/unit), 3)
}
