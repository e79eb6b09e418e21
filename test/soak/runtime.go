// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
)

// lyingRuntime is a container runtime that answers each request in another way, none
// of which is right.
type lyingRuntime struct {
	path     string
	listener net.Listener
	done     sync.WaitGroup
	asked    atomic.Int64
	release  chan struct{} // ends the answers that hang
}

func startLyingRuntime(path string) (*lyingRuntime, error) {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	r := &lyingRuntime{path: path, listener: listener, release: make(chan struct{})}
	r.done.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			r.done.Go(func() { r.answer(conn) })
		}
	})
	return r, nil
}

const header = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

func (r *lyingRuntime) answer(conn net.Conn) {
	defer conn.Close()
	buffer := make([]byte, 64<<10)
	n, _ := conn.Read(buffer)
	if strings.HasPrefix(string(buffer[:n]), "GET /_ping") {
		_, _ = io.WriteString(conn, header+"Content-Length: 2\r\n\r\nOK")
		return
	}
	switch r.asked.Add(1) % 6 {
	case 0:
		_, _ = io.WriteString(conn, "\x1b[31mHTTP/9.9 \x00 what\r\n\r\n")
	case 1:
		_, _ = io.WriteString(conn, header+"Content-Length: 100000000\r\n\r\n[{\"Id\":\"")
		_, _ = conn.Write(bytes.Repeat([]byte("a"), 8<<20))
	case 2:
		_, _ = io.WriteString(conn, header+"Content-Encoding: gzip\r\n\r\n")
		z := gzip.NewWriter(conn)
		_, _ = z.Write(bytes.Repeat([]byte("[{},"), 4<<20))
		_ = z.Close()
	case 3:
		_, _ = io.WriteString(conn, "HTTP/1.1 500 \x1b]0;owned\x07\r\nContent-Length: 5\r\n\r\n\x1b[2J\n")
	case 4:
		_, _ = io.WriteString(conn, header+"\r\n"+strings.Repeat("[", 1<<20))
	case 5:
		<-r.release // it hangs
	}
}

func (r *lyingRuntime) stop() {
	close(r.release)
	_ = r.listener.Close()
	r.done.Wait()
}
