# `make demo` trains the Braille network on two engines; `make test` runs every check; `make docs` builds the
# documentation into site/. All set up .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXAMPLE := $(wildcard plugins/example_engine/pyproject.toml)
STAMP := $(VENV)/.installed

.PHONY: demo test lint docs

demo: $(STAMP)
	$(BIN)/python examples/demo.py

# worksteal: each process begins with its own half, so that what tests of a folder share is made once
test: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# one call for all of it, so that pip resolves the constraints once; Python compiles what it imports, not all there is
$(STAMP): pyproject.toml constraints.txt $(EXAMPLE)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e '.[all,data,test]' $(if $(EXAMPLE),-e plugins/example_engine)
	touch $@
