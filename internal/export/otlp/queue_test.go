// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package otlp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"
)

// stub is a sender that answers as a test says, and keeps what it was sent.
type stub struct {
	answer func(n int) (rejected int, err error) // of the nth request, from 0; nil for success
	mu     sync.Mutex
	sent   []string
}

func (s *stub) send(_ context.Context, request []byte) (int, error) {
	s.mu.Lock()
	s.sent = append(s.sent, string(request))
	n := len(s.sent) - 1
	s.mu.Unlock()
	if s.answer == nil {
		return 0, nil
	}
	return s.answer(n)
}

func (a Account) settled() uint64 { return a.Sent + a.Rejected + a.Dropped }

func check(t *testing.T, q *queue, want Account) {
	t.Helper()
	got := q.counts()
	if got.settled() != got.Made {
		t.Errorf("%d made, but %d sent, rejected or dropped", got.Made, got.settled())
	}
	if want.Made = want.settled(); got.Made != want.Made || got.Sent != want.Sent || got.Rejected != want.Rejected || got.Dropped != want.Dropped {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestQueueSendsInOrder(t *testing.T) {
	s := &stub{}
	q := newQueue(s, 1000, func(error) {})
	for _, request := range []string{"a", "b", "c"} {
		q.put(batch{[]byte(request), 10})
	}
	q.close(time.Minute)
	check(t, q, Account{Sent: 30})
	if a := q.counts(); len(s.sent) != 3 || s.sent[0] != "a" || s.sent[2] != "c" || a.Requests != 3 || a.Bytes != 3 || a.Waiting != 0 {
		t.Errorf("sent %q, %+v", s.sent, a)
	}
}

// What the server rejects, some records or all, is not sent again.
func TestQueueRejected(t *testing.T) {
	s := &stub{answer: func(n int) (int, error) {
		return []int{3, 0, 99}[n], []error{nil, &refusal{status: "400 Bad Request"}, nil}[n]
	}}
	q := newQueue(s, 1000, func(error) {})
	for range 3 {
		q.put(batch{[]byte("x"), 10})
	}
	q.close(time.Minute)
	check(t, q, Account{Sent: 7, Rejected: 23})
}

// A server that is away for a while gets everything; that it is away is noted once.
func TestQueueSendsAgain(t *testing.T) {
	away := errors.New("connection refused")
	s := &stub{answer: func(n int) (int, error) {
		switch n {
		case 0:
			return 0, away
		case 1:
			return 0, &refusal{status: "503", again: true, after: time.Nanosecond}
		}
		return 0, nil
	}}
	var noted []error
	q := newQueue(s, 1000, func(err error) { noted = append(noted, err) })
	q.put(batch{[]byte("a"), 1})
	q.put(batch{[]byte("b"), 1})
	q.close(time.Minute)
	check(t, q, Account{Sent: 2})
	if len(noted) != 2 || noted[0] != away || noted[1] != nil || len(s.sent) != 4 {
		t.Errorf("noted %v, sent %q", noted, s.sent)
	}
}

// A full queue drops the newest, and a dead server does not keep the tool from ending.
func TestQueueFull(t *testing.T) {
	s := &stub{answer: func(int) (int, error) { return 0, errors.New("no route to host") }}
	q := newQueue(s, 10, func(error) {})
	for range 5 {
		q.put(batch{[]byte("1234"), 100})
	}
	if a := q.counts(); a.Dropped != 300 || a.Waiting != 8 {
		t.Errorf("full: %+v", a)
	}
	q.close(0)
	check(t, q, Account{Dropped: 500})
	q.put(batch{[]byte("late"), 1})
	check(t, q, Account{Dropped: 501})
}

// server answers with what a test says, and keeps the requests as they were before
// compression.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	requests [][]byte
	headers  []http.Header
}

func newServer(t *testing.T, answer func(w http.ResponseWriter)) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := decompressed(r)
		if err != nil {
			t.Errorf("read a request: %v", err)
		}
		s.mu.Lock()
		s.requests, s.headers = append(s.requests, body), append(s.headers, r.Header)
		s.mu.Unlock()
		answer(w)
	}))
	t.Cleanup(s.Close)
	return s
}

func decompressed(r *http.Request) ([]byte, error) {
	var body io.Reader = r.Body
	var err error
	switch r.Header.Get("Content-Encoding") {
	case "gzip":
		body, err = gzip.NewReader(r.Body)
	case "zstd":
		body, err = zstd.NewReader(r.Body)
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(body)
}

func (s *server) client(t *testing.T, env map[string]string) *client {
	t.Helper()
	cfg, err := ReadConfig(s.URL, func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	c, err := newClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClientSends(t *testing.T) {
	for _, compression := range []Compression{None, Gzip, Zstd} {
		s := newServer(t, func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) })
		c := s.client(t, map[string]string{
			"OTEL_EXPORTER_OTLP_COMPRESSION": string(compression),
			"OTEL_EXPORTER_OTLP_HEADERS":     "Authorization=Bearer%20x, x-tenant=a",
		})
		for _, request := range []string{"first", "second"} {
			if rejected, err := c.send(t.Context(), []byte(request)); rejected != 0 || err != nil {
				t.Errorf("%s: %d rejected, %v", compression, rejected, err)
			}
		}
		if len(s.requests) != 2 || string(s.requests[0]) != "first" || string(s.requests[1]) != "second" {
			t.Fatalf("%s: the server got %q", compression, s.requests)
		}
		h := s.headers[1]
		if h.Get("Authorization") != "Bearer x" || h.Get("X-Tenant") != "a" || h.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s: the server got the headers %v", compression, h)
		}
	}
}

