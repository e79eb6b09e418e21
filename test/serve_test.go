// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// collector is a server that takes events by OTLP. Before that it answers with each of
// refusals once.
type collector struct {
	*httptest.Server
	refusals []int

	mu       sync.Mutex
	arrived  *sync.Cond
	requests int
	records  []sentRecord
}

// sentRecord is a record as it arrived, with the attributes of its resource.
type sentRecord struct {
	event, body string
	attributes  map[string]string
}

func newCollector(t *testing.T, refusals ...int) *collector {
	t.Helper()
	c := &collector{refusals: refusals}
	c.arrived = sync.NewCond(&c.mu)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		defer c.arrived.Broadcast()
		c.requests++
		if len(c.refusals) > 0 {
			w.WriteHeader(c.refusals[0])
			c.refusals = c.refusals[1:]
			return
		}
		if err := c.take(r); err != nil {
			t.Errorf("a request that cannot be read: %v", err)
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) take(r *http.Request) error {
	body, err := decompressed(r)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	data := &logs.LogsData{}
	if err := proto.Unmarshal(text, data); err != nil {
		return err
	}
	for _, resource := range data.ResourceLogs {
		for _, l := range resource.ScopeLogs[0].LogRecords {
			one := sentRecord{event: l.EventName, body: l.Body.GetStringValue(), attributes: make(map[string]string)}
			for _, a := range append(resource.Resource.Attributes, l.Attributes...) {
				if n, ok := a.Value.Value.(interface{ GetIntValue() int64 }); ok {
					one.attributes[a.Key] = strconv.FormatInt(n.GetIntValue(), 10)
				} else if text := a.Value.GetStringValue(); text != "" {
					one.attributes[a.Key] = text
				} else {
					one.attributes[a.Key] = strconv.FormatInt(a.Value.GetIntValue(), 10)
				}
			}
			c.records = append(c.records, one)
		}
	}
	return nil
}

// decompressed is the body of a request: of a Collector, or of copenclose.
func decompressed(r *http.Request) (io.Reader, error) {
	if r.Header.Get("Content-Encoding") == "zstd" {
		return zstd.NewReader(r.Body)
	}
	return gzip.NewReader(r.Body)
}

// await returns the records once there are n for which want is true.
func (c *collector) await(t *testing.T, n int, want func(sentRecord) bool) (found []sentRecord) {
	t.Helper()
	late := time.AfterFunc(patience, func() { c.arrived.Broadcast() })
	defer late.Stop()
	end := time.Now().Add(patience)
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		found = nil
		for _, r := range c.records {
			if want(r) {
				found = append(found, r)
			}
		}
		if len(found) >= n {
			return found
		}
		if time.Now().After(end) {
			t.Fatalf("%d records of %d after %v", len(found), n, patience)
		}
		c.arrived.Wait()
	}
}

var metricsLine = regexp.MustCompile(`metrics on (http://\S+)`)

func scrapeText(t *testing.T, url string) string {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v\n%s", answer.Status, err, text)
	}
	return string(text)
}

// scrape returns the values of a metric by its labels as they are written.
func scrape(t *testing.T, url, metric string) map[string]float64 {
	t.Helper()
	values := make(map[string]float64)
	for line := range strings.Lines(scrapeText(t, url)) {
		labels, ok := strings.CutPrefix(line, metric+"{")
		if !ok {
			continue
		}
		labels, value, _ := strings.Cut(labels, "} ")
		n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		values[labels] = n
	}
	return values
}

