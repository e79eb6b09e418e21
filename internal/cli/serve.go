// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/urfave/cli/v2"

	"github.com/copenclose/copenclose/internal/counting"
	"github.com/copenclose/copenclose/internal/export/metrics"
	"github.com/copenclose/copenclose/internal/export/otlp"
	"github.com/copenclose/copenclose/internal/option"
	"github.com/copenclose/copenclose/internal/stream"
)

const (
	serveUsage    = "  copenclose serve [OPTIONS]\n"
	serveExamples = `  copenclose serve --listen :9435           metrics for Prometheus
  copenclose serve --otlp http://otel:4318  failures as events, each 10 s
  copenclose serve --otlp http://otel:4318 --events all -c web
                                            every call of one container
`
)

// Which events serve sends.
const (
	noEvents     = "none"
	failedEvents = "failed"
	failureSums  = "summary"
	allEvents    = "all"
)

// fleet says what serve gives to whom.
type fleet struct {
	listen   option.Text
	otlp     option.Text
	events   *option.Choice
	interval option.Duration
	node     option.Text
	labels   option.List
	series   option.Count
	rate     optionalRate
	latency  bool
}

// optionalRate is a rate that can be 0, for no limit.
type optionalRate struct{ option.Rate }

// Set takes what option.Rate does, and 0.
func (r *optionalRate) Set(s string) error {
	if s == "0" {
		r.Rate = option.Rate{}
		return nil
	}
	return r.Rate.Set(s)
}

func newFleet() *fleet {
	return &fleet{
		events:   option.NewChoice(failureSums, noEvents, failedEvents, allEvents),
		interval: option.Duration(10 * time.Second),
		series:   10_000,
		rate:     optionalRate{option.Rate{PerSecond: 100, Burst: 1000}},
	}
}

func (f *fleet) flags() []cli.Flag {
	what := category("What to give to whom")
	return []cli.Flag{
		what.value(&f.listen, "listen", "", "`ADDRESS`: answer /metrics, /healthz and /readyz there; in Kubernetes :9435 if nothing is given, else nowhere"),
		what.value(&f.otlp, "otlp", "", "`URL`: send events there by OTLP over HTTP; OTEL_EXPORTER_OTLP_ENDPOINT is another way to say it"),
		what.value(f.events, "events", "", "`WHICH`: summary (of failed calls, each interval), failed (each of them), all, or none"),
		what.value(&f.interval, "interval", "", "`TIME`: of a summary, and how often open descriptors are counted, like 10s"),
		what.value(&f.rate, "rate", "", "`N[/BURST]`: with --events failed or all, at most N events a second of each container, and BURST at once; 0 for no limit"),
		what.value(&f.node, "node", "", "`NAME`: of this machine; without it NODE_NAME of the environment, or the hostname"),
		what.value(&f.labels, "metric-labels", "", "`LIST`: tell calls apart by container, namespace, pod, image, runtime, operation, syscall, error"),
		what.value(&f.series, "max-series", "", "`N`: series of calls; what is beyond is in those of the container other"),
		what.toggle(&f.latency, "latency", "", "measure how long calls take, as native histograms"),
	}
}

// serveCommand returns the subcommand for a fleet: what it gives are metrics and events
// for others, not rows.
func (t *tool) serveCommand() *cli.Command {
	o, f := newOptions(), newFleet()
	return &cli.Command{
		Name:        "serve",
		Usage:       "give metrics and events to a fleet",
		UsageText:   serveUsage,
		Description: serveExamples,
		Flags:       slices.Concat(f.flags(), o.Select.Flags(), o.Kernel.Flags()),
		Action: func(c *cli.Context) error {
			if len(t.command) > 0 {
				return usagef("serve runs no command; it traces what runs")
			}
			o.given = given(c)
			return t.serve(c.Context, o, f)
		},
	}
}

