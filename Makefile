# make demo   a call with a bot, in your browser
# make test   style, types, pages and all tests but the soak, with the real servers and browser they need
# make fast   unit tests and the virtual network only
# make soak   long trouble, thousands of random worlds, many examples of each property: half an hour
# make fuzz   fuzz every parser; ARGS="--seconds 600 sctp" fuzzes one of them for ten minutes
# make bench  time to an open channel, ours beside aiortc's

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
NEW_ENOUGH := -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
PYTHON ?= $(or $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python $(NEW_ENOUGH) && echo $$python && break; done),python3)
ROOT := $(shell [ "$$(id -u)" = 0 ] && echo yes)
SUDO := $(if $(ROOT),,sudo -n)
# Bytecode is kept, whatever the environment says: every test process imports the same modules.
unexport PYTHONDONTWRITEBYTECODE
# One test process per core, few enough that starting them pays; ARGS="-n 0" runs the tests in one.
PARALLEL := --numprocesses auto --maxprocesses 4
APT := $(SUDO) env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get

# program:package pairs; a package is installed only where its program is missing.
TEST_PARTS := turnserver:coturn chromium:chromium redis-server:redis-server ip:iproute2 nft:nftables espeak-ng:espeak-ng npm:npm

.DEFAULT_GOAL := help
.PHONY: help demo demo-voice relay test check style types docs docs-serve audit fast real soak fuzz bench bench-connect bench-restart \
	bench-audio bench-signaling setup python test-parts clean

help:
	@sed -n '/^# make/s/^# //p' Makefile

demo: $(READY)
	$(BIN)/python -m examples.demo $(ARGS)

demo-voice: $(READY)
	$(MAKE) --no-print-directory parts PARTS="espeak-ng:espeak-ng"
	$(BIN)/python -m examples.voice_agent --demo $(ARGS)

relay: $(READY)
	$(BIN)/python -m signaling $(ARGS)

test: check fast real

check: style types docs audit

style: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

audit: $(READY)
	@$(BIN)/python -m tests.support.audit

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet -f docs/mkdocs.yml

docs-serve: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve -f docs/mkdocs.yml $(ARGS)

# Real sockets, browsers and servers on a busy machine now and then miss what is asked of them. A test that fails is run
# again, in plain sight; one that fails twice has failed.
FAST := $(BIN)/python -m pytest -m "not (real or slow or soak or bench)"

fast: $(READY)
	$(FAST) $(PARALLEL) --dist worksteal $(ARGS) || { [ $$? = 1 ] && echo "Once more, what failed:" && \
		$(FAST) --last-failed --last-failed-no-failures none $(ARGS); }

real: $(READY) test-parts
	$(BIN)/python -m pytest -m "(real or slow) and not (soak or bench)" --timeout 180 $(PARALLEL) --dist worksteal \
		--reruns 1 --max-suite-reruns 6 --rerun-show-tracebacks $(ARGS)

soak: $(READY) test-parts
	$(BIN)/python -m pytest -m "(soak or hypothesis) and not bench" --hypothesis-profile soak --timeout 900 \
		$(PARALLEL) --dist worksteal $(ARGS)

fuzz: $(READY)
	$(BIN)/python -m tests.fuzz $(ARGS)

bench: $(READY)
	$(BIN)/python -m tests.bench.loopback $(ARGS)

bench-connect: $(READY) test-parts
	$(BIN)/python -m tests.bench.connect $(ARGS)

bench-restart: $(READY) test-parts
	$(BIN)/python -m tests.bench.restart $(ARGS)

bench-audio: $(READY) test-parts
	$(BIN)/python -m tests.bench.audio $(ARGS)

bench-signaling: $(READY)
	$(BIN)/python -m tests.bench.signaling $(ARGS)

setup: $(READY)

# The environment: made where it is missing, brought up to date when pyproject.toml has changed.
$(READY): pyproject.toml
	@$(MAKE) --no-print-directory python
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@echo "Installing the Python packages into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

python:
	@if ! $(PYTHON) $(NEW_ENOUGH); then \
		echo "Installing Python 3"; \
		$(APT) update -qq && $(APT) install -y -qq --no-install-recommends python3 python3-venv || exit 1; \
		$(PYTHON) $(NEW_ENOUGH) || \
			{ echo "Python 3.11 or later is needed: set PYTHON=/path/to/it"; exit 1; }; \
	fi

test-parts:
	@$(MAKE) --no-print-directory parts PARTS="$(TEST_PARTS)"

# Without root and without sudo the tests that need a missing part skip and say so; in CI they fail.
parts:
	@missing=; for pair in $(PARTS); do \
		PATH="$$PATH:/usr/sbin:/sbin" command -v $${pair%%:*} >/dev/null || missing="$$missing $${pair##*:}"; done; \
	if [ -n "$$missing" ]; then \
		echo "Installing$$missing"; \
		{ $(APT) update -qq && $(APT) install -y -qq --no-install-recommends $$missing >/dev/null; } || \
			echo "Could not install$$missing: the tests that need them will say so"; \
	fi

.PHONY: parts
clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
