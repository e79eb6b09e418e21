// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package stack

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Compilers that make code while a program runs write the names of its functions to
// /tmp/perf-PID.map, in the program's mount namespace and with the number that it has in its
// PID namespace: tools/perf/Documentation/jit-interface.txt of Linux.

type perfMap struct{ list []perfSymbol }

type perfSymbol struct {
	start, size uint64
	name        string
	order       int // later ones are of newer code
}

const perfMapMax = 64 << 20

// readPerfMap reads the file of a process, if it is its own. The path is looked up as if
// the process's root were ours, so that no link leads out of it.
func readPerfMap(pid uint32) (*perfMap, error) {
	number, uid, err := numberInside(pid)
	if err != nil {
		return nil, err
	}
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(root)
	name := fmt.Sprintf("tmp/perf-%d.map", number)
	fd, err := unix.Openat2(root, name, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, err
	}
	f, err := reopenRegular(fd, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return nil, err
	}
	if stat.Uid != uid && stat.Uid != 0 {
		return nil, errors.New("a map of somebody else")
	}
	return parsePerfMap(io.LimitReader(f, perfMapMax)), nil
}

// numberInside returns a process's number in its own PID namespace, and its effective user.
func numberInside(pid uint32) (number uint64, uid uint32, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) > 1 && fields[0] == "NSpid:":
			number, err = strconv.ParseUint(fields[len(fields)-1], 10, 32)
		case len(fields) > 2 && fields[0] == "Uid:":
			var n uint64
			n, err = strconv.ParseUint(fields[2], 10, 32)
			uid = uint32(n)
		}
		if err != nil {
			return 0, 0, err
		}
	}
	return number, uid, nil
}

// parsePerfMap takes lines like "7f00a8c0 1b0 LazyCompile:~query /app/db.js:12".
func parsePerfMap(r io.Reader) *perfMap {
	p := &perfMap{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		start, rest, _ := bytes.Cut(lines.Bytes(), []byte(" "))
		size, name, _ := bytes.Cut(rest, []byte(" "))
		var s perfSymbol
		var errs [2]error
		s.start, errs[0] = strconv.ParseUint(string(bytes.TrimPrefix(start, []byte("0x"))), 16, 64)
		s.size, errs[1] = strconv.ParseUint(string(bytes.TrimPrefix(size, []byte("0x"))), 16, 64)
		if errs != [2]error{} || len(name) == 0 {
			continue
		}
		s.name, s.order = string(name[:min(len(name), nameMax)]), len(p.list)
		p.list = append(p.list, s)
	}
	slices.SortFunc(p.list, func(a, b perfSymbol) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.order, b.order))
	})
	return p
}

// near is how many functions before an address are looked at for one that has it: newer code
// can lie where longer older code was.
const near = 64

// at returns the name of the newest function that has an address.
func (p *perfMap) at(address uint64) string {
	if p == nil {
		return ""
	}
	i, _ := slices.BinarySearchFunc(p.list, address, func(s perfSymbol, address uint64) int {
		if s.start <= address {
			return -1
		}
		return 1
	})
	newest, name := -1, ""
	for n := 0; n < near && i > 0; n++ {
		i--
		if s := p.list[i]; address-s.start < s.size && s.order > newest {
			newest, name = s.order, s.name
		}
	}
	return name
}
