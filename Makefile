# The commands of the project; CI and everyone else call these.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DATA   ?=
PARTS  ?=
MILLION ?=
TRIALS ?=
PREFIX ?=
DESTDIR ?=
PACKAGES ?=
CHECK_PYTHON = $(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else f"classifyd needs Python 3.11 to 3.13; $(PYTHON) is {v[0]}.{v[1]}. Name another: make PYTHON=python3.12")'
# A list of hashes is the whole truth about what gets installed: no package is resolved anew.
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps

.PHONY: demo test lint format bench trial lock clean install uninstall

demo: $(VENV)/.runtime
	$(BIN)/python tools/demo.py

# Hundreds of processes are started: with the variable set, each would compile the sources anew.
test: $(VENV)/.dev
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# An hour or so: PARTS="small idle" measures some of it, DATA=FOLDER with real JPEGs, MILLION=1 with a million files.
# What is found goes into docs/BENCHMARKS.md.
bench: $(VENV)/.runtime
	$(BIN)/python -m bench $(PARTS) $(if $(DATA),--data "$(DATA)") $(if $(MILLION),--million)

# Hours: TRIALS="killed bombs" runs some of them, DATA=FOLDER has CIFAR-10 as images. What they report goes into docs/TRIALS.md.
trial: $(VENV)/.trial
	DATA=$(DATA) $(BIN)/python -m trials $(TRIALS)

# To PREFIX, /opt/classifyd if not told otherwise, as a service: docs/OPERATING.md. PACKAGES=VENV uses the
# packages of an environment that is there already, such as .venv, instead of installing them once more.
install:
	@$(CHECK_PYTHON)
	$(PYTHON) tools/install.py install $(INSTALL) $(if $(PACKAGES),--venv "$(PACKAGES)")
uninstall:
	$(PYTHON) tools/install.py uninstall $(INSTALL)
INSTALL = $(if $(PREFIX),--prefix "$(PREFIX)") $(if $(DESTDIR),--destdir "$(DESTDIR)")

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Needs uv; run it after a change to the dependencies in pyproject.toml.
lock:
	uv pip compile pyproject.toml $(LOCKFLAGS) -o requirements.lock
	uv pip compile pyproject.toml --group dev $(LOCKFLAGS) -c requirements.lock -o requirements-dev.lock
	uv pip compile pyproject.toml --extra ray --group trial $(LOCKFLAGS) -c requirements.lock -c requirements-dev.lock -o requirements-trial.lock
	uv pip compile pyproject.toml --extra ray $(LOCKFLAGS) -c requirements-trial.lock -o requirements-ray.lock
LOCKFLAGS := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

$(BIN)/python:
	@$(CHECK_PYTHON)
	@echo "Making $(VENV) ..."
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing the pinned dependencies (about 500 MB; once) ..."
	$(PIP) -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(PIP) -r requirements-dev.lock
	touch $@

# What results.csv is read with, and Ray; `make test` does without.
$(VENV)/.trial: requirements-trial.lock $(VENV)/.dev
	$(PIP) -r requirements-trial.lock
	touch $@
