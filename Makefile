# make run    the main job: prepare, annotate, fine-tune, answer, compare; about ten minutes
# make test   the tests that take less than three minutes
# Both set up .venv on first use. Nothing is downloaded from a model hub.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

export HF_HUB_OFFLINE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test test-slow lint format clean

run: $(INSTALLED)
	$(BIN)/tarjih run configs/bundled.yaml --out runs/bundled

# A process for each core, of one thread each: models this small gain nothing from a second thread.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow" --numprocesses auto

test-slow: $(INSTALLED)
	$(BIN)/pytest -m slow

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv runs build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# torch goes first, alone: what is installed later must not choose another build of it.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "tarjih needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[offline,dev]'
	@touch $@