// scrapeOne returns the value of a metric without labels.
func scrapeOne(t *testing.T, url, metric string) float64 {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + metric + ` (\S+)$`).FindStringSubmatch(scrapeText(t, url))
	if m == nil {
		t.Fatalf("no %s", metric)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// serveUser is a user of whom nothing runs but what these tests run.
const serveUser = 54377

// look has cat look for n files that are not there, as serveUser, and returns its process.
func look(t *testing.T, n int) (process int, paths map[string]bool) {
	t.Helper()
	paths = make(map[string]bool)
	var args []string
	for i := range n {
		path := fmt.Sprintf("/nowhere/%d", i)
		paths[path] = true
		args = append(args, path)
	}
	cmd := exec.Command("cat", args...)
	asUser(serveUser)(cmd)
	if err := cmd.Run(); err == nil {
		t.Fatal("cat found files that are not there")
	}
	return cmd.Process.Pid, paths
}

func isNowhere(r sentRecord) bool { return strings.HasPrefix(r.attributes["file.path"], "/nowhere/") }

// Each failed call arrives exactly once, though the collector is away at first, and what
// arrives is what the metrics count.
func TestServe(t *testing.T) {
	c := newCollector(t, http.StatusServiceUnavailable, http.StatusTooManyRequests)
	r := start(t, "serve", "--listen", "127.0.0.1:0", "--otlp", c.URL, "--events", "failed", "--node", "node-1", "--no-runtime",
		"-u", strconv.Itoa(serveUser))
	url := r.stderr.await(t, metricsLine)[1]
	_, paths := look(t, 300)
	for _, one := range c.await(t, len(paths), isNowhere) {
		path := one.attributes["file.path"]
		if !paths[path] {
			t.Errorf("%s arrived twice", path)
		}
		delete(paths, path)
		if one.event != "copenclose.open" || one.attributes["error.type"] != "ENOENT" || one.attributes["host.name"] != "node-1" ||
			one.attributes["service.name"] != "copenclose" || one.attributes["process.user.id"] != strconv.Itoa(serveUser) || one.body != path {
			t.Errorf("got %+v", one)
		}
	}
	counted := 0
	for labels, n := range scrape(t, url, "copenclose_calls_total") {
		if strings.Contains(labels, `error="ENOENT"`) && strings.Contains(labels, `operation="open"`) {
			counted += int(n)
		}
	}
	sent := scrape(t, url, "copenclose_export_records_total")[`fate="sent"`]
	r.signal(unix.SIGTERM)
	<-r.exited
	if status := r.cmd.ProcessState.ExitCode(); status != 0 {
		t.Fatalf("status %d\n%s", status, r.stderr)
	}
	arrived := 0
	for _, one := range c.await(t, 0, func(sentRecord) bool { return true }) {
		if one.event == "copenclose.open" && one.attributes["error.type"] == "ENOENT" {
			arrived++
		}
	}
	if arrived != counted || counted < 300 || sent < 300 {
		t.Errorf("%d failed opens were counted and %d arrived; %v records were sent", counted, arrived, sent)
	}
	want := fmt.Sprintf("copenclose: %d events made: %[1]d sent, 0 rejected, 0 dropped, 0 lost, 0 over the rate", len(c.records))
	if !strings.Contains(r.stderr.String(), want) {
		t.Errorf("stderr has not %q:\n%s", want, r.stderr)
	}
}

// A summary has a record for each kind of failure, and its counts add up.
func TestServeSummary(t *testing.T) {
	c := newCollector(t)
	r := start(t, "serve", "--otlp", c.URL, "--interval", "1s", "--no-runtime", "-u", strconv.Itoa(serveUser))
	for range 3 {
		look(t, 5)
	}
	r.signal(unix.SIGINT)
	<-r.exited
	counts := make(map[string]int)
	for _, one := range c.await(t, 5, isNowhere) {
		n, _ := strconv.Atoi(one.attributes["copenclose.count"])
		counts[one.attributes["file.path"]] += n
		if one.event != "copenclose.failures" || one.attributes["copenclose.operation"] != "open" {
			t.Errorf("got %+v", one)
		}
	}
	_, paths := look(t, 5)
	for path := range paths {
		if counts[path] != 3 {
			t.Errorf("%s failed %d times, want 3: %v", path, counts[path], counts)
		}
	}
}

// A collector that is dead keeps neither the trace nor the end waiting for long, and
// what it did not get is counted.
func TestServeWithoutCollector(t *testing.T) {
	r := start(t, "serve", "--otlp", "http://127.0.0.1:1", "--events", "failed", "--no-runtime", "-u", strconv.Itoa(serveUser))
	look(t, 10)
	r.stderr.await(t, regexp.MustCompile(`send to http://127.0.0.1:1/v1/logs: .*connection refused`))
	r.signal(unix.SIGTERM)
	<-r.exited
	m := regexp.MustCompile(`(\d+) events made: 0 sent, 0 rejected, (\d+) dropped, 0 lost`).FindStringSubmatch(r.stderr.String())
	if m == nil || m[1] != m[2] || m[1] == "0" || r.cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("%s\n%s", r.cmd.ProcessState, r.stderr)
	}
}

