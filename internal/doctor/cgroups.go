// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"

	"github.com/copenclose/copenclose/internal/container"
)

// cgroups says how the tree is laid out, and which containers it shows.
func cgroups() []Finding {
	layout := cgroupLayout()
	registry, err := container.New(container.Config{NoNames: true})
	if err != nil {
		return []Finding{layout, missing("containers", err.Error(),
			"containers but by their hostname and PID namespace", "mount -t cgroup2 cgroup2 /sys/fs/cgroup, or CAP_SYS_ADMIN")}
	}
	defer registry.Close()
	found := found(registry.List())
	if warning := registry.Warning(); warning != nil {
		return []Finding{layout, degraded("containers", found, "containers beside this one: "+warning.Error(), "")}
	}
	return []Finding{layout, ok("containers", found+"; all cgroups of the host are seen")}
}

func cgroupLayout() Finding {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup2", "cgroup"))
	if err != nil {
		return missing("cgroups", err.Error(), "", "mount -t proc proc /proc")
	}
	v2 := slices.IndexFunc(mounts, func(m *mountinfo.Info) bool { return m.FSType == "cgroup2" })
	v1 := slices.ContainsFunc(mounts, func(m *mountinfo.Info) bool { return m.FSType == "cgroup" })
	switch {
	case v2 >= 0 && v1:
		return ok("cgroups", "v2 on "+mounts[v2].Mountpoint+", beside v1")
	case v2 >= 0:
		return ok("cgroups", "v2 on "+mounts[v2].Mountpoint)
	case v1:
		return degraded("cgroups", "v1 only; v2 is not mounted", "nothing, if v2 can be mounted where nobody sees it", "")
	}
	return degraded("cgroups", "not mounted", "nothing, if v2 can be mounted where nobody sees it", "")
}

// found is how many containers of each runtime there are.
func found(list []*container.Container) string {
	if len(list) == 0 {
		return "none runs"
	}
	var runtimes []string
	count := make(map[string]int)
	for _, c := range list {
		if count[c.Runtime]++; count[c.Runtime] == 1 {
			runtimes = append(runtimes, c.Runtime)
		}
	}
	slices.Sort(runtimes)
	var words []string
	for _, r := range runtimes {
		words = append(words, fmt.Sprintf("%d of %s", count[r], r))
	}
	return strings.Join(words, ", ")
}
