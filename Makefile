# make demo: a first result. make test: the default tests. Both make the environment, .venv, when it is absent.
# make docs: the documentation as a site with search, site/index.html.
# make house: draws the rooms of the code, docs/house.svg, anew. make notebooks: runs them and keeps their output.
PYTHON ?= python3
PY := .venv/bin/python
# the default tests side by side; one thread each
SIDE_BY_SIDE := --numprocesses=logical --maxprocesses=4
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: setup demo test lint check docs house notebooks clean

setup: .venv/installed

.venv/installed: setup.cfg constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name another: make PYTHON=python3.12 ...")'
	@echo "making .venv and installing what setup.cfg names, in the versions of constraints.txt (some minutes)"
	@$(PYTHON) -m venv .venv
	@$(PIP) --editable '.[test,encoders]'
	@touch $@

.venv/checked: .venv/installed
	@$(PIP) --editable '.[test,encoders,lint,tensorboard,plugins,docs]'
	@touch $@

.venv/documented: .venv/installed
	@$(PIP) --editable '.[docs]'
	@touch $@

# a generated download in TMALL's raw format, features by the real encoders, training
demo: setup
	@$(PY) preprocessing/sample.py tmall --out data/raw/tmall_sample
	@$(PY) preprocessing/tmall.py --raw data/raw/tmall_sample --out data/tmall_sample --force
	@$(PY) src/first_result.py

test: setup
	@$(PY) -m pytest $(SIDE_BY_SIDE)

lint: .venv/checked
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

check: lint
	@$(PY) -m pytest -m 'slow or not slow'

docs: .venv/documented
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --quiet
	@echo "the pages are in site/: open site/index.html"

house: setup
	@$(PY) docs/draw_house.py

notebooks: setup
	@$(PY) docs/run_notebooks.py

clean:
	rm -rf .venv build site *.egg-info .pytest_cache .ruff_cache .hypothesis
	find src tests preprocessing benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
