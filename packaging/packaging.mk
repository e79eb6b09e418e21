# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The copenclose authors

# What is handed to users: packages and a release, and the tests of them.

##@ Packages

NFPM := build/tools/nfpm

# The last that the Go proxy has whole.
$(NFPM): packaging/packaging.mk
	@echo '  TOOL     $@'
	$(Q)GOBIN=$(CURDIR)/$(@D) GOFLAGS= CGO_ENABLED=0 $(GO) install github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.0
	$(Q)touch $@

PACKAGES := build/packages
STAGE    := build/$(FOREIGN)stage
rpm_arch := $(patsubst amd64,x86_64,$(patsubst arm64,aarch64,$(GOARCH)))
DEB      := $(PACKAGES)/copenclose_$(VERSION)_$(GOARCH).deb
RPM      := $(PACKAGES)/copenclose-$(VERSION)-1.$(rpm_arch).rpm
APK      := $(PACKAGES)/copenclose_$(VERSION)_$(rpm_arch).apk

# The commit's, so that it is the same wherever a package is made.
SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),0)
# Who answers for the packages: who made the commit, or whoever packages it says.
MAINTAINER ?= $(or $(shell git log -1 --format='%an <%ae>' 2>/dev/null),unknown <root@localhost>)
export SOURCE_DATE_EPOCH MAINTAINER

.PHONY: package
package: $(DEB) $(RPM) $(APK) ## Make a deb, an rpm and an apk: ARCH=arm64

PACKAGED := packaging/nfpm.yaml packaging/stage packaging/copenclose.8 packaging/lintian-overrides CHANGELOG.md \
	$(wildcard packaging/completion/*copenclose* packaging/service/*)

$(DEB) $(RPM) $(APK): $(STATIC) $(SBOM) $(COLLECTED) $(PACKAGED) | $(NFPM)
	@echo '  PACKAGE  $@'
	@mkdir -p $(@D)
	$(Q)packaging/stage $(VERSION) $(COLLECTED) $(SBOM) $(STAGE)
	$(Q)VERSION=$(VERSION) ARCHITECTURE=$(GOARCH) STATIC=$(STATIC) STAGE=$(STAGE) $(NFPM) \
		package --config packaging/nfpm.yaml --packager $(subst .,,$(suffix $@)) --target $@ >/dev/null

IMAGE ?= copenclose
comma := ,
label  = --label org.opencontainers.image.$1='$2'

.PHONY: image
image: image-files ## Make a container image of what is built: ARCH=arm64 IMAGE=copenclose
	$(Q)docker build --quiet --platform linux/$(GOARCH) --tag '$(IMAGE)' --file packaging/image.Dockerfile \
		$(call label,title,copenclose) \
		$(call label,description,shows which container opens$(comma) accepts$(comma) connects and closes) \
		$(call label,source,https://github.com/copenclose/copenclose) \
		$(call label,licenses,Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)) \
		$(call label,version,$(VERSION)) $(call label,revision,$(COMMIT)) \
		$(call label,created,$(shell date -u -d @$(SOURCE_DATE_EPOCH) +%Y-%m-%dT%H:%M:%SZ)) $(IMAGE_FILES)

RELEASE := build/release

.PHONY: release
release: ## Make all that a release has: binaries, packages, bills of materials, checksums
	$(Q)rm -rf $(RELEASE) && mkdir -p $(RELEASE)
	$(Q)for arch in x86 arm64; do $(MAKE) --no-print-directory ARCH=$$arch deps release-arch || exit 1; done
	$(Q)cd $(RELEASE) && sha256sum -- * >SHA256SUMS

.PHONY: release-arch
release-arch: package
	$(Q)cp $(DEB) $(RPM) $(APK) $(RELEASE)/
	$(Q)cp $(STATIC) $(RELEASE)/copenclose-$(VERSION)-linux-$(GOARCH)
	$(Q)cp $(SBOM) $(RELEASE)/copenclose-$(VERSION)-linux-$(GOARCH).cdx.json

.PHONY: package-deps
package-deps:
	$(Q)$(SUDO) packaging/install-missing mmdebstrap debian-archive-keyring lintian rpm man-db $(if $(FOREIGN),qemu-user-static)

.PHONY: test-package
test-package: package ## Check the packages; install, run and remove them: ARCH=arm64
	@echo '  INSTALL  $(DEB) $(RPM) $(APK)'
	$(Q)$(SUDO) packaging/try-packages $(GOARCH) $(DEB) $(RPM) $(APK)

.PHONY: test-reproducible
test-reproducible: package ## Build again in another folder: the same bytes
	@echo '  AGAIN    $(STATIC) $(DEB) $(RPM) $(APK)'
	$(Q)packaging/build-again COMMIT='$(COMMIT)' SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) NFPM=$(CURDIR)/$(NFPM) -- \
		$(OBJECTS) $(STATIC) $(SBOM) $(DEB) $(RPM) $(APK)

.PHONY: test-completion
test-completion: $(BINARY) ## Type into bash, zsh and fish, and press Tab
	@echo '  TAB      packaging/completion'
	$(Q)packaging/completion/try $(BINARY)
