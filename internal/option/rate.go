// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package option

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Rate is a number of events a second, 0 for no limit, and how many may come at once.
type Rate struct{ PerSecond, Burst uint32 }

// Set parses N or N/BURST. Without a burst it is what a second allows.
func (r *Rate) Set(s string) error {
	perSecond, burst, hasBurst := strings.Cut(s, "/")
	if !hasBurst {
		burst = perSecond
	}
	n, err1 := strconv.ParseUint(perSecond, 10, 32)
	b, err2 := strconv.ParseUint(burst, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return errors.New("not like 1000 events a second, or 1000/5000 with a burst")
	}
	if n == 0 || b == 0 {
		return errNotPositive
	}
	*r = Rate{uint32(n), uint32(b)}
	return nil
}

// String is empty for no limit.
func (r *Rate) String() string {
	switch {
	case r.PerSecond == 0:
		return ""
	case r.Burst == r.PerSecond:
		return strconv.Itoa(int(r.PerSecond))
	}
	return fmt.Sprintf("%d/%d", r.PerSecond, r.Burst)
}
