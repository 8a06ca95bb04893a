# `make demo`, `make test` and `make check` install what they need: Debian packages when root, Python packages in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# mypy sees the folders under the names that they are installed by.
TREE := build/tree
EXAMPLES := $(patsubst examples/ipop-%,%,$(wildcard examples/ipop-*))

# Where an environment forbids it, every worker and every node of the tests compiles all sources again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test check lint types unit wheel deb package-test bench clean

help:
	@echo "make demo    two computers behind NATs, a bootstrap overlay, a ping: the whole thing in network namespaces"
	@echo "make test    every test that can run here"
	@echo "make deb     dist/ipop_VERSION_ARCH.deb, for Debian 12"
	@echo "make bench   throughput beside other VPNs, in one run"
	@echo "make check   style, types and unit tests, in under a minute"

demo: $(READY)
	@$(BIN)/ipop demo $(ARGS)

# Three workers on two processors: each of them waits for half of its time.
test:
	$(MAKE) --output-sync=target --jobs=3 lint types wheel
	$(MAKE) unit
	$(BIN)/pytest -n 3 --dist loadgroup -m "net or slow" $(ARGS)

check:
	$(MAKE) --no-print-directory --jobs=3 lint types unit

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: $(READY) $(TREE)
	MYPYPATH=$(TREE) $(BIN)/mypy -p ipop_core -p ipop_modules -p ipop_schemas -p benchmarks $(EXAMPLES:%=-p ipop_%)

unit: $(READY)
	$(BIN)/pytest -q -n auto --dist worksteal -m "not net and not slow"

# This project and every peer that is installed, in one run; ARGS="--install" installs the peers first.
bench: $(READY)
	$(BIN)/python -m benchmarks.throughput $(ARGS)

# The wheel, installed in an empty environment and run from another folder.
wheel: $(READY)
	packaging/try-wheel $(BIN)/python

# For the Debian that this runs on; the libraries come from PyPI.
deb: $(READY)
	packaging/deb/build $(BIN)/python

# Root's: lintian, and the package on a clean Debian with systemd as init, from its installation to its purge.
package-test: deb
	packaging/deb/try-install dist/ipop_*.deb

$(READY): pyproject.toml packaging/system-packages
	packaging/system-packages
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(TREE): Makefile examples
	mkdir -p $@
	ln -sfn ../../ipop_core $@/ipop_core
	ln -sfn ../../modules $@/ipop_modules
	ln -sfn ../../schemas $@/ipop_schemas
	ln -sfn ../../benchmarks $@/benchmarks
	for name in $(EXAMPLES); do ln -sfn ../../examples/ipop-$$name/ipop_$$name $@/ipop_$$name; done
	touch $@

clean:
	rm -rf build dist *.egg-info $(VENV)
