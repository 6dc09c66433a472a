# Everything a person or CI does here, by name. 'make help' lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS := --short
WAITING := tests/e2e/test_flower_runs.py
QUICK := $(addprefix tests/,domain wire trainers scores samplers budgets aggregators selectors comparison client contracts)
export OMP_NUM_THREADS ?= 1
# where it is set, as in many container images, every process of the suite compiles the package anew
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo quick test soak check format bench docs clean

help:  ## Show these targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "fedstrata needs Python 3.11 or newer; set PYTHON=..."; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

setup: $(STAMP)  ## Make the virtual environment and install everything.

demo: $(STAMP)  ## Compare seven ways to choose layers, on embedded data, in under two minutes.
	$(BIN)/fedstrata demo

quick: $(STAMP)  ## Run what needs no model, run or process of its own: about a minute of one core, while you write.
	@$(BIN)/python -m pytest -q --hypothesis-profile=quick --ignore=tests/contracts/test_engine_contract.py $(QUICK)

test: $(STAMP)  ## Run the whole test suite; what mostly waits for Flower runs beside the rest, and goes first.
	@$(BIN)/python -m pytest $(WAITING) >.waiting-tests.log 2>&1 & over=$$!; trap 'kill $$over; exit 130' INT; \
	nice -n 10 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --ignore=$(WAITING); here=$$?; \
	wait $$over; over=$$?; cat .waiting-tests.log; rm .waiting-tests.log; test $$here -eq 0 -a $$over -eq 0

soak: $(STAMP)  ## Kill, fill, damage, fuzz and outlast runs, for about an hour; see tests/soak/README.md.
	$(BIN)/python -m pytest tests/soak -s
	$(BIN)/python -m pytest tests -m hypothesis --hypothesis-profile=soak
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,fuzz]'
	$(BIN)/python fuzz/fuzz_decoder.py -runs=10000000
	for target in yaml events run_folder site_messages; do $(BIN)/python fuzz/fuzz_$$target.py -runs=1000000 || exit 1; done

check: $(STAMP)  ## Lint, format, types, import rules, documentation.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/sphinx-build --fail-on-warning --quiet docs docs/_build

format: $(STAMP)  ## Rewrite the code in the house format.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## Compare with a bare loop, in a short form; ARGS= is the long one, with every table of benchmarks/.
	$(BIN)/python benchmarks/run.py $(ARGS)

docs: $(STAMP)  ## Build the documentation into docs/_build.
	$(BIN)/sphinx-build --fail-on-warning --quiet docs docs/_build
	@echo "docs: docs/_build/index.html"

clean:  ## Remove what can be made again.
	rm -rf $(VENV) build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
