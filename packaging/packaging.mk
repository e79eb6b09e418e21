# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The copenclose authors

# What is handed to users: packages, image, licences, manual.

.PHONY: test-reproducible
test-reproducible: $(STATIC) ## Build again in another folder: the same bytes
	@echo '  AGAIN    $(STATIC)'
	$(Q)packaging/build-again '$(COMMIT)' $(OBJECTS) $(STATIC)

.PHONY: test-completion
test-completion: $(BINARY) ## Type into bash, zsh and fish, and press Tab
	@echo '  TAB      packaging/completion'
	$(Q)packaging/completion/try $(BINARY)