func TestClientAnswers(t *testing.T) {
	partial := protowire.AppendTag(nil, 1, protowire.BytesType)
	partial = protowire.AppendBytes(partial, protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7))
	for name, c := range map[string]struct {
		answer   func(w http.ResponseWriter)
		rejected int
		again    bool
		after    time.Duration
		status   string
	}{
		"partial":     {answer: func(w http.ResponseWriter) { _, _ = w.Write(partial) }, rejected: 7},
		"nonsense":    {answer: func(w http.ResponseWriter) { _, _ = w.Write([]byte("<html>")) }},
		"huge":        {answer: func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, 1<<20)) }},
		"bad request": {answer: func(w http.ResponseWriter) { w.WriteHeader(400) }, status: "400 Bad Request"},
		"error":       {answer: func(w http.ResponseWriter) { w.WriteHeader(500) }, status: "500 Internal Server Error"},
		"redirect":    {answer: func(w http.ResponseWriter) { w.Header().Set("Location", "/"); w.WriteHeader(302) }, status: "302 Found"},
		"too many": {answer: func(w http.ResponseWriter) { w.Header().Set("Retry-After", "3"); w.WriteHeader(429) },
			status: "429 Too Many Requests", again: true, after: 3 * time.Second},
		"for ever": {answer: func(w http.ResponseWriter) { w.Header().Set("Retry-After", "999999999"); w.WriteHeader(503) },
			status: "503 Service Unavailable", again: true, after: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			rejected, err := newServer(t, c.answer).client(t, nil).send(t.Context(), []byte("x"))
			var r *refusal
			if errors.As(err, &r) {
				if *r != (refusal{c.status, c.again, c.after}) {
					t.Errorf("got %+v", *r)
				}
			} else if err != nil || c.status != "" || rejected != c.rejected {
				t.Errorf("%d rejected, %v", rejected, err)
			}
		})
	}
}

// A connection that breaks is not known to have delivered, nor a server that hangs.
func TestClientWithoutAnswer(t *testing.T) {
	s := newServer(t, func(http.ResponseWriter) { panic(http.ErrAbortHandler) })
	if _, err := s.client(t, nil).send(t.Context(), []byte("x")); err == nil || errors.As(err, new(*refusal)) {
		t.Errorf("a broken connection gave %v", err)
	}
	release := make(chan struct{})
	s = newServer(t, func(http.ResponseWriter) { <-release })
	defer close(release)
	_, err := s.client(t, map[string]string{"OTEL_EXPORTER_OTLP_TIMEOUT": "20"}).send(t.Context(), []byte("x"))
	if err == nil || errors.As(err, new(*refusal)) {
		t.Errorf("a server that hangs gave %v", err)
	}
}

func FuzzPartialSuccess(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{10, 2, 8, 7})
	f.Add([]byte{10, 11, 8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, answer []byte) {
		if n := partialSuccess(answer); n < 0 {
			t.Errorf("%x: %d rejected", answer, n)
		}
	})
}

func TestReadConfig(t *testing.T) {
	for _, c := range []struct {
		given string
		env   map[string]string
		url   string
		err   string
	}{
		{given: "http://c:4318", url: "http://c:4318/v1/logs"},
		{given: "http://c:4318/", url: "http://c:4318/v1/logs"},
		{given: "http://c/insert/opentelemetry/v1/logs", url: "http://c/insert/opentelemetry/v1/logs"},
		{env: map[string]string{"ENDPOINT": "https://c/base"}, url: "https://c/base/v1/logs"},
		{env: map[string]string{"ENDPOINT": "http://a", "LOGS_ENDPOINT": "http://b"}, url: "http://b"},
		{given: "http://c", env: map[string]string{"LOGS_ENDPOINT": "http://b"}, url: "http://c/v1/logs"},
		{err: "no OTLP endpoint: give --otlp http://HOST:4318 or set OTEL_EXPORTER_OTLP_ENDPOINT"},
		{given: "c:4318", err: `OTLP endpoint "c:4318" is not like http://HOST:4318`},
		{given: "ftp://c", err: `OTLP endpoint "ftp://c" is not like http://HOST:4318`},
		{given: "http://c", env: map[string]string{"PROTOCOL": "grpc"}, err: `OTEL_EXPORTER_OTLP_PROTOCOL is "grpc"; only http/protobuf is spoken`},
		{given: "http://c", env: map[string]string{"COMPRESSION": "lz4"}, err: `OTEL_EXPORTER_OTLP_COMPRESSION is "lz4"; it can be gzip, zstd or none`},
		{given: "http://c", env: map[string]string{"TIMEOUT": "10s"}, err: `OTEL_EXPORTER_OTLP_TIMEOUT is "10s"; it is a number of milliseconds`},
		{given: "http://c", env: map[string]string{"HEADERS": "a"}, err: `OTEL_EXPORTER_OTLP_HEADERS: "a" is not like key=value`},
		{given: "http://c", env: map[string]string{"CERTIFICATE": "/nowhere"}, err: `read OTEL_EXPORTER_OTLP_CERTIFICATE: open /nowhere: no such file or directory`},
	} {
		cfg, err := ReadConfig(c.given, func(name string) string {
			for key, value := range c.env {
				if name == "OTEL_EXPORTER_OTLP_"+key {
					return value
				}
			}
			return ""
		})
		switch {
		case c.err != "":
			if err == nil || err.Error() != c.err {
				t.Errorf("%+v: %v", c, err)
			}
		case err != nil || cfg.Endpoint.String() != c.url || cfg.Compression != Gzip || cfg.Timeout != 10*time.Second:
			t.Errorf("%+v: %+v, %v", c, cfg, err)
		}
	}
}
