// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package counting

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// A Target is what calls were about: a file, a directory with all below, or a peer.
type Target struct {
	Text  string // arbitrary bytes; of a directory it ends with /**
	Error uint16 // of calls that failed, 0 of all calls
	// Share is the part of the calls that it was asked of, from 0 to 1. It is
	// estimated: with a probability of 95 % it is at most Deviation off. Where each
	// call was looked at, Deviation is 0.
	Share, Deviation float64

	weight  float64
	sampled []*sample
}

// group is some samples and what they stand for.
type group struct {
	samples []*sample
	weight  float64 // in all
	square  float64 // sum of the squares of the weights
	exact   bool    // each stands for itself
}

func newGroup(samples []*sample) group {
	g := group{samples: samples, exact: true}
	for _, one := range samples {
		g.weight += one.weight
		g.square += one.weight * one.weight
		g.exact = g.exact && one.weight == 1
	}
	return g
}

// deviation returns how far off a share of g is at most, with a probability of 95 %.
// Samples of different weights are worth fewer of one weight (Kish), and the interval
// is that of Agresti and Coull, which holds for few samples, too.
func (g *group) deviation(share float64) float64 {
	if g.exact || g.weight == 0 {
		return 0
	}
	n := g.weight * g.weight / g.square
	middle := (share*n + 2) / (n + 4)
	return min(1, 1.96*math.Sqrt(middle*(1-middle)/(n+4))+math.Abs(middle-share))
}

// directory is a node of the tree of paths.
type directory struct {
	below map[string]*directory
	here  []*sample
}

func (d *directory) add(path string, one *sample) {
	for path != "" {
		// The slash belongs to the name before it, so that a relative path is one.
		name := path
		if i := strings.IndexByte(path, '/'); i >= 0 {
			name = path[:i+1]
		}
		path = path[len(name):]
		if d.below == nil {
			d.below = make(map[string]*directory)
		}
		next := d.below[name]
		if next == nil {
			next = &directory{}
			d.below[name] = next
		}
		d = next
	}
	d.here = append(d.here, one)
}

// heavy appends to found the deepest places that have least of weight each, without
// those that are below one another, and returns the samples that are in none of them.
func (d *directory) heavy(path string, least float64, found []Target) ([]Target, []*sample) {
	rest := d.here
	for _, name := range slices.Sorted(keys(d.below)) {
		var left []*sample
		found, left = d.below[name].heavy(path+name, least, found)
		rest = append(rest[:len(rest):len(rest)], left...)
	}
	g := newGroup(rest)
	if len(rest) == 0 || g.weight < least {
		return found, rest
	}
	if path == "" || strings.HasSuffix(path, "/") {
		path += "**"
	}
	return append(found, Target{Text: path, weight: g.weight, sampled: rest}), nil
}

func keys(m map[string]*directory) func(func(string) bool) {
	return func(yield func(string) bool) {
		for name := range m {
			if !yield(name) {
				return
			}
		}
	}
}

// heaviest returns what g is about, in at most about 2n targets: places that have less
// than a part of 2n are put together. The heaviest is first.
func (g *group) heaviest(n int) []Target {
	var tree directory
	peers := make(map[string][]*sample)
	for _, one := range g.samples {
		if one.cell.Operation() == Open {
			tree.add(one.target, one)
		} else {
			peers[one.target] = append(peers[one.target], one)
		}
	}
	found, rest := tree.heavy("", g.weight/float64(2*n), nil)
	if len(rest) > 0 {
		found = append(found, Target{Text: "**", weight: newGroup(rest).weight, sampled: rest})
	}
	for peer, samples := range peers {
		found = append(found, Target{Text: peer, weight: newGroup(samples).weight, sampled: samples})
	}
	for i := range found {
		found[i].Share = found[i].weight / g.weight
		found[i].Deviation = g.deviation(found[i].Share)
	}
	slices.SortFunc(found, func(a, b Target) int {
		return cmp.Or(-cmp.Compare(a.weight, b.weight), strings.Compare(a.Text, b.Text))
	})
	return found
}

// top returns the target that most calls of g are about, and false if there is none.
// Where most of them failed with one error, it is what those are about.
func (g *group) top() (Target, bool) {
	byError := make(map[uint16][]*sample)
	for _, one := range g.samples {
		byError[one.cell.Error] = append(byError[one.cell.Error], one)
	}
	var most group
	var with uint16
	for number, samples := range byError {
		if c := newGroup(samples); c.weight > most.weight || c.weight == most.weight && number < with {
			most, with = c, number
		}
	}
	if most.weight == 0 {
		return Target{}, false
	}
	// That calls are all over the place says nothing.
	targets := most.heaviest(2)
	i := slices.IndexFunc(targets, func(t Target) bool { return t.Text != "**" && t.Text != "/**" })
	if i < 0 {
		return Target{}, false
	}
	top := targets[i]
	top.Error = with
	top.Share = top.weight / g.weight
	top.Deviation = g.deviation(top.Share)
	return top, true
}
