// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package otlp

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Compression names how requests are compressed.
type Compression string

// The compressions there are.
const (
	None Compression = "none"
	Gzip Compression = "gzip" // every server must take it
	Zstd Compression = "zstd" // a third of gzip's time; not every server takes it
)

// Config says where records are sent and how.
type Config struct {
	Endpoint    *url.URL // the whole path, like http://collector:4318/v1/logs
	Headers     http.Header
	Compression Compression
	Timeout     time.Duration // of one request
	TLS         *tls.Config   // nil for the system's
	// Resource has the attributes of OTEL_RESOURCE_ATTRIBUTES, which go into the
	// resource of each container.
	Resource []Attribute
}

// An Attribute is a name and a text.
type Attribute struct{ Key, Value string }

// logsPath is what a base endpoint has appended.
const logsPath = "/v1/logs"

// ReadConfig returns the configuration for an endpoint, or for that of the environment
// if it is empty. The environment is read by getenv with the names of OpenTelemetry's
// specification, "OpenTelemetry Protocol Exporter": the endpoint, and headers,
// compression, timeout in milliseconds, and files of certificates.
func ReadConfig(endpoint string, getenv func(string) string) (Config, error) {
	of := func(name string) string {
		return cmp.Or(getenv("OTEL_EXPORTER_OTLP_LOGS_"+name), getenv("OTEL_EXPORTER_OTLP_"+name))
	}
	cfg := Config{Headers: make(http.Header), Compression: Gzip, Timeout: 10 * time.Second}
	var err error
	if cfg.Endpoint, err = readEndpoint(endpoint, getenv); err != nil {
		return cfg, err
	}
	if protocol := of("PROTOCOL"); protocol != "" && protocol != "http/protobuf" {
		return cfg, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q; only http/protobuf is spoken", protocol)
	}
	if c := of("COMPRESSION"); c != "" {
		cfg.Compression = Compression(c)
		if c != string(None) && c != string(Gzip) && c != string(Zstd) {
			return cfg, fmt.Errorf("OTEL_EXPORTER_OTLP_COMPRESSION is %q; it can be gzip, zstd or none", c)
		}
	}
	if ms := of("TIMEOUT"); ms != "" {
		n, err := strconv.Atoi(ms)
		if err != nil || n <= 0 {
			return cfg, fmt.Errorf("OTEL_EXPORTER_OTLP_TIMEOUT is %q; it is a number of milliseconds", ms)
		}
		cfg.Timeout = time.Duration(n) * time.Millisecond
	}
	headers, err := readPairs(of("HEADERS"))
	if err != nil {
		return cfg, fmt.Errorf("OTEL_EXPORTER_OTLP_HEADERS: %w", err)
	}
	for _, h := range headers {
		cfg.Headers.Set(h.Key, h.Value)
	}
	if cfg.Resource, err = readPairs(getenv("OTEL_RESOURCE_ATTRIBUTES")); err != nil {
		return cfg, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	cfg.TLS, err = readTLS(of("CERTIFICATE"), of("CLIENT_CERTIFICATE"), of("CLIENT_KEY"))
	return cfg, err
}

// readEndpoint finds the endpoint. One given by hand or as the base for all signals
// has the path of logs appended, unless it has a path of its own.
func readEndpoint(given string, getenv func(string) string) (*url.URL, error) {
	exact := getenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT")
	text := cmp.Or(given, exact, getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
	if text == "" {
		return nil, errors.New("no OTLP endpoint: give --otlp http://HOST:4318 or set OTEL_EXPORTER_OTLP_ENDPOINT")
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("OTLP endpoint %q is not like http://HOST:4318", text)
	}
	switch {
	case given != "" && strings.Trim(u.Path, "/") != "", given == "" && exact != "":
	default:
		u = u.JoinPath(logsPath)
	}
	return u, nil
}

// readPairs reads a list like key=value,key=value whose values are percent-encoded, as
// W3C Baggage has it.
func readPairs(list string) (pairs []Attribute, err error) {
	for pair := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		key = strings.TrimSpace(key)
		if !ok || key == "" {
			return nil, fmt.Errorf("%q is not like key=value", pair)
		}
		if value, err = url.PathUnescape(strings.TrimSpace(value)); err != nil {
			return nil, fmt.Errorf("value of %s: %w", key, err)
		}
		pairs = append(pairs, Attribute{key, value})
	}
	return pairs, nil
}

func readTLS(ca, certificate, key string) (*tls.Config, error) {
	if ca == "" && certificate == "" && key == "" {
		return nil, nil
	}
	cfg := &tls.Config{}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("read OTEL_EXPORTER_OTLP_CERTIFICATE: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate in PEM", ca)
		}
	}
	if certificate != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, fmt.Errorf("read OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and _KEY: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
