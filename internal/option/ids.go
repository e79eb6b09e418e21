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
)

// Tasks is the ids of processes or threads.
type Tasks []uint32

func (n *Tasks) add(list string, notID string) error {
	return eachWord(list, func(word string) error {
		id, err := strconv.ParseInt(word, 10, 32)
		switch {
		case err != nil:
			return fmt.Errorf(notID, escape.String(word))
		case id <= 0:
			return errNotPositive
		}
		*n = append(*n, uint32(id))
		return nil
	})
}

// Processes is a List of processes, by their ids.
type Processes struct{ Tasks }

// Set adds the ids of s.
func (p *Processes) Set(s string) error {
	return p.add(s, `not a process id; for a name: -n %s, or -p "$(pidof %[1]s)"`)
}

// Threads is a List of threads, by their ids.
type Threads struct{ Tasks }

// Set adds the ids of s.
func (p *Threads) Set(s string) error { return p.add(s, "not a thread id; for a name: -n %s") }

func (n *Tasks) String() string { return joined(*n) }

// Missing returns those that there are not. Ids are those of this process's PID
// namespace here.
func (n Tasks) Missing() (missing Tasks) {
	for _, id := range n {
		if errors.Is(unix.Kill(int(id), 0), unix.ESRCH) {
			missing = append(missing, id)
		}
	}
	return missing
}

// Users is a List of users, each an id or a name.
type Users []string

// Set adds the users of s. Names are not looked up yet.
func (u *Users) Set(s string) error {
	return eachWord(s, func(word string) error {
		*u = append(*u, word)
		return checkID(word)
	})
}

func (u *Users) String() string { return strings.Join(*u, ",") }

// Words returns the names of this machine's users.
func (u *Users) Words() []string { return firstFields("/etc/passwd") }

// IDs looks the names up.
func (u Users) IDs() ([]uint32, error) {
	return lookUp(u, func(name string) (string, error) {
		found, err := user.Lookup(name)
		if err != nil {
			return "", fmt.Errorf("no user %q", name)
		}
		return found.Uid, nil
	})
}

// Groups is a List of groups of users, each an id or a name.
type Groups []string

// Set adds the groups of s. Names are not looked up yet.
func (g *Groups) Set(s string) error {
	return eachWord(s, func(word string) error {
		*g = append(*g, word)
		return checkID(word)
	})
}

func (g *Groups) String() string { return strings.Join(*g, ",") }

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
func (g Groups) IDs() ([]uint32, error) {
	return lookUp(g, func(name string) (string, error) {
		found, err := user.LookupGroup(name)
		if err != nil {
			return "", fmt.Errorf("no group %q", name)
		}
		return found.Gid, nil
	})
}

// checkID refuses numbers that are no id. A name never is a number.
func checkID(word string) error {
	number, err := strconv.ParseInt(word, 10, 64)
	if (err == nil && (number < 0 || number > 1<<32-1)) || errors.Is(err, strconv.ErrRange) {
		return errors.New("not an id: those are from 0 to 4294967295")
	}
	return nil
}

// lookUp returns the ids that words are, or have according to find.
func lookUp(words []string, find func(name string) (id string, err error)) (ids []uint32, err error) {
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

// Errnos is a List of errors, each a name like ENOENT or a number.
type Errnos []uint32

// errnoMax is MAX_ERRNO of include/linux/err.h.
const errnoMax = 4095

// Set adds the errors of s.
func (e *Errnos) Set(s string) error {
	return eachWord(s, func(word string) error {
		if number, err := strconv.ParseInt(word, 10, 32); err == nil {
			if number < 1 || number > errnoMax {
				return fmt.Errorf("not an error: those are from 1 to %d", errnoMax)
			}
			*e = append(*e, uint32(number))
			return nil
		}
		errno := names.Errno(strings.ToUpper(word))
		if errno == 0 {
			return errors.New("not an error like ENOENT or 2")
		}
		*e = append(*e, errno)
		return nil
	})
}

func (e *Errnos) String() string { return joined(*e) }

// Words returns the names of errors.
func (e *Errnos) Words() []string { return names.Errnos() }

func joined(numbers []uint32) string {
	var words []string
	for _, n := range numbers {
		words = append(words, strconv.FormatUint(uint64(n), 10))
	}
	return strings.Join(words, ",")
}
