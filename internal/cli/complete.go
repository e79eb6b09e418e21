// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/copenclose/copenclose/internal/cgroup"
	"github.com/copenclose/copenclose/internal/container"
	"github.com/copenclose/copenclose/internal/option"
	"github.com/copenclose/copenclose/internal/output"
)

// completeWord is the hidden subcommand that the shells' completions call.
const completeWord = "__complete"

// The last line of an answer can say more to the shell.
const (
	filesFollow = ":files" // files are candidates, too
	listFollows = ":list"  // the candidates are entries of a list, which a comma continues
)

// candidate is a word that can be typed, and what it is.
type candidate struct{ word, about string }

// completeLine answers a shell: what can stand in the place of the last of words, which
// are the command line after copenclose up to the cursor. It writes a candidate a line,
// and after a tab what it is.
func (t *tool) completeLine(words []string) error {
	if len(words) == 0 {
		return nil
	}
	candidates, more := complete(words[:len(words)-1], words[len(words)-1], t.commands())
	w := bufio.NewWriter(t.stdout)
	for _, c := range candidates {
		fmt.Fprintf(w, "%s\t%s\n", c.word, c.about)
	}
	if more != "" {
		fmt.Fprintln(w, more)
	}
	return w.Flush()
}

// complete returns what can stand after words and begins with typed, and what more the
// shell is to know.
func complete(words []string, typed string, commands []*cli.Command) (found []candidate, more string) {
	command, named := commands[0], firstWord(words, commands)
	if named < len(words) {
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.Name == words[named] })
		switch {
		case i > 0:
			command = commands[i]
		case words[named] != "help":
			return nil, ""
		}
	}
	if last := len(words) - 1; last >= 0 && isFlag(words[last]) && needsNext(words[last], command) {
		return completeValue(lastFlag(words[last], command), typed)
	}
	if name, value, ok := strings.Cut(typed, "="); ok && strings.HasPrefix(name, "--") {
		if f := flagNamed(command, name[2:]); f != nil && f.TakesValue() {
			found, more = completeValue(f, value)
			for i := range found {
				found[i].word = name + "=" + found[i].word
			}
		}
		return found, more
	}
	if strings.HasPrefix(typed, "-") {
		for _, f := range command.Flags {
			_, about := usageOf(f.(described))
			for _, name := range f.Names() {
				found = append(found, candidate{dashed(name), about})
			}
		}
		return beginning(typed, found), ""
	}
	if named == len(words) || words[named] == "help" {
		for _, c := range commands[1:] {
			if !c.Hidden {
				found = append(found, candidate{c.Name, c.Usage})
			}
		}
		if named == len(words) {
			found = append(found, candidate{"help", "print the help of a subcommand"})
		}
	}
	return beginning(typed, found), ""
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// lastFlag returns the flag that the letters of word, or its name, end with.
func lastFlag(word string, c *cli.Command) described {
	if name, long := strings.CutPrefix(word, "--"); long {
		return flagNamed(c, name)
	}
	return flagNamed(c, word[len(word)-1:])
}

// completeValue returns what the value of f can be where typed is there of it.
func completeValue(f described, typed string) ([]candidate, string) {
	switch v := setterOf(f.(cli.Flag)).(type) {
	case *option.Choice:
		return beginning(typed, words(v.Words())), ""
	case *option.Path, *option.Paths, *option.Sockets:
		return nil, filesFollow
	case *option.Syscalls:
		return completeList(typed, "!", words(v.Words()))
	case *option.Containers:
		return completeList(typed, "!", containers())
	case interface{ Words() []string }:
		return completeList(typed, "!", words(v.Words()))
	case *option.List:
		if f.Names()[0] != "columns" {
			return nil, ""
		}
		all := []candidate{{"help", "list the columns"}}
		for i := range output.Fields {
			f := &output.Fields[i]
			all = append(all, candidate{f.Header(), f.About})
		}
		return completeList(typed, "+-", all)
	case *option.Processes:
		return completeList(typed, "!", processes())
	case *option.Comms:
		var all []candidate
		for _, p := range processes() {
			all = append(all, candidate{p.about, ""})
		}
		return completeList(typed, "!", all)
	case *option.Cgroups:
		return completeList(typed, "!", cgroups())
	}
	return nil, ""
}

func words(list []string) (all []candidate) {
	for _, word := range list {
		all = append(all, candidate{word, ""})
	}
	return all
}

// completeList returns lists that begin with typed and end with one of all that typed
// does not have; one of marks can stand before an entry.
func completeList(typed, marks string, all []candidate) (found []candidate, more string) {
	comma := strings.LastIndexByte(typed, ',') + 1
	before, entry := typed[:comma], typed[comma:]
	there := strings.Split(before, ",")
	if entry != "" && strings.Contains(marks, entry[:1]) {
		before, entry = before+entry[:1], entry[1:]
	}
	for _, c := range beginning(entry, all) {
		if !slices.Contains(there, c.word) {
			found = append(found, candidate{before + c.word, c.about})
		}
	}
	return found, listFollows
}

// plain are words that mean the same in every shell. What containers, threads and
// cgroups are called is chosen by others: what is not plain is not offered.
var plain = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./:@%+-]*$|^/[A-Za-z0-9_./:@%+-]*$|^--?[a-z0-9-]+$|^-[A-Z]$`)

// beginning returns those of all that begin with typed, each once.
func beginning(typed string, all []candidate) (found []candidate) {
	seen := make(map[string]bool)
	for _, c := range all {
		if strings.HasPrefix(c.word, typed) && plain.MatchString(c.word) && !seen[c.word] {
			seen[c.word] = true
			found = append(found, c)
		}
	}
	return found
}

// processes are the ids of those that run, and their names.
func processes() (all []candidate) {
	names, _ := filepath.Glob("/proc/[0-9]*/comm") // the pattern is valid
	for _, name := range names {
		comm, err := os.ReadFile(name)
		about := strings.TrimSuffix(string(comm), "\n")
		if err != nil || !plain.MatchString(about) {
			about = "" // it ended, or has a name that is not shown
		}
		all = append(all, candidate{filepath.Base(filepath.Dir(name)), about})
	}
	return all
}

// completionTimeout is how long a person waits who pressed a key.
const completionTimeout = time.Second

// containers are the names of those that run, and the ids of those without.
func containers() (all []candidate) {
	registry, err := container.New(container.Config{Note: func(string) {}})
	if err != nil {
		return nil // without cgroups none can be named
	}
	defer registry.Close()
	ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
	defer cancel()
	_ = registry.WaitForNames(ctx) // what is known by then is offered
	for _, c := range registry.List() {
		about := c.Image
		if !plain.MatchString(about) {
			about = c.Runtime
		}
		name := c.Name
		if name == "" {
			name = c.ID[:min(12, len(c.ID))]
		}
		all = append(all, candidate{name, about})
	}
	return all
}

// cgroups are the paths of those that there are.
func cgroups() (all []candidate) {
	tree, err := cgroup.Open()
	if err != nil {
		return nil
	}
	defer tree.Close()
	_ = tree.Walk(func(_ uint64, path string) { all = append(all, candidate{path, ""}) }) // what was found is offered
	return all
}
