// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package runtime

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	gort "runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/internal/owner"
)

// shortDir returns a directory whose sockets have short enough paths, as those of
// t.TempDir may not be.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// listenAs listens at path as another user does.
func listenAs(t *testing.T, uid int, path string) net.Listener {
	t.Helper()
	fds, errs := make(chan int, 1), make(chan error, 1)
	go func() {
		// The thread has another user and ends with the goroutine.
		gort.LockOSThread()
		fd, err := func() (int, error) {
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), 0); errno != 0 {
				return -1, errno
			}
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return -1, err
			}
			if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
				return -1, err
			}
			return fd, unix.Listen(fd, 10)
		}()
		fds <- fd
		errs <- err
	}()
	fd := <-fds
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	l, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

const alice, bob = 1999, 1998

// Who owns a socket is who could have put another one there.
func TestSocketOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to listen as other users do")
	}
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mkdir := func(name string, uid int, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		for _, err := range []error{os.MkdirAll(path, 0o755), os.Chown(path, uid, uid), os.Chmod(path, mode)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	link := func(target, name string, uid int) string {
		path := filepath.Join(dir, name)
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
		if err := os.Lchown(path, uid, uid); err != nil {
			t.Fatal(err)
		}
		return path
	}
	roots, alices := mkdir("root", 0, 0o755), mkdir("alice", alice, 0o755)
	open, sticky := mkdir("open", 0, 0o777), mkdir("sticky", 0, os.ModeSticky|0o777)
	listenAs(t, 0, roots+"/s")
	listenAs(t, alice, alices+"/s")
	listenAs(t, 0, open+"/s")
	listenAs(t, 0, sticky+"/s")
	listenAs(t, alice, sticky+"/alice")
	listenAs(t, 0, alices+"/fromroot")
	for path, want := range map[string]owner.ID{
		roots + "/s":                             owner.Root,
		alices + "/s":                            alice,
		alices + "/fromroot":                     alice,
		open + "/s":                              owner.Nobody,
		sticky + "/s":                            owner.Root,
		sticky + "/alice":                        alice,
		link(roots+"/s", "root/link", 0):         owner.Root,
		link("../root/s", "root/relative", 0):    owner.Root,
		link(roots, "up", 0) + "/../root/s":      owner.Root,
		link(roots+"/s", "alice/link", alice):    alice, // could lead elsewhere in a moment
		link(alices+"/s", "root/toalice", 0):     alice,
		link(roots+"/s", "sticky/bobs", bob):     bob,
		link(alices+"/s", "sticky/toalice", bob): owner.Nobody,
	} {
		s, err := OpenSocket(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if s.Owner() != want {
			t.Errorf("%s is of %s, want %s", path, s.Owner(), want)
		}
		conn, err := s.dial(t.Context())
		if err != nil && want != owner.Nobody {
			t.Errorf("%s: %v", path, err)
		} else if err == nil {
			conn.Close()
		}
		s.Close()
	}
	for name, path := range map[string]string{
		"nowhere": dir + "/nowhere", "a directory": roots, "a loop": link("loop", "loop", 0),
		"too long": "/" + strings.Repeat("a/", 5000),
	} {
		if s, err := OpenSocket(path); err == nil {
			t.Errorf("%s is opened: %+v", name, s)
		} else if !isDialError(err) {
			t.Errorf("%s: %v is no error of dialing", name, err)
		}
	}
}

// A directory of root's is no proof that root listens.
func TestListenerOfAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to listen as other users do")
	}
	path := shortDir(t) + "/s"
	file, err := os.OpenFile(filepath.Dir(path), os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	// While alice listens she owns the directory.
	if err := file.Chown(alice, 0); err != nil {
		t.Fatal(err)
	}
	listenAs(t, alice, path)
	for _, err := range []error{file.Chown(0, 0), os.Chown(path, 0, 0)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := OpenSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	conn, err := s.dial(t.Context())
	if err == nil {
		conn.Close()
		t.Fatal("connected")
	}
	if !strings.Contains(err.Error(), fmt.Sprintf("user %d", alice)) || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}

// What takes the place of a socket after it was looked at is not connected to.
func TestSocketIsReplaced(t *testing.T) {
	path := shortDir(t) + "/s"
	serveAt(t, path, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s, err := OpenSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := os.Rename(path, path+"2"); err != nil {
		t.Fatal(err)
	}
	replaced, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	replaced.Close()
	if err := (dockerAPI{}).ping(t.Context(), s); err != nil {
		t.Errorf("not the one that was opened: %v", err)
	}
}

// net/http says nothing by itself of a server that speaks first.
func TestSpeaksFirst(t *testing.T) {
	path := shortDir(t) + "/s"
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, "\x1b[2Jcopenclose: forged\n")
			conn.Close()
		}
	}()
	var said bytes.Buffer
	log.SetOutput(&said)
	defer log.SetOutput(os.Stderr)
	s, err := OpenSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := Connect(context.Background(), s); err == nil {
		t.Error("connected")
	}
	if said.Len() > 0 {
		t.Errorf("logged: %q", said.String())
	}
}
