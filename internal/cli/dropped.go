// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/copenclose/copenclose/internal/escape"
	"github.com/copenclose/copenclose/internal/stream"
)

// The words of --loss-by.
const (
	lossByNothing   = "none"
	lossByContainer = "container"
)

// dropped is what was dropped of the calls of a container, of a service or a user of the
// host, or of a cgroup of which it is not known whose it is.
type dropped struct {
	Container string `json:"container,omitempty"` // empty where it is not known
	ID        string `json:"id,omitempty"`        // the container's
	CgroupID  uint64 `json:"cgroup_id,omitempty"`
	Lost      uint64 `json:"lost"`
	Limited   uint64 `json:"over_rate"`
}

// Those that are neither a container's nor a cgroup's.
const (
	droppedOfHost  = "host"
	droppedOfOther = "other" // those for which the kernel had no room
)

// listDropped says whose what was dropped was, most first. It has it by the own cgroups of
// containers, and of services and users; containerOf says whose a cgroup is, nil for the
// host.
func listDropped(cgroups map[uint64]stream.Dropped, containerOf func(cgroup uint64) *stream.Container) (all []dropped) {
	for id, of := range cgroups {
		d := dropped{CgroupID: id, Lost: of.Lost, Limited: of.Limited}
		if id == 0 {
			d.Container = droppedOfOther
		} else if c := containerOf(id); c == nil {
			d.Container = droppedOfHost
		} else if c != stream.Unknown {
			d.Container, d.ID = c.Label, c.ID
		}
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b dropped) int {
		return cmp.Or(cmp.Compare(b.Lost+b.Limited, a.Lost+a.Limited), cmp.Compare(a.CgroupID, b.CgroupID))
	})
	return all
}

// name is what people read. Of the host there can be several.
func (d dropped) name() string {
	name := string(escape.Append(nil, []byte(d.Container), true))
	if d.ID != "" || d.CgroupID == 0 {
		return name
	}
	return strings.TrimSpace(name + " cgroup " + strconv.FormatUint(d.CgroupID, 10))
}

// writeDropped writes a line for each.
func writeDropped(w io.Writer, all []dropped) {
	for _, d := range all {
		fmt.Fprintf(w, "copenclose: of %s: %d lost, %d over the rate\n", d.name(), d.Lost, d.Limited)
	}
}
