# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The copenclose authors

# Tests: unit tests need no root, end-to-end tests trace this kernel.

TEST_BUILT := build/$(FOREIGN)test
TRIGGERS   := $(TEST_BUILT)/trigger $(TEST_BUILT)/trigger32

TRIGGER_SOURCES := $(wildcard test/trigger/*.c)

$(TEST_BUILT)/trigger: $(TRIGGER_SOURCES) test/trigger/trigger.h
	@echo '  CC       $@'
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -O2 -Wall -Werror -static -pthread -o $@ $(TRIGGER_SOURCES)

$(TEST_BUILT)/trigger32: $(TRIGGER_SOURCES) test/trigger/trigger.h
	@echo '  CC       $@'
	$(Q)mkdir -p $(@D)
	$(Q)$(CC32) -O2 -Wall -Werror -static -pthread -o $@ $(TRIGGER_SOURCES)


##@ Test

.PHONY: test
test: ## Install what is missing and run every test
	$(Q)$(MAKE) --no-print-directory deps test-deps vm-deps
	$(Q)$(MAKE) --no-print-directory check analyze test-race test-manifests test-e2e vm-run test-completion test-reproducible

.PHONY: test-deps
test-deps: ## Install what the tests need (Debian packages)
	$(Q)$(SUDO) packaging/install-missing $(PACKAGES32) clang-format shellcheck $(if $(shell command -v dockerd),,docker.io) debootstrap \
		busybox-static curl git python3 python3-yaml iproute2 strace reuse mandoc zsh fish bash-completion tmux

.PHONY: test-unit
test-unit: $(EMBEDDED) $(LIBBPF) ## Decoders, tables, flags: no root needed
	$(Q)$(GO) test ./bpf ./internal/...

.PHONY: test-race
test-race: $(EMBEDDED) $(LIBBPF) ## The same with the race detector
	$(Q)$(GO) test -race ./bpf ./internal/...

.PHONY: test-e2e
test-e2e: all static $(TRIGGERS) ## The built binary on this kernel, with real containers
	$(Q)$(GO) test -c -o build/test/e2e.test ./test
	$(Q)cd test && $(SUDO) ../build/test/e2e.test -test.timeout 20m $(ARGS)

.PHONY: readme
readme: ## Run what README.md shows, and write its output anew
	$(Q)$(MAKE) --no-print-directory test-e2e ARGS='-test.run=^TestReadme$$$$ -test.v -readme'

FUZZ_TIME ?= 30s

.PHONY: fuzz
fuzz: $(EMBEDDED) $(LIBBPF) ## Fuzz each decoder for FUZZ_TIME
	$(Q)grep -ro --include='*_test.go' 'func Fuzz[A-Za-z]*' bpf internal | sed 's|/[^/]*:func | |' | \
	while read -r package target; do \
		echo "  FUZZ     $$package $$target"; \
		$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZ_TIME) "./$$package" || exit 1; \
	done

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
ACTIONLINT  := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

.PHONY: check
check: $(EMBEDDED) $(LIBBPF) ## gofmt, vet, staticcheck, clang-format, shellcheck, manual, licences, workflows
	@echo '  CHECK'
	$(Q)unformatted=$$(gofmt -l main.go bpf internal test); \
		test -z "$$unformatted" || { echo "gofmt: $$unformatted" >&2; exit 1; }
	$(Q)$(GO) vet ./...
	$(Q)$(GO) run $(STATICCHECK) ./...
	$(Q)clang-format --dry-run --Werror bpf/*.c bpf/*.h test/trigger/*.c test/trigger/*.h
	$(Q)grep -rlE '^#!.*(sh|bash)$$' .ci libbpf packaging test | xargs shellcheck packaging/completion/copenclose.bash
	$(Q)mandoc -T lint -W warning packaging/copenclose.8
	$(Q)CGO_ENABLED=0 $(GO) run $(ACTIONLINT) .github/workflows/*.yml
	$(Q)reuse lint --quiet || { reuse lint; echo 'CONTRIBUTING.md has the header that a file begins with' >&2; exit 1; }

# A call without registers has its arguments, which the analyzer does not see.
ANALYSES := -*,clang-analyzer-*,-clang-analyzer-security.insecureAPI.*,-clang-analyzer-core.uninitialized.UndefReturn

.PHONY: analyze
analyze: $(VMLINUX_H) $(LIBBPF) ## clang-tidy's static analyzer on the programs in the kernel
	@echo '  ANALYZE'
	$(Q)$(SUDO) packaging/install-missing clang-tidy
	$(Q)clang-tidy --quiet --checks='$(ANALYSES)' --warnings-as-errors='*' bpf/*.bpf.c -- \
		-target bpf -D__TARGET_ARCH_$(ARCH) -I$(dir $(VMLINUX_H)) -I$(LIBBPF_DIR)/include -g -O2
	$(Q)clang-tidy --quiet --checks='$(ANALYSES)' --warnings-as-errors='*' internal/*/*.c -- -O2

.PHONY: vulnerabilities
vulnerabilities: $(EMBEDDED) $(LIBBPF) ## govulncheck: known vulnerabilities in what is called (needs vuln.go.dev)
	$(Q)$(GO) run $(GOVULNCHECK) ./...
