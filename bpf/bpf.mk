# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The copenclose authors

# Each header of the programs includes what it uses: it compiles alone.

check: check-headers

.PHONY: check-headers
check-headers: $(VMLINUX_H) $(LIBBPF)
	$(Q)for header in bpf/*.h; do \
		$(CLANG) -fsyntax-only -x c -O2 -Wall -Werror -Wno-unused -Wno-initializer-overrides \
			-target bpf -mcpu=v3 -D__TARGET_ARCH_$(ARCH) \
			-I$(dir $(VMLINUX_H)) -I$(LIBBPF_DIR)/include $$header || exit 1; \
	done
