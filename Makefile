# One entry for people and for CI; `make help` lists the targets.

# The first Python that is new enough. Another one: make setup PYTHON=/path/to/python
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin

# Threads that wait spin for a moment only: on a busy machine spinning on costs a factor of two.
export OMP_WAIT_POLICY := PASSIVE
export GOMP_SPINCOUNT := 10000
# Large tables in huge pages, as the command line asks for too (decision 0004).
export THP_MEM_ALLOC_ENABLE := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test check shapes bench lock wheel floors clean

help: ## say what each target does
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 14

setup: ## make .venv with everything in it, native code where there is a compiler; quick when nothing has changed
	@python="$(PYTHON)"; test -n "$$python" || { echo "set-up: expected Python 3.11 or newer, found none; on Debian 12 or newer:" \
		"sudo apt-get install python3 python3-venv; or name one: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }; \
	$$python tools/make_venv.py
	@$(BIN)/fuserec build-native --if-possible > /dev/null

demo: setup ## the whole way, raw files to recommendations, on a sample that the program makes itself
	@$(BIN)/fuserec demo --overwrite

test: check shapes ## everything that must hold before a change lands

check: setup ## style, types and the floors of the imports, without running anything
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache  # its cache keeps imports that did not resolve when they were first seen

shapes: setup ## all tests, with every array shape checked
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --hypothesis-profile=ci --jaxtyping-packages=fuserec,beartype.beartype

bench: setup ## measure speed against baselines in the same run
	@set -e; for script in $$(grep -l __main__ benchmarks/*.py); do echo "$$script"; $(BIN)/python $$script; done

floors: setup ## the core on the oldest versions that pyproject.toml admits, without development packages
	$(BIN)/python tools/check_floors.py

wheel: setup ## build dist/fuserec-*.whl
	$(BIN)/python -m pip wheel -q --no-deps --no-build-isolation -w dist .

lock: ## resolve requirements.lock anew (needs uv); newer versions: make lock UPGRADE=--upgrade
	@uv=$$(command -v $(BIN)/uv || command -v uv) || { echo "lock: uv is missing; $(BIN)/pip install uv" >&2; exit 1; }; \
	$$uv pip compile -q --universal --python-version 3.11 -c constraints.txt --all-extras --no-emit-package torch \
		--generate-hashes --no-annotate --custom-compile-command "make lock" $(UPGRADE) pyproject.toml -o requirements.lock

clean: ## remove what can be made again, but for .venv, runs and datasets
	rm -rf .venv-floors build dist demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests benchmarks tools -name __pycache__ -prune -exec rm -rf {} +
