# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The copenclose authors

# What is handed to users: packages, image, licences, manual.

.PHONY: test-reproducible
test-reproducible: $(STATIC) ## Build again in another folder: the same bytes
	@echo '  AGAIN    $(STATIC)'
	$(Q)packaging/build-again '$(COMMIT)' $(OBJECT) $(STATIC)