// Of a container that makes more events than --rate allows, the others are counted, in the
// metrics and at the end, and nothing is missing in the account.
func TestServeRate(t *testing.T) {
	c := newCollector(t)
	r := start(t, "serve", "--listen", "127.0.0.1:0", "--otlp", c.URL, "--events", "failed", "--rate", "1/20", "--no-runtime",
		"-u", strconv.Itoa(serveUser))
	url := r.stderr.await(t, metricsLine)[1]
	look(t, 300)
	over := 0
	for labels, n := range scrape(t, url, "copenclose_export_events_dropped_total") {
		if strings.Contains(labels, `reason="rate"`) {
			over += int(n)
		}
	}
	if over < 270 {
		t.Errorf("%d of 300 events were over a rate of 20", over)
	}
	r.signal(unix.SIGTERM)
	<-r.exited
	m := regexp.MustCompile(`(\d+) events made: (\d+) sent, 0 rejected, 0 dropped, 0 lost, (\d+) over the rate`).FindStringSubmatch(r.stderr.String())
	if m == nil {
		t.Fatal(r.stderr)
	}
	var made, sent, limited int
	for i, n := range []*int{&made, &sent, &limited} {
		*n, _ = strconv.Atoi(m[i+1])
	}
	if made != sent+limited || sent != len(c.records) || limited < over {
		t.Errorf("%s, but %d arrived and %d were over the rate before", m[0], len(c.records), over)
	}
}

// A scrape says what is open: here at least the pipes that a process holds, whose limit is
// lower than that of others.
func TestMeter(t *testing.T) {
	const pairs = 300
	for range pairs {
		var ends [2]int
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(ends[0]); unix.Close(ends[1]) })
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	r := start(t, "serve", "--listen", "127.0.0.1:0", "--no-runtime", "--metric-labels", "operation")
	url := r.stderr.await(t, metricsLine)[1]
	of := func(metric string) float64 { return scrapeOne(t, url, metric) }
	open, fullest, most := of("copenclose_open_fds"), of("copenclose_fullest_process_open_fds"), of("copenclose_fullest_process_limit_fds")
	if open < 2*pairs || fullest > open || fullest/most < 2*pairs/float64(limit.Cur) {
		t.Errorf("%v descriptors are open, %v of %v in the fullest process; we have %d of %d", open, fullest, most, 2*pairs, limit.Cur)
	}
}

// Debian's promtool finds nothing wrong with the metrics, and native histograms are in the
// answer that Prometheus asks for.
func TestPromTool(t *testing.T) {
	promtool := engineAt(t, "deb/usr/bin/promtool")
	c := newCollector(t)
	r := start(t, "serve", "--listen", "127.0.0.1:0", "--latency", "--otlp", c.URL, "--events", "failed", "--rate", "1/30", "--no-runtime",
		"-u", strconv.Itoa(serveUser))
	url := r.stderr.await(t, metricsLine)[1]
	look(t, 50)
	c.await(t, 1, isNowhere)
	cmd := exec.Command(promtool, "check", "metrics")
	text := scrapeText(t, url)
	cmd.Stdin = strings.NewReader(text)
	if said, err := cmd.CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("promtool: %v\n%s", err, said)
	}
	for _, metric := range []string{
		"copenclose_calls_total", "copenclose_call_duration_seconds", "copenclose_open_fds", "copenclose_fullest_process_limit_fds",
		"copenclose_calls_seen_total", "copenclose_export_records_total", "copenclose_export_events_dropped_total", "copenclose_build_info",
		"process_cpu_seconds_total", "process_resident_memory_bytes",
	} {
		if !strings.Contains(text, "# TYPE "+metric+" ") {
			t.Errorf("there is no %s", metric)
		}
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	in := expfmt.NewDecoder(answer.Body, expfmt.ResponseFormat(answer.Header))
	for {
		var family dto.MetricFamily
		if err := in.Decode(&family); err != nil {
			t.Fatalf("no native histogram: %v", err)
		}
		if family.GetName() == "copenclose_call_duration_seconds" {
			if len(family.Metric[0].Histogram.PositiveSpan) == 0 {
				t.Error("the histogram has no native buckets")
			}
			return
		}
	}
}
