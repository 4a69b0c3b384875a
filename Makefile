# One command each; CI runs the same ones.
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= python3
RESULTS ?= results/runs/quickstart

.PHONY: help dev check test test-all test-lowest bench chaos gpu gpu-wheels simulate demo lock clean

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# Bytecode once: every worker of a test imports torch, and where PYTHONDONTWRITEBYTECODE is set each would compile it again.
$(VENV)/.installed: requirements.lock pyproject.toml
	@echo "installing the packages of requirements.lock into $(VENV): 4 GB to download the first time"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip uninstall --quiet --python $(BIN)/python opencv-python-headless faiss-gpu  # older locks; the same files as contrib and faiss-cpu
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	@touch $@

# editable_mode=strict keeps mypy and pyright able to see quadrat.*; it is a tree of links, so new files need `make dev`
dev: $(VENV)/.installed ## set up the environment in .venv, from the lock file (again after adding a file)
	@rm -rf build/__editable__.*
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --config-settings editable_mode=strict -e .

check: dev ## format, lint, types, import direction
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache  # its cache keeps what a file that was added later looked like without it

test: dev ## the tests that a contributor needs: a few minutes on two cores
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not gpu and not slow and not cluster"

test-all: dev ## all tests but those that need a GPU: also the slow ones and those that start Ray
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not gpu" --durations 40

LOWEST := .venv-lowest
test-lowest: ## the tests of `make test` with the lowest versions that pyproject.toml allows, in .venv-lowest
	rm -rf build/lib build/bdist.*  # setuptools would pack what lies there
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LOWEST)
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --python $(LOWEST)/bin/python --extra all --extra server \
		pyproject.toml -o $(LOWEST)/lowest.txt
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(LOWEST)/bin/python -r $(LOWEST)/lowest.txt --group dev .
	$(LOWEST)/bin/python -m pytest -n 2 --dist worksteal -m "not gpu and not slow and not cluster" $(TESTS)

bench: dev ## measure speed, as ratios to a naive baseline: make bench ARGS="fit quickstart"
	PYTHONPATH=tests $(BIN)/python -m performance $(ARGS)

chaos: dev ## fault injection: hit small suites KILLS times in many ways, run again, compare with a run that nobody disturbed
	PYTHONPATH=tests $(BIN)/python -m support.chaos --kills $(or $(KILLS),100) $(ARGS)

gpu-wheels: dev ## what `make gpu WHEELS=.whl` needs on a machine without network (ARGS=--ray: for `quadrat run` too)
	PYTHONPATH=tests $(BIN)/python -m performance.gpu.wheels --out $(or $(WHEELS),.whl) $(ARGS)

# With WHEELS, a bare machine: python3 with torch for CUDA, no network; see tests/performance/README.md.
ifdef WHEELS
gpu: ## on a machine with a GPU: its tests and the measurements, one JSON each in OUT, and a table of aims
	$(PYTHON) tests/performance/gpu/install.py $(WHEELS) build/site
	PYTHONPATH=build/site:tests $(PYTHON) -m performance.gpu --out $(or $(OUT),results/runs/gpu) $(ARGS)
else
gpu: dev
	PYTHONPATH=tests $(BIN)/python -m performance.gpu --out $(or $(OUT),results/runs/gpu) $(ARGS)
endif

simulate: dev ## simulate the statistics: false claims, coverage and power, as tables in OUT (minutes on one core)
	PYTHONPATH=tests $(BIN)/python -m performance.simulation --out $(or $(OUT),results/statistics)

demo: dev ## run the quickstart suite and write its report
	$(BIN)/quadrat run quickstart --results $(RESULTS)

lock: ## resolve all dependencies again into requirements.lock (hashes, no index URLs)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
		--extra all --extra server --group dev pyproject.toml -o requirements.lock

clean: ## remove what can be made again (never results)
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
