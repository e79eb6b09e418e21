// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package doctor

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/copenclose/copenclose/internal/container/runtime"
	"github.com/copenclose/copenclose/internal/owner"
)

// runtimes has a line for each socket of a runtime, and one for the runtimes without.
func runtimes(ctx context.Context, sockets []string) (findings []Finding) {
	for _, path := range sockets {
		findings = append(findings, socket(ctx, "runtime", path))
	}
	if len(sockets) > 0 {
		return findings
	}
	users := append([]owner.ID{owner.Root}, loggedIn()...)
	seen := make(map[string]bool) // one socket may have several paths
	var without []string
	for _, r := range runtime.Runtimes {
		if _, err := runtime.FromEnvironment(r.Name); err != nil {
			findings = append(findings, degraded(r.Name, err.Error(), "", "name its socket with --runtime-socket, where it is on this machine"))
		}
		listens := false
		for _, u := range users {
			for _, path := range runtime.Sockets(r.Name, u) {
				target, err := filepath.EvalSymlinks(path)
				if os.IsNotExist(err) || seen[target] {
					continue
				}
				seen[target], listens = true, true
				findings = append(findings, socket(ctx, r.Name, path))
			}
		}
		if !listens && len(runtime.Sockets(r.Name, owner.Root)) > 0 {
			without = append(without, r.Name)
		}
	}
	if len(without) > 0 {
		findings = append(findings, ok("runtimes", "no socket of "+strings.Join(without, ", ")+": if containers of theirs run, they are shown by id"))
	}
	return findings
}

// loggedIn are the users that have a folder for sockets.
func loggedIn() (users []owner.ID) {
	folders, _ := filepath.Glob("/run/user/*")
	for _, f := range folders {
		if uid, err := strconv.ParseUint(filepath.Base(f), 10, 32); err == nil && owner.ID(uid) != owner.Root {
			users = append(users, owner.ID(uid))
		}
	}
	return users
}

// answerTimeout is for one socket; Podman is started by the first request.
const answerTimeout = 5 * time.Second

func socket(ctx context.Context, name, path string) Finding {
	const lost = "names, images and pods of its containers, which are shown by id"
	info, err := os.Stat(path)
	if err != nil {
		return missing(name, err.Error(), lost, "start it, or name its socket with --runtime-socket")
	}
	found := fmt.Sprintf("%s, %s, %s", path, ownerOf(info), info.Mode())
	s, err := runtime.OpenSocket(path)
	if err != nil {
		return degraded(name, found+": "+err.Error(), lost, "")
	}
	defer s.Close()
	switch s.Owner() {
	case owner.Root:
	case owner.Nobody:
		return degraded(name, found+": more than one user could have put it there", lost, "take the right to write from the folders above it")
	default:
		found += fmt.Sprintf(", believed about containers of %s", s.Owner())
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if _, err := runtime.Connect(ctx, s); err != nil {
		return degraded(name, found+": "+err.Error(), lost, "")
	}
	return ok(name, found+", answers")
}

// ownerOf is user and group as people write them, by number where they have no name.
func ownerOf(info os.FileInfo) string {
	stat, is := info.Sys().(*syscall.Stat_t)
	if !is {
		return "?"
	}
	name, group := strconv.Itoa(int(stat.Uid)), strconv.Itoa(int(stat.Gid))
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	if g, err := user.LookupGroupId(group); err == nil {
		group = g.Name
	}
	return name + ":" + group
}
