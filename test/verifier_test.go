// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"flag"
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
	{"", "-C", "-o wide", "-o wide --latency --full-path", "-o wide --all-closes --all-opens"},
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
	{"", "-s open", "-s close,connect", "-s dup,bpf,bind,socketpair,recvmsg"},
	{"", "--buffer perf"},
	{"", "--program"},
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

var thorough = flag.Bool("thorough", false, "all combinations of TestVerifies, in each mode, also inside a VM")

// combinationsOf returns which combinations a mode of attaching is tried with. Attaching to
// handlers takes ten seconds inside a VM.
func combinationsOf(t *testing.T, mode string) func(i int) bool {
	ways, err := attachWays()
	if err != nil {
		t.Fatal(err)
	}
	switch hasPerf := slices.Contains(ways, "perf"); {
	case *thorough || os.Getenv("COPENCLOSE_VM") == "":
		return func(int) bool { return true }
	case mode == "fentry" || mode == "kprobe":
		return func(i int) bool { return i%8 == 0 }
	case mode == "perf":
		return func(i int) bool { return i%2 == 0 }
	default:
		return func(i int) bool { return !hasPerf || i%2 == 1 }
	}
}

// The verifier takes what every two options leave of the programs, in each mode of
// attaching. Inside a VM each combination has to do with one mode, unless -thorough asks
// for all: modes share what the options are about.
func TestVerifies(t *testing.T) {
	rows := combinations()
	t.Logf("%d combinations", len(rows))
	eachAttach(t, func(t *testing.T, options ...string) {
		wanted := combinationsOf(t, options[1])
		for i, row := range rows {
			if !wanted(i) {
				continue
			}
			args := append(slices.Clone(options), "--duration", "1ms")
			for i, option := range row {
				args = append(args, strings.Fields(factors[i][option])...)
			}
			if slices.Contains(args, "-s") {
				// There are no closes then, of which all could be shown, or no opens.
				args = slices.DeleteFunc(args, func(arg string) bool {
					return arg == "--all-closes" && !slices.Contains(args, "close,connect") || arg == "--all-opens" && !slices.Contains(args, "open")
				})
			}
			said, err := exec.Command(copenclose, args...).CombinedOutput()
			if err != nil || !summaryLine.Match(said) {
				t.Errorf("%s: %v\n%s%s", strings.Join(args, " "), err, said, whyNot(args...))
			}
		}
	})
}
