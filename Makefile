# hiod: what a developer and CI do. `make` alone lists it.
#
# Sets itself up: .venv is made at first use, again when pyproject.toml has changed, with PYTHON if
# it is given, else with the first Python >= 3.11 that can make one.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.ready-to-run
DEV := $(VENV)/.ready-to-develop
PYTHONS := python3.13 python3.12 python3.11 python3.14 python3
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Prints the path of the Python to use, or says what to install. A name on PATH is not enough: it
# may be a shim without a Python behind it, too old, or a Debian Python without its venv package.
define FIND_PYTHON
shelf=""; \
for python in $(or $(PYTHON),$(PYTHONS)); do \
  if ! found=$$("$$python" -c 'import sys; sys.version_info >= (3, 11) and print(sys.executable)' 2>/dev/null) \
    || [ -z "$$found" ]; then continue; fi; \
  if ! "$$found" -c 'import sqlite3, ssl' 2>/dev/null; then \
    echo "make: $$found was built without sqlite3 or ssl; looking further" >&2; continue; fi; \
  if "$$found" -c 'import venv, ensurepip' 2>/dev/null; then echo "$$found"; exit 0; fi; \
  shelf="$$shelf $$found"; \
done; \
if [ -n "$$shelf" ]; then \
  for found in $$shelf; do \
    version=$$("$$found" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
    echo "make: $$found cannot make environments; on Debian and Ubuntu: apt install python$$version-venv" >&2; \
  done; \
elif [ -n "$(PYTHON)" ]; then \
  echo "make: PYTHON=$(PYTHON) is not a Python 3.11 or newer that runs" >&2; \
else \
  echo "make: no Python 3.11 or newer is here (looked for $(PYTHONS)); on Debian and Ubuntu: apt install python3-venv; or name one: make PYTHON=/path/to/python3" >&2; \
fi; \
exit 1
endef

.PHONY: help
help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

# ---------------------------------------------------------------- environments

$(VENV)/bin/python:
	@python=$$($(FIND_PYTHON)); echo "making $(VENV) with $$python"; "$$python" -m venv $(VENV)

$(RUN): pyproject.toml | $(VENV)/bin/python
	@echo "installing hiod into $(VENV)"
	@$(BIN)/python -m pip install -q -e .
	@touch $@

$(DEV): pyproject.toml | $(VENV)/bin/python
	@echo "installing hiod and what its developers use into $(VENV)"
	@$(BIN)/python -m pip install -q -e '.[dev]'
	@touch $(RUN) $@

.PHONY: dev
dev: $(DEV) ## an environment to work in: .venv
	@echo "ready: $$($(BIN)/python -V), $(BIN)/hiod, $(BIN)/hiodctl"

# ---------------------------------------------------------------- to see it

.PHONY: demo
demo: $(RUN) ## a crew is started, changed, hurt and stopped, in less than half a minute
	@$(BIN)/python etc/demo/show.py

.PHONY: run
run: $(RUN) ## the demo's crew in the foreground until Ctrl-C
	@$(BIN)/hiodctl try etc/demo/crew.d/demo.toml

# ---------------------------------------------------------------- to change it

.PHONY: fmt
fmt: $(DEV) ## put the code into shape
	@$(BIN)/ruff check -q --fix-only .
	@$(BIN)/ruff format .

.PHONY: lint
lint: $(DEV) ## rules, shape, and who may import whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

.PHONY: type
type: $(DEV) ## types, strictly
	@$(BIN)/mypy

.PHONY: test
test: $(DEV) ## all tests this machine can run (ARGS='-k words' chooses)
	@$(BIN)/python -m pytest $(ARGS)

.PHONY: chaos
chaos: $(DEV) ## the long forms of what must survive: a hundred hands, twenty dead bosses, every step
	@HIOD_CHAOS=1 $(BIN)/python -m pytest --timeout 600 tests/chaos tests/systemd/test_live.py $(ARGS)

.PHONY: test-all
test-all: ## the tests under each Python from 3.11 to 3.14 that is here, each in an environment of its own
	@bad=""; \
	for version in 3.11 3.12 3.13 3.14; do \
	  venv=$(VENV)-$$version; \
	  if [ ! -x $$venv/bin/python ]; then \
	    for python in python$$version $$(ls -d ~/.pyenv/versions/$$version.*/bin/python 2>/dev/null || true); do \
	      if python=$$($(MAKE) find-python PYTHON="$$python" 2>/dev/null); then break; fi; python=""; \
	    done; \
	    if [ -z "$$python" ]; then echo "== Python $$version: not here"; continue; fi; \
	    "$$python" -m venv $$venv; \
	  fi; \
	  echo "== $$($$venv/bin/python -V)"; \
	  $$venv/bin/python -m pip install -q -e '.[dev]'; \
	  $$venv/bin/python -m pytest -q $(ARGS) || bad="$$bad $$version"; \
	done; \
	if [ -n "$$bad" ]; then echo "not good under Python$$bad" >&2; exit 1; fi

.PHONY: find-python
find-python:
	@$(FIND_PYTHON)

.PHONY: cover
cover: $(DEV) ## which lines and branches no test runs
	@$(BIN)/coverage run -m pytest -q $(ARGS)
	@$(BIN)/coverage report --skip-covered --show-missing

.PHONY: check
check: lint type test ## what CI runs, nothing more and nothing less

.PHONY: bench
bench: $(DEV) ## the figures, beside what others need for the same
	@$(BIN)/python bench/run.py $(ARGS)

.PHONY: docs
docs: $(DEV) ## write the generated pages anew
	@for page in docs/make_*.py; do $(BIN)/python "$$page"; done

# ---------------------------------------------------------------- to give it away

.PHONY: dist
dist: $(DEV) ## a wheel and a source archive in dist/
	@$(BIN)/python -m pip install -q build
	@$(BIN)/python -m build -q --outdir dist .
	@ls -l dist

.PHONY: install
install: ## into an environment of its own, with units, for all users (PREFIX=/usr/local, DESTDIR=)
	@PYTHON="$(PYTHON)" PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" systemd/install.sh install

.PHONY: deb
deb: ## a Debian package in dist/
	@PYTHON="$(PYTHON)" systemd/deb.sh

.PHONY: uninstall
uninstall: ## remove exactly that; the crew's files and state stay
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" systemd/install.sh uninstall

.PHONY: clean
clean: ## remove what make made, but .git and your files
	@rm -rf .venv .venv-* build dist .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
