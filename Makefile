# make demo | test | test-all | faults | fuzz | format. A fresh machine needs Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Without compiling: 360 MB of Python source come along, of which little is ever run; what is compiles itself then.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt

# A process a core, each with one thread: small networks and short sounds gain nothing from more.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --dist worksteal

.PHONY: demo test test-all faults fuzz format clean
.DEFAULT_GOAL := demo

# The core alone: no torch. What the bundled model says of the first example, and why.
EXAMPLE := --speech examples/happy.flac --image examples/astronaut.jpg
demo: $(VENV)/.core
	@echo "parallelnet predict $(EXAMPLE)" && $(BIN)/parallelnet predict $(EXAMPLE)
	@echo && echo "parallelnet explain $(EXAMPLE) --word-times examples/happy.words.json --out demo" && \
	$(BIN)/parallelnet explain $(EXAMPLE) --word-times examples/happy.words.json --out demo
	@echo && echo "Open $(CURDIR)/demo/report.html in a browser."

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST)

# Also what is slow, needs ../shared/data, a browser or an accelerator.
test-all: test
	$(BIN)/python -m pytest -m "slow or data or browser or gpu"

# Is anything finished ever lost (docs/reliability.md)? Some 30 minutes on two cores; started again, it goes on.
# The full disks among it need root.
faults: $(VENV)/.dev
	$(BIN)/python benchmarks/faults.py

# Can any file crash, hang or fool a command? Some 10 minutes on two cores.
fuzz: $(VENV)/.dev
	$(BIN)/python benchmarks/fuzz.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

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
