// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// An API asks a runtime for the names of containers.
type API interface {
	// Ask returns what the runtime knows of these containers, maybe of fewer and
	// maybe of some twice, and with an error what came before it. There are at most
	// MaxQueries.
	Ask(ctx context.Context, s *Socket, queries []Query) ([]Details, error)
	// Follow calls renamed with the id of each container that is renamed, or was
	// since then, until ctx is done or the runtime breaks off. It returns
	// ErrNoEvents if the runtime does not report that.
	Follow(ctx context.Context, s *Socket, since time.Time, renamed func(id string)) error
}

// ErrNoEvents is returned by API.Follow where names do not change, or the runtime does
// not say so.
var ErrNoEvents = errors.New("no events")

// MaxQueries is how many containers are asked for at once: Docker takes their ids in
// a URL.
const MaxQueries = 100

// What a runtime may send. It may be a program of any local user, so that nothing that
// grows with what it sends is kept in memory.
const (
	maxAnswer  = 16 << 20  // bytes of one answer, read but not kept; the kubelet takes as much from CRI
	maxPart    = 512 << 10 // bytes that are in memory at a time: a string of JSON, a container of CRI
	maxHeader  = 64 << 10
	maxMessage = 200 // bytes of the text of an error
)

var errTooLong = errors.New("the answer is too long")

// Connect finds out which API is spoken at a socket, Docker's or CRI, and returns it.
func Connect(ctx context.Context, s *Socket) (API, error) {
	err := dockerAPI{}.ping(ctx, s)
	switch {
	case err == nil:
		return dockerAPI{}, nil
	case errors.As(err, new(statusError)), isDialError(err), ctx.Err() != nil:
		// What breaks off speaks something else; this did not.
		return nil, err
	}
	if criErr := (criAPI{}).ping(ctx, s); criErr != nil {
		return nil, fmt.Errorf("neither the API of Docker nor CRI: %w; %w", err, criErr)
	}
	return criAPI{}, nil
}

func isDialError(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// withoutURL is the error of an http.Client without the URL, in which there may be a
// hundred ids.
func withoutURL(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		return u.Err
	}
	return err
}

// statusError is what a server answers that did not do what it was asked.
type statusError struct{ request, status, message string }

func (e statusError) Error() string { return fmt.Sprintf("%s: %s: %s", e.request, e.status, e.message) }

// newClient returns a client for a socket. It keeps no connection: a runtime may be
// gone when it is asked again, and Podman stays only for who is connected. It takes no
// compressed answers, which can be a thousand times as long as what is read.
func newClient(s *Socket, setProtocol func(*http.Protocols)) http.Client {
	var protocols http.Protocols
	setProtocol(&protocols)
	return http.Client{
		Transport: &http.Transport{
			Protocols:              &protocols,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeader,
			HTTP2: &http.HTTP2Config{
				MaxReceiveBufferPerConnection: 1 << 20,
				MaxReceiveBufferPerStream:     maxPart,
			},
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dial(ctx) },
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// atMost is a reader that fails after so many bytes.
type atMost struct {
	reader io.Reader
	left   int64
}

func (r *atMost) Read(b []byte) (int, error) {
	if r.left <= 0 {
		return 0, errTooLong
	}
	n, err := r.reader.Read(b[:min(int64(len(b)), r.left)])
	r.left -= int64(n)
	return n, err
}
