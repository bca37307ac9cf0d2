# Two commands do all the set-up on a fresh clone: `make demo` and `make test`.
PYTHON ?= $(firstword $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo $$python; done))
BIN := .venv/bin
INSTALLED := .venv/installed
# A test for each core, from two to four, on one thread: a second thread of each would only wait.
TESTS_AT_ONCE := $(shell cores=$$(nproc 2>/dev/null || echo 2); \
	echo $$((cores < 2 ? 2 : cores > 4 ? 4 : cores)))
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(TESTS_AT_ONCE) --dist loadfile
OTHER_PYTHONS_TESTS := tests/test_dataclasses.py tests/test_house.py tests/store tests/federated tests/heads

.PHONY: demo test other-pythons fuzz kills lint slow docs clean

demo: $(INSTALLED)
	$(BIN)/kinestore demo

test: $(INSTALLED)
	$(PYTEST) --durations=10 -m "not slow"

slow: $(INSTALLED)
	$(PYTEST) --durations=40 -m slow

fuzz: $(INSTALLED)
	KINESTORE_FUZZ_EXAMPLES=10000 $(PYTEST) -m slow $(wildcard tests/*/test_*fuzz.py tests/*/*/test_*fuzz.py)

kills: $(INSTALLED)
	KINESTORE_KILLS=10 $(PYTEST) -m slow $(wildcard tests/pipeline/*/test_kills.py)

# The fast tests of the packages below the pipeline, with every other Python that is found on PATH or
# in pyenv's folder: what differs between versions is the language and the packages, not the jobs.
other-pythons: $(INSTALLED)
	@for version in 3.11 3.12 3.13; do \
		for python in python$$version $$HOME/.pyenv/versions/$$version.*/bin/python; do \
			$$python -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "'$$version'")' \
				2> /dev/null || continue; \
			$(BIN)/python -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "'$$version'")' \
				&& break; \
			echo "tests with Python $$version"; \
			test -e .venv-$$version/installed || { $$python -m venv .venv-$$version \
				&& .venv-$$version/bin/python -m pip install -q -c constraints.txt -e ".[dev]" \
				&& touch .venv-$$version/installed; } || exit 1; \
			.venv-$$version/bin/python -m pytest -q -n 2 --dist loadfile -m "not slow" \
				$(OTHER_PYTHONS_TESTS) || exit 1; \
			break; \
		done; \
	done

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(INSTALLED)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[docs]"
	$(BIN)/mkdocs build --strict

clean:
	rm -rf .venv .venv-* build dist site *.egg-info kinestore-demo

$(INSTALLED): pyproject.toml constraints.txt
	$(if $(PYTHON),,$(error Kinestore needs Python 3.11, 3.12 or 3.13; name one with make PYTHON=...))
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade "pip>=24"
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	touch $(INSTALLED)
