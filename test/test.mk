# Tests: unit tests need no root, end-to-end tests trace this kernel.

TRIGGERS   := build/test/trigger build/test/trigger32
TEST_BUILT := build/test

build/test/trigger: test/trigger/trigger.c
	@echo '  CC       $@'
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -O2 -Wall -Werror -static -o $@ $<

build/test/trigger32: test/trigger/trigger.c
	@echo '  CC       $@'
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -m32 -O2 -Wall -Werror -static -o $@ $<

