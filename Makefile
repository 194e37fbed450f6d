# Two commands do all on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-all lint bench clean

demo: $(READY)  ## train a captioner against a reward in two ways, compare them, and write runs/demo/report.html
	$(BIN)/capreward demo

test: $(READY)  ## the test suite, without what is slow
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n auto

test-all: $(READY)  ## everything
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

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

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
