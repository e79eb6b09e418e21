// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// factors are the options that decide which code the verifier sees: of each, one is
// given. A command stands last.
var factors = [][]string{
	{"", "-C", "-o wide", "-o wide --latency --full-path", "-o wide --all-closes"},
	{"", "-I"},
	{"", "-c x --no-runtime"},
	{"", "--failed"},
	{"", "--errno ENOENT", "--errno ENOENT,EPERM", "--errno !ENOENT"},
	{"", "--tid 1"},
	{"", "--uid 1", "--uid 1,2", "--uid !1,2"},
	{"", "--gid 1"},
	{"", "--comm a,b*", "--comm !a"},
	{"", "--path /x", "--path !/x"},
	{"", "--cgroup /", "--cgroup !/"},
	{"", "--rate 100", "--loss-by container"},
	{"", "-s open", "-s close,connect", "-s dup,bpf,bind,socketpair"},
	{"", "--buffer perf"},
	{"", "--pid 1 --follow", "-- true"},
}

// combinations returns so many combinations of factors that each two options that can
// stand together do so in one of them. All of them would be 300,000.
func combinations() (rows [][]int) {
	type pair [4]int // a factor and its option, and another one and its option
	pairs := func(row []int) (all []pair) {
		for i := range row {
			for j := range i {
				all = append(all, pair{j, row[j], i, row[i]})
			}
		}
		return all
	}
	covered, total := make(map[pair]bool), 0
	for i := range factors {
		for j := range i {
			total += len(factors[i]) * len(factors[j])
		}
	}
	random := rand.New(rand.NewPCG(1, 2)) // the same each time
	for len(covered) < total {
		var best []int
		most := 0
		for range 200 {
			row := make([]int, len(factors))
			for i, f := range factors {
				row[i] = random.IntN(len(f))
			}
			n := 0
			for _, p := range pairs(row) {
				if !covered[p] {
					n++
				}
			}
			if n > most {
				best, most = row, n
			}
		}
		if best == nil {
			continue // no candidate had a new pair
		}
		for _, p := range pairs(best) {
			covered[p] = true
		}
		rows = append(rows, best)
	}
	return rows
}

// The verifier takes what every two options leave of the programs, in each mode of
// attaching. Inside a VM, where attaching to the handlers takes ten seconds, a third of the
// combinations has to do for all modes but one: they share what the options are about.
func TestVerifies(t *testing.T) {
	rows := combinations()
	t.Logf("%d combinations", len(rows))
	eachAttach(t, func(t *testing.T, options ...string) {
		few := os.Getenv("COPENCLOSE_VM") != "" && !slices.Contains(options, "tracepoint")
		for i, row := range rows {
			if few && i%3 > 0 {
				continue
			}
			args := append(slices.Clone(options), "--duration", "1ms")
			for i, option := range row {
				args = append(args, strings.Fields(factors[i][option])...)
			}
			if slices.Contains(args, "-s") && !slices.Contains(args, "close,connect") {
				// There are no closes then, of which all could be shown.
				args = slices.DeleteFunc(args, func(arg string) bool { return arg == "--all-closes" })
			}
			said, err := exec.Command(copenclose, args...).CombinedOutput()
			if err != nil || !summaryLine.Match(said) {
				t.Errorf("%s: %v\n%s%s", strings.Join(args, " "), err, said, whyNot(args...))
			}
		}
	})
}
