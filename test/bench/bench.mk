# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The copenclose authors

# Benchmarks: copenclose beside its peers, in one run on this machine.

BENCH_DIR   := build/bench
BENCH_BUILT := $(BENCH_DIR)/generator $(BENCH_DIR)/empty.bpf.o

$(BENCH_DIR)/generator: test/bench/generator.c
	@echo '  CC       $@'
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -O2 -Wall -Werror -static -pthread -o $@ $<

$(BENCH_DIR)/empty.bpf.o: test/bench/empty.bpf.c
	@echo '  CLANG    $@'
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) -g -O2 -Wall -Werror -target bpf -c $< -o $@

.PHONY: bench
bench: ## Measure it beside its peers: ARGS="-rounds 5", ARGS="-for 10m soak", ARGS=events, ARGS=counting, ARGS=fleet, ARGS=-help
	$(Q)$(MAKE) --no-print-directory deps bench-deps
	$(Q)$(MAKE) --no-print-directory bench-run

# A peer that cannot be installed is a row of the table that says so.
.PHONY: bench-deps
bench-deps:
	$(Q)for peer in libbpf-tools bpftrace linux-perf strace sysdig; do \
		$(SUDO) packaging/install-missing $$peer || true; \
	done

# Go knows best whether it is up to date.
.PHONY: bench-run
bench-run: all static $(BENCH_BUILT) $(if $(filter soak events counting fleet -help -only%,$(ARGS)),,bench-go)
	$(Q)CGO_ENABLED=0 $(GO) build -o $(BENCH_DIR)/bench ./test/bench
	$(Q)$(SUDO) $(BENCH_DIR)/bench $(ARGS)

.PHONY: bench-go
bench-go: $(EMBEDDED) $(LIBBPF) ## Go benchmarks: decoders, formats, from ring to line
	$(Q)mkdir -p $(BENCH_DIR)
	$(Q)$(GO) test -run '^$$' -bench . -benchmem ./bpf ./internal/... >$(BENCH_DIR)/go.txt || \
		{ cat $(BENCH_DIR)/go.txt; exit 1; }
	$(Q)cat $(BENCH_DIR)/go.txt
