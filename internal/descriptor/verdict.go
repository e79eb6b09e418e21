// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package descriptor

import "fmt"

// A Verdict says how a number of open descriptors has changed.
type Verdict string

// The verdicts.
const (
	Grows    Verdict = "grows"     // it leaks, or holds more and more
	Full     Verdict = "full"      // it does not grow, because the process has no room for more
	Pool     Verdict = "pool"      // it grew, and then no more
	Steady   Verdict = "steady"    // it goes up and down, or not at all
	TooEarly Verdict = "too early" // there are too few snapshots to tell
)

const (
	// intervalsMin is in how many intervals growth must be looked at.
	intervalsMin = 3
	// partsMax is how many parts a longer time is divided into, so that what grows
	// more slowly than is looked is seen, too.
	partsMax = 6
	// growthMin is by how many descriptors a number must have grown to matter.
	growthMin = 3
)

// Judge returns what the numbers of successive snapshots come to, and why.
//
// A number grows that went up in at least two of three parts of the time, and in the
// second half of it, too; in all it must have lost little of what it gained.
func Judge(counts []int) (Verdict, string) {
	if intervals := len(counts) - 1; intervals < intervalsMin {
		return TooEarly, fmt.Sprintf("%d of %d intervals", max(intervals, 0), intervalsMin)
	}
	counts = atEnds(counts)
	parts := len(counts) - 1
	ups, gained, lost := 0, 0, 0
	for i := range parts {
		switch step := counts[i+1] - counts[i]; {
		case step > 0:
			ups++
			gained += step
		default:
			lost -= step
		}
	}
	growth, late := counts[parts]-counts[0], counts[parts]-counts[len(counts)/2]
	switch {
	case growth < growthMin:
		return Steady, fmt.Sprintf("%+d in %d intervals", growth, parts)
	case late <= 0:
		return Pool, fmt.Sprintf("%+d, but none in the last %d of %d intervals", growth, parts-len(counts)/2, parts)
	case 3*ups >= 2*parts && 4*lost <= gained:
		return Grows, fmt.Sprintf("%+d, up in %d of %d intervals", growth, ups, parts)
	}
	return Steady, fmt.Sprintf("%+d, up in only %d of %d intervals", growth, ups, parts)
}

// atEnds returns the numbers at the ends of the parts.
func atEnds(counts []int) []int {
	intervals := len(counts) - 1
	parts := min(intervals, partsMax)
	list := make([]int, 0, parts+1)
	for i := range parts + 1 {
		list = append(list, counts[i*intervals/parts])
	}
	return list
}
