# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The copenclose authors

# Upstream libbpf, built once as a static library; nothing of it is committed.
#
# The release is pinned in libbpf/sha256sums and fetched as Debian's source
# package. LIBBPF_SRC=dir builds a libbpf source tree of one's own instead.

LIBBPF_DIR := build/$(FOREIGN)libbpf
LIBBPF     := $(LIBBPF_DIR)/lib/libbpf.a

libbpf_pin     := libbpf/sha256sums
libbpf_suite   := trixie
libbpf_tarball := build/libbpf/$(lastword $(file < $(libbpf_pin)))

ifdef LIBBPF_SRC
libbpf_tree   := $(abspath $(LIBBPF_SRC))
libbpf_origin := $(libbpf_tree)
else
libbpf_tree   := $(CURDIR)/$(LIBBPF_DIR)/source
libbpf_origin := $(firstword $(file < $(libbpf_pin)))
endif

# Another pin or another LIBBPF_SRC than last time means another build.
ifneq ($(file < $(LIBBPF_DIR)/origin),$(libbpf_origin))
.PHONY: $(LIBBPF)
endif

.DELETE_ON_ERROR:

# CFLAGS is set because upstream's -Werror breaks with compilers newer than the
# release; -g is left out because nobody debugs libbpf through this binary.
$(LIBBPF): $(if $(LIBBPF_SRC),,$(libbpf_tarball)) | $(SYSROOT)
	@echo '  LIBBPF   $@'
	$(Q)rm -rf $(addprefix $(LIBBPF_DIR)/,origin source objects include lib)
ifndef LIBBPF_SRC
	$(Q)cd $(<D) && sha256sum --check --status $(CURDIR)/$(libbpf_pin) || { \
		echo '$(<F): wrong checksum, not what $(libbpf_pin) pins; remove $< and run make again' >&2; exit 1; }
	$(Q)mkdir -p $(libbpf_tree) && tar -xf $< -C $(libbpf_tree) --strip-components=1
endif
	$(Q)test -f $(libbpf_tree)/src/libbpf.c || { \
		echo '$(libbpf_tree): no libbpf source tree (src/libbpf.c is missing)' >&2; exit 1; }
	$(Q)$(MAKE) -C $(libbpf_tree)/src $(if $(Q),--silent --no-print-directory >/dev/null) \
		CC='$(CC)' AR='$(AR)' CFLAGS='-O2 -Wall -std=gnu89 $(SYSROOT_CFLAGS)' BUILD_STATIC_ONLY=1 NO_PKG_CONFIG=1 \
		OBJDIR=$(CURDIR)/$(LIBBPF_DIR)/objects DESTDIR=$(CURDIR)/$(LIBBPF_DIR) \
		PREFIX= LIBDIR=/lib INCLUDEDIR=/include UAPIDIR=/include \
		install_uapi_headers install
	$(Q)echo '$(libbpf_origin)' > $(LIBBPF_DIR)/origin

$(libbpf_tarball):
	@echo '  FETCH    $(@F)'
	$(Q)mkdir -p $(@D)
	$(Q)cd $(@D) && $(CURDIR)/packaging/apt-suite $(libbpf_suite) \
		source --download-only --tar-only libbpf $(if $(Q),>/dev/null) && test -f $(@F) || { \
		echo '$(@F): cannot be fetched from $(libbpf_suite); give a libbpf source tree with LIBBPF_SRC=dir' >&2; exit 1; }

.PHONY: libbpf
libbpf: $(LIBBPF)
