# Two commands: `make demo` shows the product, `make test` proves it. Both set up everything they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo lab test test-all check bench clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "BastionLab needs Python 3.11 or newer; $$($(PYTHON) --version) was found. Set PYTHON=/path/to/python3.11."; exit 1; }
	@echo "· making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(STAMP): $(VENV)/bin/python setup.cfg pyproject.toml
	@echo "· installing BastionLab and what it needs (the first time takes about a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[server,demo]'
	@touch $@

$(STAMP)-test: $(STAMP)
	@echo "· installing the test tools"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[server,demo,test]'
	@touch $@

check: $(STAMP)-test  ## ruff, mypy --strict, import rules
	$(BIN)/ruff check .
	$(BIN)/mypy -p bastion_plan -p bastion_policy -p bastion_wire -p bastion_server
	$(BIN)/lint-imports

test: check  ## everything a change must pass, under 12 minutes
	$(BIN)/python -m pytest -m "not slow"
