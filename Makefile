# Two commands do all on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OLDEST := .venv-oldest

.PHONY: demo test test-all test-oldest lint schemas bench clean

demo: $(READY)  ## train a captioner against a reward in two ways, compare them, and write runs/demo/report.html
	$(BIN)/capreward demo

test: $(READY)  ## the test suite, without what is slow
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n auto

test-all: $(READY)  ## everything
	$(BIN)/python -m pytest

test-oldest: $(OLDEST)/.ready  ## `make test` with the oldest version of each dependency that pyproject.toml admits
	OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest -m "not slow" -n auto

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

schemas: $(READY)  ## write schemas/run.json and schemas/tune.json, by which editors complete configurations, anew
	$(BIN)/python -m trainers.commands.schemas

bench: $(READY)  ## figures against pycocoevalcap (needs Java), the bare encoder, torchmetrics and transformers; optimizers against rewards
	$(BIN)/python benchmarks/text_metrics.py
	$(BIN)/python benchmarks/clip_score.py
	$(BIN)/python benchmarks/decoding.py
	$(BIN)/python benchmarks/train_step.py
	$(BIN)/python benchmarks/paradigms.py

$(READY): pyproject.toml capreward/_version.py
	$(PYTHON) -c 'import sys; sys.exit("capreward needs Python 3.11 or newer; run make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(READY)

$(OLDEST)/.ready: pyproject.toml capreward/_version.py tests/constraints-oldest.txt
	$(PYTHON) -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --upgrade pip
	$(OLDEST)/bin/python -m pip install --quiet --editable '.[dev,java]' --constraint tests/constraints-oldest.txt
	touch $(OLDEST)/.ready

clean:
	rm -rf $(VENV) $(OLDEST) .pytest_cache .mypy_cache .ruff_cache
