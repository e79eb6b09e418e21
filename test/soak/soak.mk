# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The copenclose authors

# Soak: copenclose for an hour, while one thing after the other goes wrong.

SOAK ?= 1h

.PHONY: soak
soak: all build/test/trigger ## Faults for an hour while every call is accounted for: SOAK=5m
	$(Q)mkdir -p build/soak
	$(Q)CGO_ENABLED=0 $(GO) build -o build/soak/soak ./test/soak
	$(Q)$(SUDO) build/soak/soak -for $(SOAK)
