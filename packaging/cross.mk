# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The copenclose authors

# The architecture to build for: ARCH=arm64 builds for it on any machine. It has the
# kernel's name (x86, arm64), and other names are taken, too.

arch_of = $(patsubst aarch64,arm64,$(patsubst x86_64,x86,$(patsubst amd64,x86,$1)))

HOST_ARCH     := $(call arch_of,$(shell uname -m))
override ARCH := $(call arch_of,$(or $(ARCH),$(HOST_ARCH)))
# Go's and Debian's name.
GOARCH        := $(patsubst x86,amd64,$(ARCH))
# What is built for another architecture is kept in a folder of its name.
FOREIGN       := $(if $(filter-out $(HOST_ARCH),$(ARCH)),$(ARCH)/)

triplet_x86   := x86_64-linux-gnu
triplet_arm64 := aarch64-linux-gnu
TRIPLET       := $(or $(triplet_$(ARCH)),$(error ARCH=$(ARCH): there are x86 and arm64))

# Of Debian's compilers for other architectures those without a version in their name
# conflict with gcc-multilib.
GCC_VERSION := $(shell gcc -dumpversion 2>/dev/null | cut -d. -f1)

ifneq ($(FOREIGN),)
CC := $(TRIPLET)-gcc-$(GCC_VERSION)
AR := $(TRIPLET)-ar
CROSS_PACKAGES := gcc-$(GCC_VERSION)-$(subst _,-,$(TRIPLET)) libc6-dev-$(GOARCH)-cross

# The libraries come from the suite that the compiler is from.
SYSROOT         := build/$(FOREIGN)sysroot
SYSROOT_CFLAGS  := -I$(CURDIR)/$(SYSROOT)/usr/include
SYSROOT_LDFLAGS := -L$(CURDIR)/$(SYSROOT)/usr/lib/$(TRIPLET)

$(SYSROOT):
	@echo '  FETCH    $@'
	$(Q)DEB_HOST_ARCH=$(GOARCH) packaging/sysroot $@ libelf-dev zlib1g-dev
endif

# 32-bit programs, of which the tests trace some. The headers in asm are those of both
# x86 ABIs.
cc32_x86         := $(CC) -m32 -idirafter /usr/include/x86_64-linux-gnu
cc32_arm64       := arm-linux-gnueabihf-gcc-$(GCC_VERSION)
CC32             := $(cc32_$(ARCH))
packages32_x86   := gcc-$(GCC_VERSION)-multilib
packages32_arm64 := gcc-$(GCC_VERSION)-arm-linux-gnueabihf libc6-dev-armhf-cross
PACKAGES32       := $(packages32_$(ARCH))
