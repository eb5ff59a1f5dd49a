# `make up` and `make test` need Python 3.11 or newer, and nothing else.
PYTHON ?= $(shell command -v python3.13 || command -v python3.12 || command -v python3.11 || command -v python3)
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: up test test-all lint bench drill clean

up: $(VENV)/.installed
	@exec $(BIN)/cloudia up

# Most of a test's time is waiting for a real part, so three share two cores well; a file's tests stay together.
test: $(VENV)/.installed-test
	@exec $(BIN)/python -m pytest --numprocesses 3 --dist loadfile $(ARGS)

# On each CPython that this machine has. An environment each; `make test` keeps its own.
test-all:
	@for version in 3.11 3.12 3.13; do \
	  python=$$(command -v python$$version) && "$$python" --version >/dev/null 2>&1 || { echo "no python$$version here"; continue; }; \
	  $(MAKE) --no-print-directory test PYTHON="$$python" VENV=".venv-$$version" || exit 1; \
	done

lint: $(VENV)/.installed-test
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

drill: $(VENV)/.installed-test
	@$(BIN)/cloudia drill --jobs 2000 --conversations 100 --worker-kills 2 $(ARGS)

bench: $(VENV)/.installed-test
	@for file in benchmarks/bench_*.py; do $(BIN)/python $$file || exit 1; done

clean:
	rm -rf .venv .venv-3.* build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/bin/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; say which: make PYTHON=..."; exit 1; }
	@"$(PYTHON)" -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing cloudia into $(VENV)"
	@$(PIP) --editable '.[local]'
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed requirements-test.txt
	@echo "installing the test tools into $(VENV)"
	@$(PIP) --requirement requirements-test.txt
	@touch $@
