// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	// fleetRate is how many calls a second are made, more than nearly any node makes.
	fleetRate = 100_000
	// fleetTime is how long each of the runs takes.
	fleetTime = 20 * time.Second
	// fleetPiece is how often there is a piece of the calls.
	fleetPiece = 50 * time.Millisecond
)

// fleet measures what serve takes of a core while 100,000 calls a second are made, of
// which none or a tenth fail, and how many bytes a record takes on the wire.
func fleet(s settings) error {
	sink, err := newSink()
	if err != nil {
		return err
	}
	defer sink.close()
	table := newTable(os.Stdout, s, "copenclose serve", "calls that\nfail", "calls\nper second", "CPU of the tool,\n% of a core", "resident\nMiB",
		"records\nper second", "bytes\na record", "bytes\nper second")
	for _, one := range []struct {
		name   string
		failed int // of ten
		flags  []string
	}{
		{"metrics", 0, nil},
		{"metrics", 1, nil},
		{"metrics, --latency", 1, []string{"--latency"}},
		{"summary", 1, []string{"--otlp", sink.url}},
		{"failed", 1, []string{"--otlp", sink.url, "--events", "failed", "--rate", "0"}},
		{"all, at the usual --rate", 1, []string{"--otlp", sink.url, "--events", "all"}},
		{"all", 1, []string{"--otlp", sink.url, "--events", "all", "--rate", "0"}},
	} {
		row, err := measureServe(s, sink, one.failed, one.flags)
		if err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
		if err := table.Append(append([]string{one.name, fmt.Sprintf("%d %%", 10*one.failed)}, row...)); err != nil {
			return err
		}
	}
	return table.Render()
}

func measureServe(s settings, sink *sink, failed int, flags []string) (row []string, err error) {
	g, err := startGenerator(s, load{name: "1 thread", threads: 1, pinned: true})
	if err != nil {
		return nil, err
	}
	defer g.stop()
	listen, err := freePort()
	if err != nil {
		return nil, err
	}
	t, err := startReady(s, nil, false, append([]string{"serve", "-q", "--no-runtime", "--listen", listen}, flags...)...)
	if err != nil {
		return nil, err
	}
	defer t.removeOutput()
	defer t.stop()
	t.settle()
	metrics := "http://" + listen + "/metrics"
	sentBefore, err := sentRecords(metrics)
	if err != nil {
		return nil, err
	}
	cpu, began, bytes := t.cpu(), time.Now(), sink.bytes.Load()
	made, scrape := 0, began
	for time.Since(began) < fleetTime {
		piece := int(fleetRate * fleetPiece / time.Second)
		n, _, err := g.order("fails", piece*failed/10)
		if err != nil {
			return nil, err
		}
		made += n
		if n, _, err = g.order("pairs", (piece-n)/2); err != nil {
			return nil, err
		}
		made += 2 * n
		if time.Since(scrape) > 15*time.Second { // as Prometheus does
			scrape = time.Now()
			if _, err := sentRecords(metrics); err != nil {
				return nil, err
			}
		}
		time.Sleep(time.Until(began.Add(time.Duration(made) * time.Second / fleetRate)))
	}
	took := time.Since(began)
	cpu = t.cpu() - cpu
	resident, _ := t.memory()
	time.Sleep(2 * time.Second) // the last batch is a second old at most
	sent, err := sentRecords(metrics)
	if err != nil {
		return nil, err
	}
	records, size := float64(sent-sentBefore), float64(sink.bytes.Load()-bytes)
	row = []string{whole(float64(made) / took.Seconds()), fmt.Sprintf("%.2f", 100*float64(cpu)/float64(took)), mib(resident)}
	if records == 0 {
		return append(row, "", "", ""), nil
	}
	return append(row, whole(records/took.Seconds()), fmt.Sprintf("%.1f", size/records), whole(size/took.Seconds())), nil
}

// sink takes what is sent to it, and counts the bytes.
type sink struct {
	url    string
	bytes  atomic.Int64
	server *http.Server
}

func newSink() (*sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &sink{url: "http://" + l.Addr().String()}
	s.server = &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		s.bytes.Add(n)
	})}
	go func() { _ = s.server.Serve(l) }()
	return s, nil
}

func (s *sink) close() { s.server.Close() }

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

var sentMetric = regexp.MustCompile(`(?m)^copenclose_export_records_total\{fate="sent"\} (\S+)$`)

// sentRecords asks the tool; 0 where it sends none.
func sentRecords(metrics string) (int64, error) {
	answer, err := http.Get(metrics)
	if err != nil {
		return 0, fmt.Errorf("scrape: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, fmt.Errorf("scrape: %w", err)
	}
	m := sentMetric.FindSubmatch(text)
	if m == nil {
		return 0, nil
	}
	n, err := strconv.ParseFloat(string(m[1]), 64)
	return int64(n), err
}