// server is a run of serve.
type server struct {
	tool   *tool
	fleet  *fleet
	count  *session
	live   *counting.Live
	meter  *meter
	events *session   // nil where no events are sent
	sink   *otlp.Sink // where they are sent
	ready  atomic.Bool
	failed chan error
}

func (t *tool) serve(ctx context.Context, o *Options, f *fleet) (err error) {
	s := &server{tool: t, fleet: f, failed: make(chan error, 1)}
	labels, err := f.metricLabels()
	if err != nil {
		return usageError(err)
	}
	listen := string(f.listen)
	if listen == "" && os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		listen = ":9435"
	}
	if err := s.openEvents(o); err != nil {
		return err
	}
	if listen == "" && s.sink == nil {
		return usagef("nothing to serve: give --listen ADDRESS, or --otlp URL")
	}
	rows := newRowsOf(counting.ByContainer)
	rows.latency = f.latency
	if s.count, s.live, err = t.newCount(o, rows, time.Minute); err != nil {
		s.count.close()
		return err
	}
	defer s.count.close()
	// Targets are not shown, so that no call need be looked at.
	s.count.tracer.Counting.Samples = 0
	s.count.network = true

	ctx, stop := untilSignal(ctx)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if listen != "" {
		s.meter = s.openMeter()
		defer s.meter.close()
		stopServing, err := s.serveHTTP(listen, labels, cancel)
		if err != nil {
			return err
		}
		defer stopServing()
	}
	return s.run(ctx)
}

func (f *fleet) metricLabels() (labels []metrics.Label, err error) {
	for _, name := range f.labels {
		l, err := metrics.ParseLabel(name)
		if err != nil {
			return nil, err
		}
		labels = append(labels, l)
	}
	return labels, nil
}

