# Two commands: `make head PROMPT="..."` and `make test`. Both work on a fresh machine; ARGS go to the command, as in
# `make test ARGS="-n 2 tests/test_config.py"`.
PYTHON ?= python3
PROMPT ?= a DSLR portrait of an old bald man with short beard
ARGS ?=
BIN := .venv/bin
CHROMIUM ?= $(shell command -v chromium || command -v google-chrome)

.PHONY: head test lint examples viewer clean

head: .venv/installed
	$(BIN)/headartist generate "$(PROMPT)" $(ARGS)

test: .venv/installed-dev
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest $(ARGS)

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

examples: .venv/installed-dev
	for example in examples/*.py; do $(BIN)/python $$example || exit 1; done

# Bundles the page that `headartist view` fills, and tries it in a browser; needs node and Chromium.
viewer: .venv/installed-dev
	cd tools/viewer && npm ci && npm run build
	CHROMIUM="$(CHROMIUM)" $(BIN)/python -m pytest tests/test_viewer.py tests/test_viewable.py

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip

.venv/installed: pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet -e .
	touch $@

.venv/installed-dev: pyproject.toml foundry/pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet -e ".[dev]"
	$(BIN)/pip install --quiet --no-deps -e foundry
	touch $@ .venv/installed

clean:
	rm -rf .venv
