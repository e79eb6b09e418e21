// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package option

import "strings"

// Nearest returns the word that was probably meant: one that begins with typed, or
// else one of which at most two letters are others. It is empty if none is.
func Nearest(typed string, words []string) (nearest string) {
	for _, word := range words {
		if len(typed) > 2 && strings.HasPrefix(word, typed) {
			return word
		}
	}
	best := min(2, (len(typed)-1)/2)
	for _, word := range words {
		if d := distance(typed, word); d <= best && (nearest == "" || d < best) {
			nearest, best = word, d
		}
	}
	return nearest
}

// distance returns how many bytes must be put in, taken out, changed or swapped
// with the next to make b of a.
func distance(a, b string) int {
	var before, last, row []int
	for j := range len(b) + 1 {
		last = append(last, j)
	}
	for i := range len(a) {
		row = append([]int(nil), i+1)
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			d := min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				d = min(d, before[j-1]+1)
			}
			row = append(row, d)
		}
		before, last = last, row
	}
	return last[len(b)]
}
