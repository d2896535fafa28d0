# make run    the demo factory, from nothing        make test   everything that must hold (CI runs this)
# make setup  what `run` needs, made once           make check  linters, types, who imports whom, firmware compiles
# make soak   the long runs                         make bench  measurements
# make lock   renew the locks                       make clean  back to a fresh clone

SHELL := /bin/bash
.DEFAULT_GOAL := run
.DELETE_ON_ERROR:
.PHONY: run setup setup-test vm kernels mbpoll narrow test check lint types board-types imports check-firmware collect soak bench lock clean

unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := -m pip --disable-pip-version-check install -qq --require-hashes
PYTEST := $(BIN)/python -m pytest
PYTEST_ARGS ?=
PEERS := tests/bench/opcua/peers
TOGETHER := @$(MAKE) --no-print-directory --jobs=2

# $(call get,what,Debian packages): root on Debian gets them; else one line names what is missing.
get = { \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "setup: installing $(2)"; \
		( flock 9 && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(2) ) \
			>/dev/null 9<Makefile; \
	else echo "setup: $(1) is missing: install $(2) and try again" >&2; exit 1; fi; }
need = command -v $(1) >/dev/null || $(call get,$(1),$(2))

# ---- what `make run` needs -------------------------------------------------------------------------------------------

setup: $(VENV)/.project tests/node_modules/.nodesets vm kernels

