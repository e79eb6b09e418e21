// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package option

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/internal/escape"
	"github.com/copenclose/copenclose/internal/names"
	"github.com/copenclose/copenclose/internal/selection"
)

// Tasks is a Selection of processes or threads, by their ids.
type Tasks struct{ Selection[uint32] }

func (t *Tasks) set(list string, notID string) error {
	return t.add(eachWord, list, func(word string) (uint32, error) {
		id, err := strconv.ParseInt(word, 10, 32)
		switch {
		case err != nil:
			return 0, fmt.Errorf(notID, escape.String(word))
		case id <= 0:
			return 0, errNotPositive
		}
		return uint32(id), nil
	})
}

// Missing returns those that are wanted, but not there. Ids are those of this process's
// PID namespace here.
func (t *Tasks) Missing() (missing []uint32) {
	for _, id := range t.Only {
		if errors.Is(unix.Kill(int(id), 0), unix.ESRCH) {
			missing = append(missing, id)
		}
	}
	return missing
}

// Processes is a Selection of processes, by their ids.
type Processes struct{ Tasks }

// Set adds the ids of s.
func (p *Processes) Set(s string) error {
	return p.set(s, `not a process id; for a name: -n %s, or -p "$(pidof %[1]s)"`)
}

// Threads is a Selection of threads, by their ids.
type Threads struct{ Tasks }

// Set adds the ids of s.
func (t *Threads) Set(s string) error { return t.set(s, "not a thread id; for a name: -n %s") }

// Users is a Selection of users, each an id or a name.
type Users struct{ Selection[string] }

// Set adds the users of s. Names are not looked up yet.
func (u *Users) Set(s string) error { return u.add(eachWord, s, checkID) }

// Words returns the names of this machine's users.
func (u *Users) Words() []string { return firstFields("/etc/passwd") }

// IDs looks the names up.
func (u *Users) IDs() (selection.List[uint32], error) {
	return lookUp(u.List, func(name string) (string, error) {
		found, err := user.Lookup(name)
		if err != nil {
			return "", fmt.Errorf("no user %q", name)
		}
		return found.Uid, nil
	})
}

// Groups is a Selection of groups of users, each an id or a name.
type Groups struct{ Selection[string] }

// Set adds the groups of s. Names are not looked up yet.
func (g *Groups) Set(s string) error { return g.add(eachWord, s, checkID) }

// Words returns the names of this machine's groups.
func (g *Groups) Words() []string { return firstFields("/etc/group") }

// firstFields returns what stands before the first colon of each line of a file, none
// if it cannot be read.
func firstFields(file string) (fields []string) {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if field, _, found := strings.Cut(line, ":"); found {
			fields = append(fields, field)
		}
	}
	return fields
}

// IDs looks the names up.
func (g *Groups) IDs() (selection.List[uint32], error) {
	return lookUp(g.List, func(name string) (string, error) {
		found, err := user.LookupGroup(name)
		if err != nil {
			return "", fmt.Errorf("no group %q", name)
		}
		return found.Gid, nil
	})
}

// checkID refuses numbers that are no id. A name never is a number.
func checkID(word string) (string, error) {
	number, err := strconv.ParseInt(word, 10, 64)
	if (err == nil && (number < 0 || number > 1<<32-1)) || errors.Is(err, strconv.ErrRange) {
		return "", errors.New("not an id: those are from 0 to 4294967295")
	}
	return word, nil
}

// lookUp returns the ids that words are, or have according to find.
func lookUp(words selection.List[string], find func(name string) (id string, err error)) (ids selection.List[uint32], err error) {
	if ids.Only, err = idsOf(words.Only, find); err == nil {
		ids.Except, err = idsOf(words.Except, find)
	}
	return ids, err
}

func idsOf(words []string, find func(name string) (id string, err error)) (ids []uint32, err error) {
	for _, word := range words {
		id, err := strconv.ParseUint(word, 10, 32)
		if err != nil {
			found, err := find(word)
			if err != nil {
				return nil, err
			}
			if id, err = strconv.ParseUint(found, 10, 32); err != nil {
				return nil, fmt.Errorf("id of %q: %w", word, err)
			}
		}
		ids = append(ids, uint32(id))
	}
	return ids, nil
}

// Errnos is a Selection of errors, each a name like ENOENT or a number.
type Errnos struct{ Selection[uint32] }

// errnoMax is MAX_ERRNO of include/linux/err.h.
const errnoMax = 4095

// Set adds the errors of s.
func (e *Errnos) Set(s string) error {
	return e.add(eachWord, s, func(word string) (uint32, error) {
		if number, err := strconv.ParseInt(word, 10, 32); err == nil {
			if number < 1 || number > errnoMax {
				return 0, fmt.Errorf("not an error: those are from 1 to %d", errnoMax)
			}
			return uint32(number), nil
		}
		errno := names.Errno(strings.ToUpper(word))
		if errno == 0 {
			return 0, errors.New("not an error like ENOENT or 2")
		}
		return errno, nil
	})
}

// Words returns the names of errors.
func (e *Errnos) Words() []string { return names.Errnos() }
