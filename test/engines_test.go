// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fleetEngines has what make test-fleet builds and unpacks, and make test the Collector of.
var fleetEngines = fromEnvironment("FLEET", "../build/fleet")

// engineAt returns the path of an engine.
func engineAt(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(fleetEngines, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%v: make test-fleet makes it", err)
	}
	return path
}

// service is an engine that a test starts, and ends as it likes.
type service struct {
	t     *testing.T
	args  []string
	env   []string
	ready string // a URL that answers when it works; any answer will do
	cmd   *exec.Cmd
	said  *lines
}

func startService(t *testing.T, ready string, env []string, args ...string) *service {
	t.Helper()
	s := &service{t: t, args: args, env: env, ready: ready, said: newLines()}
	s.start()
	t.Cleanup(func() {
		s.end(unix.SIGKILL)
		if t.Failed() {
			said := s.said.String()
			t.Logf("%s said:\n%s", filepath.Base(args[0]), said[max(0, len(said)-4000):])
		}
	})
	return s
}

func (s *service) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	s.cmd.Env = append(os.Environ(), s.env...)
	s.cmd.Stdout, s.cmd.Stderr = s.said, s.said
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, filepath.Base(s.args[0])+" answers", func() error {
		answer, err := http.Get(s.ready)
		if err == nil {
			answer.Body.Close()
		}
		return err
	})
}

// end ends it by a signal, and waits.
func (s *service) end(by syscall.Signal) {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Signal(by)
		_ = s.cmd.Wait()
	}
}

// eventually asks again until there is no error: these engines give no signal.
func eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(2 * patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = ask(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// freeAddress returns an address at which nobody listens now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startCollector starts an OpenTelemetry Collector with the pipeline that is shipped, which
// listens on listen and sends to store.
func startCollector(t *testing.T, listen, store string) *service {
	t.Helper()
	_, port, _ := net.SplitHostPort(listen)
	return startService(t, "http://127.0.0.1:"+port, []string{"LISTEN=" + listen, "STORE=" + store, "QUEUE=" + t.TempDir()},
		engineAt(t, "collector"), "--config", "../packaging/fleet/collector.yaml")
}

// A logStore is VictoriaLogs.
type logStore struct {
	*service
	url string
}

func startStore(t *testing.T) *logStore {
	t.Helper()
	address := freeAddress(t)
	s := &logStore{url: "http://" + address}
	s.service = startService(t, s.url+"/health", nil, engineAt(t, "victoria-logs"),
		"-storageDataPath="+t.TempDir(), "-httpListenAddr="+address, "-retentionPeriod=100y")
	return s
}

// query returns the rows that a query in LogsQL gives.
func (s *logStore) query(query string) (rows []map[string]string, err error) {
	answer, err := http.PostForm(s.url+"/select/logsql/query", url.Values{"query": {query}})
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(answer.Body)
		return nil, fmt.Errorf("%s: %s: %s", query, answer.Status, text)
	}
	for in := json.NewDecoder(answer.Body); ; {
		var row map[string]string
		switch err := in.Decode(&row); {
		case errors.Is(err, io.EOF):
			return rows, nil
		case err != nil:
			return nil, err
		}
		rows = append(rows, row)
	}
}

// A metricStore is Prometheus.
type metricStore struct {
	*service
	url string
}

// startPrometheus scrapes the addresses every second, as packaging/fleet/prometheus.yaml
// has it otherwise.
func startPrometheus(t *testing.T, targets ...string) *metricStore {
	t.Helper()
	prometheus := engineAt(t, "deb/usr/bin/prometheus")
	dir := t.TempDir()
	config, err := os.ReadFile("../packaging/fleet/prometheus.yaml")
	if err != nil {
		t.Fatal(err)
	}
	list, _ := json.Marshal([]map[string][]string{{"targets": targets}})
	text := strings.ReplaceAll(string(config), "15s", "1s")
	err = errors.Join(os.WriteFile(dir+"/prometheus.yaml", []byte(text), 0o600), os.WriteFile(dir+"/nodes.json", list, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	p := &metricStore{url: "http://" + address}
	p.service = startService(t, p.url+"/-/ready", nil, prometheus, "--config.file="+dir+"/prometheus.yaml", "--storage.tsdb.path="+dir+"/data",
		"--web.listen-address="+address, "--enable-feature=native-histograms", "--web.console.templates="+dir, "--web.console.libraries="+dir)
	return p
}

// query returns how many series an expression gives now.
func (p *metricStore) query(expression string) (series int, err error) {
	answer, err := http.PostForm(p.url+"/api/v1/query", url.Values{"query": {expression}})
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	var result struct {
		Status, Error string
		Data          struct{ Result []json.RawMessage }
	}
	if err := json.NewDecoder(answer.Body).Decode(&result); err != nil {
		return 0, err
	}
	if result.Status != "success" {
		return 0, fmt.Errorf("%s: %s", expression, result.Error)
	}
	return len(result.Data.Result), nil
}
