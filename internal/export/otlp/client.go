// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package otlp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"
)

// answerMax bounds what is read of an answer.
const answerMax = 64 << 10

// client sends requests, one at a time.
type client struct {
	cfg        Config
	http       *http.Client
	gzip       *gzip.Writer
	zstd       *zstd.Encoder
	compressed bytes.Buffer
}

func newClient(cfg Config) (*client, error) {
	transport := &http.Transport{
		Proxy:              http.ProxyFromEnvironment,
		TLSClientConfig:    cfg.TLS,
		ForceAttemptHTTP2:  true,
		DisableCompression: true, // an answer is some bytes, or somebody's bomb
		MaxIdleConns:       1,
		IdleConnTimeout:    90 * time.Second,
	}
	c := &client{cfg: cfg, http: &http.Client{
		Transport: transport,
		Timeout:   cfg.Timeout,
		// A redirect would make a GET of it, without the records.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	var err error
	switch cfg.Compression {
	case Gzip:
		c.gzip, err = gzip.NewWriterLevel(&c.compressed, gzip.BestSpeed)
	case Zstd:
		c.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	}
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", cfg.Compression, err)
	}
	return c, nil
}

// refusal is an answer that is no success.
type refusal struct {
	status string
	again  bool          // the request may be sent again,
	after  time.Duration // and not before this has passed, if it is not 0
}

func (r *refusal) Error() string { return "the server answered " + r.status }

// send sends one request and returns how many of its records the server rejected.
// An error that is no *refusal means that it is not known whether they arrived.
func (c *client) send(ctx context.Context, request []byte) (rejected int, err error) {
	body, encoding, err := c.compress(request)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.cfg.Endpoint.String(), bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	for name, values := range c.cfg.Headers {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("User-Agent", "copenclose")
	if encoding != "" {
		req.Header.Set("Content-Encoding", encoding)
	}
	answer, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, answerMax))
	if answer.StatusCode/100 != 2 {
		return 0, refused(answer, time.Now())
	}
	if err != nil {
		return 0, nil // it has them; only how many it rejected is not known
	}
	return partialSuccess(text), nil
}

func (c *client) compress(request []byte) (body []byte, encoding string, err error) {
	switch {
	case c.zstd != nil:
		c.compressed.Reset()
		c.compressed.Write(c.zstd.EncodeAll(request, c.compressed.AvailableBuffer()))
	case c.gzip != nil:
		c.compressed.Reset()
		c.gzip.Reset(&c.compressed)
		if _, err = c.gzip.Write(request); err == nil {
			err = c.gzip.Close()
		}
	default:
		return request, "", nil
	}
	return c.compressed.Bytes(), string(c.cfg.Compression), err
}

// refused says what an answer means, as the specification of OTLP/HTTP has it:
// these four statuses alone may be sent again.
func refused(answer *http.Response, now time.Time) *refusal {
	r := &refusal{status: answer.Status}
	switch answer.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		r.again = true
	}
	after := answer.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(after); err == nil && seconds > 0 {
		r.after = time.Duration(min(seconds, 3600)) * time.Second
	} else if at, err := http.ParseTime(after); err == nil {
		r.after = min(max(at.Sub(now), 0), time.Hour)
	}
	return r
}

var errAnswer = errors.New("malformed answer")

// partialSuccess returns how many records the server says it rejected, 0 if the
// answer cannot be read: the status is what counts.
//
//	ExportLogsServiceResponse { partial_success = 1 { rejected_log_records = 1 } }
func partialSuccess(answer []byte) int {
	partial, err := field(answer, 1, protowire.BytesType)
	if err != nil {
		return 0
	}
	rejected, err := field(partial, 1, protowire.VarintType)
	if err != nil {
		return 0
	}
	n, size := protowire.ConsumeVarint(rejected)
	if size < 0 || int64(n) < 0 {
		return 0
	}
	return int(min(n, 1<<31-1))
}

// field returns the last value of a field of a message; none is an empty one.
func field(message []byte, number protowire.Number, kind protowire.Type) (value []byte, err error) {
	for len(message) > 0 {
		n, t, size := protowire.ConsumeTag(message)
		if size < 0 {
			return nil, errAnswer
		}
		message = message[size:]
		size = protowire.ConsumeFieldValue(n, t, message)
		if size < 0 {
			return nil, errAnswer
		}
		if n == number && t == kind {
			value = message[:size]
			if t == protowire.BytesType {
				value, _ = protowire.ConsumeBytes(value)
			}
		}
		message = message[size:]
	}
	return value, nil
}
