# `make up` and `make test` need Python 3.11 or newer, and nothing else.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$python && break; done)
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# What runs is compiled once, also where containers are told to leave no compiled file behind.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: up test test-long test-all contract localstack deploy-test lint bench drill clean

up: $(VENV)/.installed
	@exec $(BIN)/cloudia up

# Most of a test's time is waiting for a real part, so four share two cores well; a file's tests stay together.
PYTEST = $(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder
test: $(VENV)/.installed-test
	@exec $(PYTEST) $(ARGS)

# What takes longest: a real LocalStack, environments made from nothing, mypy.
test-long: $(VENV)/.installed-test
	@exec $(PYTEST) -m long $(ARGS)

# On each CPython that this machine has. An environment each; `make test` keeps its own.
test-all:
	@for version in 3.11 3.12 3.13; do \
	  for python in python$$version $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$$version.*/bin/python none; do \
	    "$$python" --version >/dev/null 2>&1 && break; \
	  done; \
	  if [ $$python = none ]; then echo "no CPython $$version on this machine"; continue; fi; \
	  echo "CPython $$version"; \
	  $(MAKE) --no-print-directory test PYTHON="$$python" VENV=".venv-$$version" || exit 1; \
	done

# Against MiniStack and LocalStack, or against any engine: make contract ENDPOINT=http://127.0.0.1:4566
contract: $(VENV)/.installed-test
	@CONTRACT_ENDPOINT="$(ENDPOINT)" $(BIN)/python -m pytest -m "long or not long" tests/contract $(ARGS)

# A real LocalStack for the tests, without Docker, in the user's cache folder.
localstack: $(VENV)/.installed-test
	@$(BIN)/python -m tests.contract.localstack

# The Terraform module: by itself, and on MiniStack. Where Terraform or its provider is missing it says so.
deploy-test: $(VENV)/.installed-test .venv-checkov/.installed
	@CLOUDIA_DEPLOY_TEST=1 $(BIN)/python -m pytest -m "long or not long" tests/deploy/test_stack_json.py tests/deploy/test_terraform.py $(ARGS)

# It pins another boto3 than MiniStack does, so it has an environment of its own.
.venv-checkov/.installed:
	@"$(PYTHON)" -m venv .venv-checkov
	@.venv-checkov/bin/python -m pip install --quiet --disable-pip-version-check checkov==3.3.30
	@touch $@

lint: $(VENV)/.installed-test
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

# Takes a quarter of an hour.
drill: $(VENV)/.installed-test
	@$(BIN)/cloudia drill --jobs 2000 --conversations 100 --worker-kills 2
	@$(BIN)/python -m tests.worker.kill_points --times 50

bench: $(VENV)/.installed-test
	@for file in benchmarks/bench_*.py; do $(BIN)/python $$file || exit 1; done

clean:
	rm -rf .venv .venv-3.* .venv-checkov build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/bin/python:
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; say which: make PYTHON=..."; exit 1; }
	@"$(PYTHON)" -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing cloudia into $(VENV)"
	@$(PIP) --editable '.[local]'
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed requirements-test.txt
	@echo "installing the test tools into $(VENV)"
	@$(PIP) --requirement requirements-test.txt
	@touch $@
