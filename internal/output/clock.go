// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package output

import (
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// TimeStyle is how times are written.
type TimeStyle string

// The styles there are.
const (
	AutoTime  TimeStyle = "auto"  // UTC, or TimeOfDay where -o wide fits a terminal
	UTC       TimeStyle = "utc"   // 2021-01-19T07:35:10Z
	Local     TimeStyle = "local" // 2021-01-19T08:35:10+01:00
	TimeOfDay TimeStyle = "clock" // 08:35:10, local
	Unix      TimeStyle = "unix"  // seconds since 1970
	Delta     TimeStyle = "delta" // seconds since the event before
)

// Precision is how exactly: the unit of the last digit.
type Precision string

// The precisions there are.
const (
	AutoPrecision Precision = "auto" // that of the format
	Seconds       Precision = "s"
	Milliseconds  Precision = "ms"
	Microseconds  Precision = "us"
	Nanoseconds   Precision = "ns"
)

// digits is how many follow the decimal point.
func (p Precision) digits() int {
	return map[Precision]int{Seconds: 0, Milliseconds: 3, Microseconds: 6, Nanoseconds: 9}[p]
}

// clock turns the kernel's monotonic times into text. They differ from the time
// of day by the time of boot, and by more after each suspend and each time
// somebody sets the clock.
type clock struct {
	style          TimeStyle
	digits         int
	zone           *time.Location
	realtimeOffset func() int64
	offset         int64  // ns
	before         uint64 // the event before, for Delta
	// The last second that was formatted, in front of and behind the fraction.
	// Most events share it with the one before.
	second         int64
	prefix, suffix []byte
}

// newClock returns the clock that o asks for, or one of this precision in UTC.
func newClock(o *Options, precision Precision) *clock {
	style := o.Time
	if style == "" || style == AutoTime {
		style = UTC
		if o.width > 0 {
			style = TimeOfDay
		}
	}
	switch {
	case o.Precision != "" && o.Precision != AutoPrecision:
		precision = o.Precision
	case style == Delta:
		precision = Microseconds
	case style == TimeOfDay && !isNarrow(o.width):
		precision = Milliseconds
	}
	c := &clock{style: style, digits: precision.digits(), zone: time.UTC, realtimeOffset: o.realtimeOffset, second: -1}
	if c.realtimeOffset == nil {
		c.realtimeOffset = RealtimeOffset
	}
	if style == Local || style == TimeOfDay {
		if c.zone = o.zone; c.zone == nil {
			c.zone = time.Local
		}
	}
	c.adjust()
	return c
}

// width is how wide the text is, as a column.
func (c *clock) width() int {
	if c.style == Delta {
		return 5 + c.digits
	}
	return len(c.append(nil, uint64(time.Now().UnixNano()-c.offset)))
}

// clockStep is the smallest change of the offset that is taken for a step of the clock,
// and not for the time between reading both.
const clockStep = int64(100 * time.Microsecond)

// adjust reads both clocks, and follows a step.
func (c *clock) adjust() {
	offset := c.realtimeOffset()
	if step := offset - c.offset; step > clockStep || step < -clockStep {
		c.offset = offset
	}
}

// RealtimeOffset returns by how much the time of day is ahead of the monotonic time,
// in ns.
func RealtimeOffset() int64 {
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
	return append(b, c.suffix...)
}

// sameSecond returns a number that two times have that are written alike, or anyTime.
func (c *clock) sameSecond(monotonic uint64) int64 {
	if c.digits != 0 || c.style == Delta {
		return anyTime
	}
	now := int64(monotonic) + c.offset
	if since := now - c.second*int64(time.Second); since >= 0 && since < int64(time.Second) {
		return c.second
	}
	return now / int64(time.Second)
}

// anyTime is no second: each time is written in another way.
const anyTime = -1

func (c *clock) formatSecond(second int64) {
	c.second = second
	if c.style == Unix {
		c.prefix = strconv.AppendInt(c.prefix[:0], second, 10)
		return
	}
	t := time.Unix(second, 0).In(c.zone)
	if c.style == TimeOfDay {
		c.prefix = t.AppendFormat(c.prefix[:0], time.TimeOnly)
		return
	}
	c.prefix = t.AppendFormat(c.prefix[:0], "2006-01-02T15:04:05")
	c.suffix = t.AppendFormat(c.suffix[:0], "Z07:00")
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
	n := len(b)
	b = slices.Grow(b, 10)
	text := (*[10]byte)(b[n : n+10])
	// Four digits at once, so that the divisions do not wait for each other.
	high := uint32(ns) / 10_000
	low := uint32(ns) % 10_000
	first := high / 10_000
	high %= 10_000
	text[0], text[1] = '.', '0'+byte(first)
	*(*[2]byte)(text[2:]), *(*[2]byte)(text[4:]) = twoDigits[high/100], twoDigits[high%100]
	*(*[2]byte)(text[6:]), *(*[2]byte)(text[8:]) = twoDigits[low/100], twoDigits[low%100]
	return b[:n+1+digits]
}

// twoDigits has the numbers from 00 to 99.
var twoDigits = func() (text [100][2]byte) {
	for i := range text {
		text[i] = [2]byte{'0' + byte(i/10), '0' + byte(i%10)}
	}
	return text
}()

// appendDuration appends ns in the unit that suits it, with three digits at most.
func appendDuration(b []byte, ns uint64) []byte {
	switch {
	case ns < uint64(time.Microsecond):
		return append(strconv.AppendUint(b, ns, 10), "ns"...)
	case ns < uint64(time.Millisecond):
		return append(appendIn(b, ns, time.Microsecond), "us"...)
	case ns < uint64(time.Second):
		return append(appendIn(b, ns, time.Millisecond), "ms"...)
	}
	return append(appendIn(b, ns, time.Second), 's')
}

// appendIn appends the first three digits of ns in a unit, and all before the point.
func appendIn(b []byte, ns uint64, unit time.Duration) []byte {
	whole, rest := ns/uint64(unit), ns%uint64(unit)
	b = strconv.AppendUint(b, whole, 10)
	digits := 2
	switch {
	case whole >= 100:
		return b
	case whole >= 10:
		digits = 1
	}
	b = appendFraction(b, int64(rest)*int64(time.Second/unit), digits)
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	if b[len(b)-1] == '.' {
		b = b[:len(b)-1]
	}
	return b
}
