// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package doctor

import (
	"fmt"
	"time"

	"github.com/copenclose/copenclose/internal/descriptor"
)

// kept says what fds --keep left in the kernel.
func kept() Finding {
	const check, end = "fds --keep", "copenclose fds --forget ends it"
	k, err := descriptor.FindKept()
	switch {
	case err != nil:
		return degraded(check, err.Error(), "ages of what is opened while no copenclose runs", "")
	case k == nil:
		return ok(check, "not kept")
	}
	defer k.Close()
	n, err := k.Count()
	if err != nil {
		return degraded(check, err.Error(), "how full it is", end)
	}
	f := ok(check, fmt.Sprintf("since %s: %d of %d entries, %.1f MiB", k.Since.Format(time.DateTime), n, k.Room, float64(k.Memory(n))/(1<<20)))
	if lost := k.Lost(); lost > 0 {
		f = degraded(check, f.Found, fmt.Sprintf("how %d descriptors were made, for which there was no room", lost), "")
	}
	f.Do = end
	return f
}
