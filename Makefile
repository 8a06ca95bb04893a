PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# mypy sees the folders under the names that they are installed by.
TREE := build/tree

.PHONY: types
types: $(TREE)
	MYPYPATH=$(TREE) $(BIN)/mypy -p ipop_core -p ipop_modules -p ipop_schemas

$(TREE):
	mkdir -p $@
	ln -sfn ../../ipop_core $@/ipop_core
	ln -sfn ../../modules $@/ipop_modules
	ln -sfn ../../schemas $@/ipop_schemas
