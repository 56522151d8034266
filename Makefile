# make setup: create .venv with the package and its test dependencies.  make run: train UDAL on digits-LT.
# make test: run the test suite.  make tables: the methods of the paper's Table 1 on digits-LT, and a report.
# make docs: build docs/ as HTML in build/docs; a warning is an error.
# make lint: ruff and mypy.  make format: let ruff fix and format the code.
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.docs_ready

.PHONY: setup run test tables docs lint format clean

setup: $(READY)

$(READY): setup.py
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e ".[cpu,test]"
	touch $(READY)

run: setup
	$(VENV)/bin/python run.py $(ARGS)

test: setup
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

tables: setup
	$(VENV)/bin/python -m udal_tf.commands.sweep digits --jobs=2 $(ARGS)
	$(VENV)/bin/python -m udal_tf.commands.report runs --out=report
	@echo "Open report/report.html"

docs: $(DOCS_READY)
	$(VENV)/bin/python -m sphinx -q -W -b html docs build/docs $(ARGS)
	@echo "Open build/docs/index.html"

$(DOCS_READY): setup.py
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e ".[cpu,docs]"
	touch $(DOCS_READY)

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: setup
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

clean:
	rm -rf $(VENV) build docs/api/generated *.egg-info
