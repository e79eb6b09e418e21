# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The copenclose authors

# The licences of all that is linked, which the binary carries, and its bill of
# materials.

COLLECTED := internal/licenses/collected.$(GOARCH).txt.gz
SBOM      := build/$(FOREIGN)copenclose.cdx.json

STATIC_TAGS = $(TAGS),netgo,osusergo
INVENTORY   = GOARCH= CGO_ENABLED=0 $(GO) run ./packaging/inventory -go '$(GO)' -cc '$(CC)' -arch $(GOARCH) \
	-version $(VERSION) -tags $(STATIC_TAGS) -libbpf $(libbpf_tree) -sysroot '$(SYSROOT)' -objects '$(OBJECTS)'

$(COLLECTED): go.mod go.sum LICENSE NOTICE $(wildcard LICENSES/* packaging/inventory/*.go) $(LIBBPF) | $(SYSROOT)
	@echo '  LICENCES $@'
	$(Q)$(INVENTORY) -licenses $@

.PHONY: sbom
sbom: $(SBOM) ## Write a bill of materials (CycloneDX)

$(SBOM): $(COLLECTED) $(OBJECTS)
	@echo '  SBOM     $@'
	$(Q)$(INVENTORY) -sbom $@
