# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The copenclose authors

# vmlinux.h has the kernel's types. It is committed, so that the build needs no
# BTF; CO-RE fits the programs to the kernel that loads them.

VMLINUX_H := vmlinux/$(ARCH)/vmlinux.h

##@ Kernel types

.PHONY: vmlinux
vmlinux: ## Generate vmlinux.h anew from this kernel's BTF; of another ARCH from Debian's kernel
	$(Q)$(SUDO) packaging/install-missing bpftool $(if $(FOREIGN),python3)
	@echo '  BTF      $(VMLINUX_H)'
	$(Q)mkdir -p $(dir $(VMLINUX_H))
	$(Q)$(if $(FOREIGN),vmlinux/from-debian trixie $(ARCH), \
		/usr/sbin/bpftool btf dump file /sys/kernel/btf/vmlinux format c) > $(VMLINUX_H).new
	@# pciehp's; ours is another.
	$(Q)sed -i 's/\bstruct slot\b/struct pciehp_slot/' $(VMLINUX_H).new
	$(Q)mv $(VMLINUX_H).new $(VMLINUX_H)
