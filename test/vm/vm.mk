# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The copenclose authors

# The end-to-end tests on several kernels, each in a virtual machine.

# All that are known of ARCH where it is empty. With -full behind it, the same kernel
# preempts wherever it can.
KERNELS    ?=
# The first that works here. Multi-threaded TCG is not used: it panics now and then
# while the kernel patches its own text.
VM_ACCEL   ?= kvm tcg,thread=single
VM_TIMEOUT ?= 30m

VM_DIR     := build/$(FOREIGN)vm
VM_IMAGE   := $(VM_DIR)/root.img
VM_TEST    := $(VM_DIR)/e2e.test

vm_packages_x86   := qemu-system-x86
vm_packages_arm64 := qemu-system-arm

.PHONY: test-vm
test-vm: ## Run the tests on other kernels in VMs: KERNELS="6.1 7.2" ARGS="-test.run=Podman" ARCH=arm64
	$(Q)$(MAKE) --no-print-directory deps vm-deps
	$(Q)$(MAKE) --no-print-directory vm-run

.PHONY: test-verifier
test-verifier: ## Every two options of a trace, in each mode of attaching, through the verifier of each kernel
	$(Q)$(MAKE) --no-print-directory test-vm ARGS='-test.run=Verifies -thorough'

.PHONY: vm-deps
vm-deps: ## Install what the VMs need (Debian packages)
	$(Q)$(SUDO) packaging/install-missing $(vm_packages_$(ARCH)) $(PACKAGES32) mmdebstrap debian-archive-keyring \
		e2fsprogs cpio zstd xz-utils kmod binutils

.PHONY: vm-run
vm-run: $(VM_IMAGE) $(STATIC) $(TRIGGERS) vm-test-binary
	$(Q)CGO_ENABLED=0 DEB_HOST_ARCH=$(GOARCH) $(GO) run ./test/vm -go '$(GO)' -arch $(ARCH) -kernels '$(KERNELS)' -accel '$(VM_ACCEL)' \
		-timeout '$(VM_TIMEOUT)' -dir $(VM_DIR) -image $(VM_IMAGE) \
		$(STATIC) $(TRIGGERS) $(VM_TEST) -- $(ARGS)

# Go knows best whether it is up to date.
.PHONY: vm-test-binary
vm-test-binary:
	@echo '  GO       $(VM_TEST)'
	@mkdir -p $(VM_DIR)
	$(Q)CGO_ENABLED=0 GOARCH=$(GOARCH) $(GO) test -c -o $(VM_TEST) ./test

$(VM_IMAGE): test/vm/root-image test/images/httpd/httpd.conf
	@echo '  IMAGE    $@'
	@mkdir -p $(@D)
	@# The package lists are fetched as the user, before root needs them.
	$(Q)DEB_HOST_ARCH=$(GOARCH) packaging/apt-suite trixie indextargets >/dev/null
	$(Q)$(SUDO) DEB_HOST_ARCH=$(GOARCH) test/vm/root-image trixie $@
