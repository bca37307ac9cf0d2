# Two commands do all the set-up on a fresh clone: `make demo` and `make test`.
PYTHON ?= $(firstword $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo $$python; done))
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test lint slow docs clean

demo: $(INSTALLED)
	$(BIN)/kinestore demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --durations=10 -m "not slow"

slow: $(INSTALLED)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --durations=40 -m slow

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(INSTALLED)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[docs]"
	$(BIN)/mkdocs build --strict

clean:
	rm -rf .venv build dist site *.egg-info kinestore-demo

$(INSTALLED): pyproject.toml constraints.txt
	$(if $(PYTHON),,$(error Kinestore needs Python 3.11, 3.12 or 3.13; name one with make PYTHON=...))
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade "pip>=24"
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	touch $(INSTALLED)
