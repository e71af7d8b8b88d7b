# nowcast: `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist worksteal
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Each archive must have a sum that requirements/*.txt name (scripts/lock.py writes them); PyTorch, which comes in many builds, its version.
LOCKED := $(PIP) --require-hashes --no-deps -r
NOWCAST := $(PIP) -c constraints.txt torch && $(PIP) --no-deps --no-build-isolation -e .

.PHONY: help install demo test check faults bench oracles docs wheel clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */\1\t/' | expand -t 12

install: $(VENV)/installed ## make the virtual environment and install nowcast into it
demo: install ## the main job on real radar: fetch, train, forecast, score (about 10 minutes on 2 CPU cores)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh scripts/demo.sh

test: $(VENV)/installed-test ## the test suite, on up to four cores
	$(PYTEST)

check: $(VENV)/installed-dev ## the test suite, ruff, mypy and the commands of the README and of the site
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) -m "not faults"

faults: $(VENV)/installed-test ## every fault that forecasts and training are to survive, kill -9 fifty times among them
	$(PYTEST) tests/faults -m "faults or not faults" --fault-table=build/faults.md

bench: install ## how fast the layer is beside those that people copy, the loader, the scores, and a forecast (many minutes on a CPU; Keras and pysteps too after `make oracles`)
	$(BIN)/python scripts/benchmarks/layer.py
	$(BIN)/python scripts/benchmarks/commands.py
	$(BIN)/python scripts/benchmarks/loader.py
	$(BIN)/python scripts/benchmarks/scores.py

oracles: $(VENV)/installed-test ## add pysteps, which makes S-PROG and STEPS, and what some tests check scores and the layer against; needs a C compiler
	$(LOCKED) requirements/oracles.txt

docs: $(VENV)/installed-docs ## build the site into build/site; a warning is an error
	$(BIN)/sphinx-build -q -W --keep-going -b html -d build/doctrees docs build/site

wheel: $(VENV)/installed-dev ## build the wheel into dist/
	$(BIN)/python -m build --wheel

clean: ## remove the virtual environment and the caches, never data or runs
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache dist build

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "nowcast needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt requirements/install.txt | $(VENV)/bin/python
	$(LOCKED) requirements/install.txt
	$(NOWCAST)
	@touch $@

$(VENV)/installed-test: pyproject.toml constraints.txt requirements/test.txt | $(VENV)/bin/python
	$(LOCKED) requirements/test.txt
	$(NOWCAST)
	@touch $@ $(VENV)/installed

$(VENV)/installed-dev: pyproject.toml constraints.txt requirements/dev.txt | $(VENV)/bin/python
	$(LOCKED) requirements/dev.txt
	$(NOWCAST)
	@touch $@ $(VENV)/installed $(VENV)/installed-test

$(VENV)/installed-docs: pyproject.toml constraints.txt requirements/docs.txt | $(VENV)/bin/python
	$(LOCKED) requirements/docs.txt
	$(NOWCAST)
	@touch $@ $(VENV)/installed
