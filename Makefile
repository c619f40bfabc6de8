# The template's own commands. The gates are those that it gives to projects.
include template/tooling.mk

.PHONY: new

# Answers and flags reach the program as they were typed: neither make nor a shell expands them.
override DEST := $(value DEST)
override FLAGS := $(value FLAGS)
export DEST FLAGS

new: $(UV_NEEDED) ## make a project: DEST=../order-hub FLAGS="--defaults -d project_name='Order Hub'"
	@PATH="$(dir $(abspath $(UV))):$$PATH" python3 new.py
