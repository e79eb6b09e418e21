// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package counting

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Grouped returns n with a comma between each three digits.
func Grouped(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	text := make([]byte, 0, len(digits)+len(digits)/3)
	for i := range len(digits) {
		if i > 0 && (len(digits)-i)%3 == 0 {
			text = append(text, ',')
		}
		text = append(text, digits[i])
	}
	return string(text)
}

// Short returns n in at most five columns, with a k, M or G.
func Short(n float64) string {
	switch {
	case n < 0.05:
		return "0"
	case n < 9.95 && n != math.Trunc(n):
		return strconv.FormatFloat(n, 'f', 1, 64)
	case n < 999.5:
		return strconv.FormatFloat(n, 'f', 0, 64)
	}
	for _, unit := range "kMGTP" {
		n /= 1000
		switch {
		case n < 99.95:
			return strconv.FormatFloat(n, 'f', 1, 64) + string(unit)
		case n < 999.5:
			return strconv.FormatFloat(n, 'f', 0, 64) + string(unit)
		}
	}
	return strconv.FormatFloat(n, 'g', 2, 64)
}

// ShortTime returns d with two digits and a unit.
func ShortTime(d time.Duration, micro string) string {
	for _, u := range []struct {
		size time.Duration
		name string
	}{{time.Second, "s"}, {time.Millisecond, "ms"}, {time.Microsecond, micro}} {
		if d >= u.size {
			n := float64(d) / float64(u.size)
			if n < 9.95 {
				return fmt.Sprintf("%.1f %s", n, u.name)
			}
			return fmt.Sprintf("%.0f %s", n, u.name)
		}
	}
	return fmt.Sprintf("%d ns", d)
}
