# make demo | test | test-all | format. A fresh machine needs Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-all format clean
.DEFAULT_GOAL := demo

# The core alone: no torch. One real prediction of the bundled model, for the first pair of examples/manifest.csv.
demo: $(VENV)/.core
	@files=$$($(BIN)/python -c 'import csv; row = next(csv.DictReader(open("examples/manifest.csv"))); \
		print("--speech examples/" + row["speech"], "--image examples/" + row["image"])') && \
	echo "parallelnet predict $$files" && $(BIN)/parallelnet predict $$files

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

# Also what is slow, needs ../shared/data, a browser or an accelerator.
test-all: test
	$(BIN)/python -m pytest -m "slow or data or browser or gpu"

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Order-only on python: its time stamp is that of the interpreter it links to.
$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable .
	touch $@

# Brings the core too, so `make demo` after `make test` installs nothing.
$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable ".[train,dev]"
	touch $(VENV)/.core $@