$(VENV)/.locked: requirements.lock
	@command -v $(PYTHON) >/dev/null || { echo "setup: $(PYTHON) is missing: install Python 3.11 or later" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "setup: $(PYTHON) is older than 3.11: make PYTHON=python3.11 (or later)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(call get,the venv module of $(PYTHON),python3-venv)
	@echo "setup: Python environment in $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python $(PIP) --requirement requirements.lock
	@touch $@

$(VENV)/.project: $(VENV)/.locked pyproject.toml
	@$(BIN)/python -m pip --disable-pip-version-check install -qq --no-deps --no-build-isolation --editable .
	@touch $@

tests/node_modules/.nodesets: tests/package.json tests/package-lock.json
	@$(call need,npm,nodejs npm)
	@echo "setup: OPC UA nodesets"
	@cd tests && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	@touch $@

vm: $(VENV)/.project
	@$(BIN)/python -m hil.micropython >/dev/null

# Compiled once on a machine, into the user's cache, as OPC UA's address space is: no order, start or test waits for it.
kernels: $(VENV)/.project tests/node_modules/.nodesets
	@$(BIN)/python -m controller.prepare

run:
	$(TOGETHER) setup
	@$(BIN)/lockstep run

# ---- what the tests need besides -------------------------------------------------------------------------------------

setup-test: setup tests/node_modules/.clients .typings/.locked .venv-opcua/.locked $(VENV)/.oracles mbpoll narrow

tests/node_modules/.clients: tests/node_modules/.nodesets
	@node -e 'process.exit(Number(parseInt(process.versions.node) < 18))' || { \
		echo "setup: node $$(node --version) is too old: install Node.js 18 or later" >&2; exit 1; }
	@echo "setup: second OPC UA stack (node-opcua)"
	@cd tests && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	@touch tests/node_modules/.nodesets $@

$(VENV)/.oracles: tests/requirements-oracles.lock $(VENV)/.project
	@echo "setup: libraries that the tests ask for the truth"
	@$(BIN)/python $(PIP) --requirement tests/requirements-oracles.lock
	@touch $@

.typings/.locked: tests/requirements-stubs.lock $(VENV)/.locked
	@echo "setup: the board's type stubs"
	@rm -rf .typings
	@$(BIN)/python $(PIP) --no-deps --target .typings --requirement tests/requirements-stubs.lock
	@touch $@

.venv-opcua/.locked: tests/requirements-opcua-build.lock tests/requirements-opcua.lock
	@echo "setup: third OPC UA stack (python-opcua), in an environment of its own"
	@$(PYTHON) -m venv --clear .venv-opcua
	@.venv-opcua/bin/python $(PIP) --requirement tests/requirements-opcua-build.lock
	@.venv-opcua/bin/python $(PIP) --no-build-isolation --requirement tests/requirements-opcua.lock
	@touch $@

# A VM with a board's words, where this machine runs one.
narrow: $(VENV)/.project
	@$(BIN)/python -m hil.micropython narrow >/dev/null

# On PATH, or the distribution's package unpacked into the user's cache, as the VM is.
mbpoll: $(VENV)/.project
	@command -v mbpoll >/dev/null || { \
		argv="$$($(BIN)/python -m hil.debian mbpoll)" && \
		printf '#!/bin/sh\nexec %s "$$@"\n' "$$argv" >$(BIN)/mbpoll && chmod +x $(BIN)/mbpoll; }

# ---- proofs ----------------------------------------------------------------------------------------------------------

test:
	$(TOGETHER) setup-test
	$(TOGETHER) check
	$(PYTEST) --numprocesses 3 --dist worksteal $(PYTEST_ARGS)

check: lint types board-types imports check-firmware collect

lint: setup-test
	$(BIN)/ruff check .

types: setup-test
	$(BIN)/mypy

board-types: setup-test
	$(BIN)/pyright

imports: setup-test
	$(BIN)/lint-imports

check-firmware: setup-test
	$(BIN)/python -m tests.compile_firmware

# Every test can be found, and is compiled once: beside the type checker, so that no worker has to.
collect: setup-test
	@out="$$($(PYTEST) --collect-only -qq 2>&1)" || { echo "$$out"; exit 1; }

soak: setup-test
	$(PYTEST) -m soak $(PYTEST_ARGS)

bench: setup-test $(VENV)/.bench $(PEERS)/node_modules/.peers
	$(PYTEST) -m bench --capture=no $(PYTEST_ARGS)
	$(BIN)/python -m tests.bench hil
	$(BIN)/python -m tests.bench firmware
	$(BIN)/python -m tests.bench fieldbus
	$(BIN)/python -m tests.bench opcua
	$(BIN)/python -m tests.bench kinematics

$(VENV)/.bench: tests/requirements-bench.lock $(VENV)/.oracles
	@echo "setup: peers to measure against"
	@$(BIN)/python $(PIP) --requirement tests/requirements-bench.lock
	@touch $@

$(PEERS)/node_modules/.peers: $(PEERS)/package.json $(PEERS)/package-lock.json
	@echo "setup: an OPC UA server of another stack to measure against (node-opcua)"
	@cd $(PEERS) && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	@touch $@

# ---- housekeeping ----------------------------------------------------------------------------------------------------

COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
# Who funds a package is an address, and no business of a lock.
NO_FUNDING := const fs = require("fs"), file = "package-lock.json", lock = JSON.parse(fs.readFileSync(file)); \
	for (const entry of Object.values(lock.packages)) delete entry.funding; \
	fs.writeFileSync(file, JSON.stringify(lock, null, 2) + "\n");

lock:
	@command -v uv >/dev/null || { echo "lock: uv is missing: pip install uv" >&2; exit 1; }
	$(COMPILE) pyproject.toml --extra hil --group dev --output-file requirements.lock
	$(COMPILE) --group oracles --constraint requirements.lock --output-file tests/requirements-oracles.lock
	$(COMPILE) --group bench --constraint requirements.lock --constraint tests/requirements-oracles.lock \
		--output-file tests/requirements-bench.lock
	echo 'micropython-esp32-stubs==1.29.0.post1' | $(COMPILE) - --output-file tests/requirements-stubs.lock
	printf 'opcua==0.98.13\ncryptography\n' | $(COMPILE) - --output-file tests/requirements-opcua.lock
	echo 'setuptools' | $(COMPILE) - --output-file tests/requirements-opcua-build.lock
	for folder in tests $(PEERS); do \
		( cd $$folder && npm install --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund && \
			node -e '$(NO_FUNDING)' ) || exit 1; done

clean:
	rm -rf $(VENV) .venv-opcua .typings tests/node_modules $(PEERS)/node_modules build dist
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
