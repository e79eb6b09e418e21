// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package runtime

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/copenclose/copenclose/internal/owner"
)

// Socket is a runtime's socket. It stays the same one, whatever becomes of its path.
type Socket struct {
	path  string
	fd    int // O_PATH
	owner owner.ID
}

// OpenSocket follows path to a socket.
func OpenSocket(path string) (*Socket, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	fd, who, err := follow(abs)
	if err != nil {
		return nil, dialError(path, err)
	}
	return &Socket{path: path, fd: fd, owner: who}, nil
}

// Owner returns who can have another process answer here. Only about that user's
// containers can the answers be believed, and about all others' if it is root.
func (s *Socket) Owner() owner.ID { return s.owner }

// Close closes s.
func (s *Socket) Close() error { return unix.Close(s.fd) }

// dial connects to the socket. It fails if the process that listens there is neither
// of root nor of the owner.
func (s *Socket) dial(ctx context.Context) (net.Conn, error) {
	// That link leads connect(2) to the very socket whose owner is known.
	conn, err := new(net.Dialer).DialContext(ctx, "unix", "/proc/self/fd/"+strconv.Itoa(s.fd))
	if err != nil {
		if op := (*net.OpError)(nil); errors.As(err, &op) {
			err = op.Err
		}
		return nil, dialError(s.path, err)
	}
	listener, err := peer(conn.(*net.UnixConn))
	if err == nil && listener != owner.Root && listener != s.owner {
		err = fmt.Errorf("it is of %s, and the process that listens of %s", s.owner, listener)
	}
	if err != nil {
		conn.Close()
		return nil, dialError(s.path, err)
	}
	return &answering{Conn: conn, asked: make(chan struct{})}, nil
}

// answering is a connection on which nothing is read before something was written.
// net/http writes to the standard log what a server sends unasked.
type answering struct {
	net.Conn
	once  sync.Once
	asked chan struct{}
}

func (a *answering) Read(b []byte) (int, error) {
	<-a.asked
	return a.Conn.Read(b)
}

func (a *answering) Write(b []byte) (int, error) {
	a.once.Do(func() { close(a.asked) })
	return a.Conn.Write(b)
}

func (a *answering) Close() error {
	a.once.Do(func() { close(a.asked) })
	return a.Conn.Close()
}

func dialError(path string, err error) error {
	return &net.OpError{Op: "dial", Net: "unix", Addr: &net.UnixAddr{Name: path, Net: "unix"}, Err: err}
}

// peer returns the user of the process that listens, which the kernel notes when
// that calls listen(2); see SO_PEERCRED in unix(7).
func peer(conn syscall.Conn) (owner.ID, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return owner.Nobody, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, credErr); err != nil {
		return owner.Nobody, err
	}
	return owner.ID(cred.Uid), nil
}

// maxLinks is how many symbolic links the kernel follows in a path; see
// path_resolution(7).
const maxLinks = 40

// follow goes along path, which is absolute, to a socket, as the kernel would, and
// finds out who could have it lead to another one.
func follow(path string) (fd int, who owner.ID, err error) {
	fd, err = step(unix.AT_FDCWD, "/", &who)
	names := split(path)
	for links := 0; err == nil && len(names) > 0; {
		var next int
		if next, err = step(fd, names[0], &who); err != nil {
			break
		}
		names = names[1:]
		target, notLink := readLink(next)
		if notLink != nil {
			unix.Close(fd)
			fd = next
			continue
		}
		unix.Close(next)
		names = append(split(target), names...)
		if links++; links > maxLinks {
			err = unix.ELOOP
		} else if filepath.IsAbs(target) {
			unix.Close(fd)
			fd, err = step(unix.AT_FDCWD, "/", &who)
		}
	}
	if err == nil {
		err = checkSocket(fd)
	}
	if err != nil {
		unix.Close(fd)
		return -1, owner.Nobody, err
	}
	return fd, who, nil
}

// step opens the file called name in dir, and adds to who those who can change it.
func step(dir int, name string, who *owner.ID) (fd int, err error) {
	fd, err = unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return -1, err
	}
	*who = who.And(owner.Of(&st))
	return fd, nil
}

func split(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// readLink returns an error if fd is no symbolic link.
func readLink(fd int) (string, error) {
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", target)
	return string(target[:max(n, 0)]), err
}

func checkSocket(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return errors.New("not a socket")
	}
	return nil
}