// openEvents prepares the session that sends events, if there is an endpoint.
func (s *server) openEvents(o *Options) error {
	which := s.fleet.events.Word
	endpoint := cmp.Or(string(s.fleet.otlp), os.Getenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
	if which == noEvents || endpoint == "" {
		if slices.Contains(o.given, "events") && which != noEvents {
			return usagef("--events %s needs --otlp URL", which)
		}
		return nil
	}
	cfg, err := otlp.ReadConfig(string(s.fleet.otlp), os.Getenv)
	if err != nil {
		return usageError(err)
	}
	note := func(text string) { fmt.Fprintln(s.tool.stderr, "copenclose:", text) }
	if s.sink, err = otlp.NewSink(cfg, s.tool.build.Version, s.fleet.latency, s.resource(), note); err != nil {
		return err
	}
	sink := stream.Sink(s.sink)
	chosen := *o // the counting session sees all calls
	switch which {
	case failureSums:
		sink = otlp.NewFailures(s.sink, time.Duration(s.fleet.interval))
		chosen.Select.Failed = true
	case failedEvents:
		chosen.Select.Failed = true
		fallthrough
	case allEvents:
		chosen.Look.Rate = s.fleet.rate.Rate
		chosen.Look.LossBy.Word = lossByContainer
	}
	chosen.Kernel.ReadyFile = ""
	events := *s.tool // whose privileges the other session gives up
	events.drop = nil
	s.events, err = events.newSession(&chosen, sink)
	if err != nil {
		s.events.close()
		return err
	}
	s.events.remark.SetOutput(io.Discard) // the other session says the same
	s.events.tracer.Latency = s.fleet.latency && which != failureSums
	return nil
}

// resource has the attributes that the resource of each container has.
func (s *server) resource() []otlp.Attribute {
	hostname, _ := os.Hostname()
	node := cmp.Or(string(s.fleet.node), os.Getenv("NODE_NAME"), hostname)
	id, _ := os.ReadFile("/etc/machine-id")
	attributes := []otlp.Attribute{
		{Key: "service.name", Value: cmp.Or(os.Getenv("OTEL_SERVICE_NAME"), "copenclose")},
		{Key: "service.version", Value: s.tool.build.Version},
		{Key: "host.name", Value: node},
		{Key: "os.type", Value: "linux"},
	}
	if text := strings.TrimSpace(string(id)); text != "" {
		attributes = append(attributes, otlp.Attribute{Key: "host.id", Value: text})
	}
	if os.Getenv("KUBERNETES_SERVICE_HOST") != "" || os.Getenv("NODE_NAME") != "" {
		attributes = append(attributes, otlp.Attribute{Key: "k8s.node.name", Value: node})
	}
	return attributes
}

// run traces until ctx is done, and sums up.
func (s *server) run(ctx context.Context) (err error) {
	if s.events != nil {
		defer s.events.close()
		if err := s.beginEvents(); err != nil {
			return err
		}
	}
	if err := s.count.beginCount(s.live); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	if s.events != nil {
		go func() {
			defer cancel() // without it the rest is half of what was asked for
			ended <- s.events.run(ctx)
		}()
	}
	stopTending := every(time.Second, func() { _ = s.live.Tend() }) // what is wrong with it, a scrape finds
	s.ready.Store(true)
	err = s.count.run(ctx)
	cancel()
	stopTending()
	if s.events != nil {
		err = errors.Join(err, <-ended, s.events.sink.Close())
		s.sumUp()
	}
	select {
	case failed := <-s.failed:
		err = errors.Join(err, failed)
	default:
	}
	return err
}

func (s *server) beginEvents() error {
	if err := s.events.load(); err != nil {
		return err
	}
	if err := s.events.attribute(); err != nil {
		return err
	}
	return s.events.start()
}

// sumUp says what became of every event.
func (s *server) sumUp() {
	a := s.sink.Account()
	counts, err := s.events.kernel.Counts()
	if err != nil {
		fmt.Fprintln(s.tool.stderr, "copenclose:", err)
	}
	if s.fleet.events.Word == failureSums {
		fmt.Fprintf(s.tool.stderr, "copenclose: %d summaries made: %d sent, %d rejected, %d dropped; %d events lost before\n",
			a.Made, a.Sent, a.Rejected, a.Dropped, counts.Lost)
		return
	}
	fmt.Fprintf(s.tool.stderr, "copenclose: %d events made: %d sent, %d rejected, %d dropped, %d lost, %d over the rate\n",
		a.Made+counts.Lost+counts.Limited, a.Sent, a.Rejected, a.Dropped, counts.Lost, counts.Limited)
	if cgroups, err := s.events.kernel.Dropped(); err == nil {
		writeDropped(s.tool.stderr, listDropped(cgroups, s.events.attributor.Container))
	}
}

const (
	requestTimeout = 10 * time.Second
	scrapesAtOnce  = 2
)

// serveHTTP answers on address until stop is called. What ends it by itself cancels
// the run.
func (s *server) serveHTTP(address string, labels []metrics.Label, cancel func()) (stop func(), err error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, usagef("--listen %s: %w", address, err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		metrics.New(metrics.Config{
			Take: s.live.Take, Labels: labels, MaxSeries: int(s.fleet.series), Latency: s.fleet.latency,
			Holdings: s.meter.holdings(), Dropped: s.dropped(), More: s.exported,
		}),
	)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.whenReady(promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: scrapesAtOnce})))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.Handle("GET /readyz", s.whenReady(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })))
	httpServer := &http.Server{Handler: mux, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	fmt.Fprintf(s.tool.stderr, "copenclose: metrics on http://%s/metrics\n", listener.Addr())
	go func() {
		if err := httpServer.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("serve %s: %w", address, err)
			cancel()
		}
	}()
	return func() { _ = httpServer.Close() }, nil
}

// whenReady answers that it is too early until calls are counted.
func (s *server) whenReady(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.ready.Load() {
			http.Error(w, "not tracing yet", http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, r)
	})
}
