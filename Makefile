# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The copenclose authors

# copenclose: `make help` lists the targets.

.DEFAULT_GOAL := all
Q := $(if $(filter 1,$(V)),,@)

VERSION := 0.1.0
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null)
GO      ?= $(or $(shell command -v go),/usr/local/go/bin/go)
CLANG   ?= clang
STRIP   ?= llvm-strip
SUDO    := $(if $(filter 0,$(shell id -u)),,sudo)

include packaging/cross.mk

BINARY  := bin/$(FOREIGN)copenclose
STATIC  := bin/$(FOREIGN)static/copenclose
OBJECT  := bpf/copenclose.bpf.$(GOARCH).o.gz
OBJECTS := $(OBJECT) bpf/descriptors.bpf.$(GOARCH).o.gz

include libbpf/libbpf.mk
include vmlinux/vmlinux.mk
include packaging/inventory/inventory.mk

# What the Go packages have in them, and a build makes. Targets below need it.
EMBEDDED := $(OBJECTS) $(COLLECTED)

include bpf/bpf.mk
include test/test.mk
include $(wildcard test/*/*.mk)
include $(wildcard packaging/packaging.mk)

export CGO_ENABLED := 1
export CGO_CFLAGS  := -I$(CURDIR)/$(LIBBPF_DIR)/include $(SYSROOT_CFLAGS)
export CGO_LDFLAGS := $(CURDIR)/$(LIBBPF) $(SYSROOT_LDFLAGS)

GO_SOURCES  := go.mod go.sum main.go $(wildcard bpf/*.go internal/*/*.go internal/*/*/*.go internal/*/*.c)
# Without it urfave/cli brings a Markdown library, to write its own manual page.
TAGS        := urfave_cli_no_docs
# Go's build id and the stamp of the working copy would differ between two folders
# with the same source; --version has the commit.
LDFLAGS     := -s -w -buildid= -X main.version=$(VERSION) $(if $(COMMIT),-X main.commit=$(COMMIT))
GO_BUILD    := GOARCH=$(GOARCH) CC='$(CC)' $(GO) build -trimpath -buildvcs=false

##@ Build

# A Go that is too old would say so after a minute, in words about go.mod.
.PHONY: go-is-new-enough
go-is-new-enough:
	@$(GO) list -m >/dev/null 2>&1 || { echo "copenclose needs Go $$(sed -n 's/^go //p' go.mod) or later, and this is" \
		"$$($(GO) version 2>&1 | cut -d ' ' -f 3): get it from https://go.dev/dl, and run make GO=/usr/local/go/bin/go" >&2; exit 1; }

$(BINARY) $(STATIC) $(LIBBPF): | go-is-new-enough

.PHONY: all
all: $(BINARY) ## Build bin/copenclose (needs what `make deps` installs)

$(BINARY): $(GO_SOURCES) $(EMBEDDED) $(LIBBPF) | $(SYSROOT)
	@echo '  GO       $@'
	$(Q)rm -f $@
	$(Q)$(GO_BUILD) -tags $(TAGS) -ldflags '$(LDFLAGS)' -o $@ .

.PHONY: static
static: $(STATIC) ## Build bin/static/copenclose, which needs no library

# Another commit than last time is another binary, because --version has it.
BUILT_COMMIT := build/$(FOREIGN)commit
ifneq ($(file < $(BUILT_COMMIT)),$(VERSION) $(COMMIT))
.PHONY: $(BUILT_COMMIT)
endif

$(BUILT_COMMIT):
	@mkdir -p $(@D)
	@echo '$(VERSION) $(COMMIT)' >$@

$(STATIC): $(GO_SOURCES) $(EMBEDDED) $(LIBBPF) $(BUILT_COMMIT) | $(SYSROOT)
	@echo '  GO       $@'
	$(Q)rm -f $@
	$(Q)$(GO_BUILD) -tags $(STATIC_TAGS) \
		-ldflags '$(LDFLAGS) -linkmode external -extldflags "-static"' -o $@ .

# -mcpu=v3: 32-bit jumps, which the verifier knows since 5.1. The BTF has the
# names of the source files, and no folder of this machine. Syscalls that an
# architecture lacks share an element of a table.
bpf/%.bpf.$(GOARCH).o.gz: bpf/%.bpf.c $(wildcard bpf/*.h) $(VMLINUX_H) $(LIBBPF)
	@echo '  CLANG    $@'
	$(Q)$(CLANG) -g -fdebug-compilation-dir=. -O2 -Wall -Werror -Wno-initializer-overrides \
		-target bpf -mcpu=v3 -D__TARGET_ARCH_$(ARCH) \
		-I$(dir $(VMLINUX_H)) -I$(LIBBPF_DIR)/include -c $< -o $(basename $@)
	$(Q)$(STRIP) -g $(basename $@)
	$(Q)gzip --best --no-name --force $(basename $@)

# What an image has.
IMAGE_FILES := build/$(FOREIGN)image

.PHONY: image-files
image-files: $(STATIC) $(COLLECTED)
	$(Q)rm -rf $(IMAGE_FILES) && mkdir -p $(IMAGE_FILES)/licenses
	$(Q)cp $(STATIC) $(IMAGE_FILES)/
	$(Q)gzip -dc $(COLLECTED) >$(IMAGE_FILES)/licenses/licenses.txt

.PHONY: deps
deps: | go-is-new-enough ## Install what building needs (Debian packages)
	$(Q)$(SUDO) packaging/install-missing clang llvm libelf-dev zlib1g-dev $(CROSS_PACKAGES)

.PHONY: run
run: | go-is-new-enough ## Install what is missing, build, and trace: make run ARGS="-I -C"
	$(Q)$(MAKE) --no-print-directory deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)$(SUDO) $(BINARY) $(ARGS)

.PHONY: demo
demo: | go-is-new-enough ## Trace three containers that serve httpd for ten seconds
	$(Q)$(MAKE) --no-print-directory deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)$(SUDO) packaging/demo

.PHONY: clean
clean: ## Remove what was built, but not what was fetched
	$(Q)rm -rf bin bpf/*.o.gz internal/licenses/*.gz $(TEST_BUILT)

.PHONY: distclean
distclean: clean ## Remove what was fetched, too
	$(Q)rm -rf build

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^##@ /{printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
