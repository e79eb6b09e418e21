// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/copenclose/copenclose/internal/stream"
)

// What was dropped has the name of whose it was; services of the host keep apart.
func TestListDropped(t *testing.T) {
	shop := &stream.Container{Label: "shop\x1b/api", ID: "x"}
	whose := map[uint64]*stream.Container{1: nil, 2: shop, 3: nil, 4: stream.Unknown}
	got := listDropped(map[uint64]stream.Dropped{
		0: {Lost: 1}, 1: {Lost: 2}, 2: {Lost: 3, Limited: 50}, 3: {Limited: 50}, 4: {Lost: 7},
	}, func(id uint64) *stream.Container { return whose[id] })
	want := []dropped{
		{Container: "shop\x1b/api", ID: "x", CgroupID: 2, Lost: 3, Limited: 50},
		{Container: "host", CgroupID: 3, Limited: 50}, {CgroupID: 4, Lost: 7},
		{Container: "host", CgroupID: 1, Lost: 2}, {Container: "other", Lost: 1},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	var out strings.Builder
	writeDropped(&out, got)
	const says = `copenclose: of shop\x1b/api: 3 lost, 50 over the rate
copenclose: of host cgroup 3: 0 lost, 50 over the rate
copenclose: of cgroup 4: 7 lost, 0 over the rate
copenclose: of host cgroup 1: 2 lost, 0 over the rate
copenclose: of other: 1 lost, 0 over the rate
`
	if said := out.String(); said != says {
		t.Errorf("said %q", said)
	}
}
