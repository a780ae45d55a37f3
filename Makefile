# From a fresh clone:  make demo   (installs, then the ten-minute comparison)
#                      make test   (installs if needed, then the tests: ten minutes and a half)
# Needs Python 3.11 or newer, make, git and a network for the first installation. `make PYTHON=python3.12 …` chooses one.

VENV    ?= .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.installed
WORKERS ?= 3

# One thread a process: small matrices lose with two when the other core is busy.
export OMP_NUM_THREADS = 1

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all test-fast bench gpu lint format docs tutorial report clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

install: $(STAMP)  ## create .venv and install the package with its pinned dependencies

# The stamp is newer than pyproject.toml and constraints.txt exactly when what they ask for is installed.
$(STAMP): pyproject.toml constraints.txt
	@bash scripts/make_venv.sh "$(VENV)" "$(PYTHON)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(STAMP)  ## WAKER-M and DR side by side on GridHazards: table and HTML report (10 minutes, two cores)
	$(BIN)/waker quickstart

test: $(STAMP)  ## the tests, a small one of every behaviour (ten minutes and a half on two cores)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q -m "not long" $(PYTEST_ARGS)

test-all: $(STAMP)  ## every test, also the long ones that repeat it in whole processes (up to 20 minutes; before a release)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q $(PYTEST_ARGS)

test-fast: $(STAMP)  ## the tests that take no second or so each, for while one works (< 90 s)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q -m "not slow and not long" $(PYTEST_ARGS)

bench: $(STAMP)  ## time updates and compare with this kind of machine's stored figures (3 minutes; SAVE=1 stores them)
	$(BIN)/python -m experiments.bench --config quick --against results/learner_speed/baseline.json $(if $(SAVE),--save)

# With PYTHON=… that interpreter is taken as it is, for machines where nothing can be installed.
gpu: $(if $(PYTHON),,$(STAMP))  ## everything that only a GPU can tell, in 8 minutes (GPU_ARGS="--device cpu --quick" tries it out)
	@bash scripts/gpu.sh $(or $(PYTHON),$(BIN)/python) $(GPU_ARGS)

lint: $(STAMP)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

report: $(STAMP)  ## HTML report of every run under runs/ (RUNS=… chooses some)
	$(BIN)/waker report $(or $(RUNS),runs)

docs: $(STAMP)  ## documentation site in build/docs; a broken link or anchor fails (a minute)
	PYTHONPATH=.:envs NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

tutorial: $(STAMP)  ## run docs/tutorial.ipynb and store what its cells print (3 minutes)
	PYTHONPATH=.:envs $(BIN)/python scripts/run_notebook.py docs/tutorial.ipynb

clean:  ## remove the virtual environment and caches; runs/ and results/ stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
