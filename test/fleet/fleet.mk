# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The copenclose authors

# The engines that operators have, as they are: an OpenTelemetry Collector and VictoriaLogs
# from the Go proxy, in modules of their own, and Debian's Prometheus, which is unpacked.

FLEET      := build/fleet
COLLECTOR  := $(FLEET)/collector
LOG_STORE  := $(FLEET)/victoria-logs
PROMETHEUS := $(FLEET)/deb/usr/bin/prometheus

# libbpf is none of their business.
ENGINE_BUILD = env -u CGO_CFLAGS -u CGO_LDFLAGS GOFLAGS=-buildvcs=false $(GO) build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@

$(COLLECTOR): $(wildcard test/fleet/collector/*)
	@echo '  GO       $@'
	$(Q)cd test/fleet/collector && $(ENGINE_BUILD) .

$(LOG_STORE): $(wildcard test/fleet/store/*)
	@echo '  GO       $@'
	$(Q)cd test/fleet/store && $(ENGINE_BUILD) github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs

$(PROMETHEUS):
	@echo '  FETCH    $@'
	$(Q)rm -rf $(FLEET)/deb && mkdir -p $(FLEET)/deb
	$(Q)cd $(FLEET)/deb && apt-get download -qq prometheus && dpkg -x prometheus_*.deb . && touch usr/bin/prometheus

# A short form is among the tests of the binary.
test-e2e: $(COLLECTOR) $(PROMETHEUS)

.PHONY: test-fleet
test-fleet: all $(TRIGGERS) $(COLLECTOR) $(LOG_STORE) $(PROMETHEUS) ## Five nodes, a Collector, stores of logs and metrics, and what can go wrong
	$(Q)env -u CGO_CFLAGS -u CGO_LDFLAGS $(GO) -C test/fleet/collector test .
	$(Q)$(GO) test -c -o build/test/e2e.test ./test
	$(Q)cd test && $(SUDO) ../build/test/e2e.test -test.timeout 20m -test.v -test.run '^Test(Collector|Fleet|PromTool)' $(ARGS)
