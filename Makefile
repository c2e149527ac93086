# `make` alone lists what there is. Everything runs in $(VENV), made and filled from requirements.lock when needed.

PYTHON ?= python3
VENV ?= .venv
PROFILE ?= lab
PYTEST_ARGS ?=
BENCH_ARGS ?=
GPU_PYTHON ?= python3
LAB_ARGS ?=
NOTEBOOKS ?=
# Chosen, not resolved: a release with builds for CPU only and for GPUs. All other pins follow from pyproject.toml.
TORCH ?= 2.13.0

IMPORTED := supertickets.cli, supertickets.notebooks, supertickets.chapters.single_task.figures, \
  transformers.models.bert.modeling_bert, \
  sklearn.metrics, ipykernel.kernelapp, jupyter_book.cli.main, pytest

BIN := $(VENV)/bin
READY := $(VENV)/.ready
# -n: unresolved references are warnings; -W: warnings are errors; --keep-going: all of them are listed.
BUILD := $(BIN)/jupyter-book build -n -W --keep-going

# One thread per process: small models are several times slower with two, and runs go side by side in processes.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
# No hints about newer versions of pip, no remarks about frozen modules.
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PYDEVD_DISABLE_FILE_VALIDATION = 1

.DEFAULT_GOAL := help
.PHONY: help install book pdf lab test slow bench gpu lint format sync smoke lock clean distclean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

install: $(READY) ## make .venv and install what requirements.lock pins

# Bytecode is compiled on first use: much of what is installed is never imported. What every process imports is used
# once here, since where PYTHONDONTWRITEBYTECODE is set each would compile it anew, for five seconds.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "supertickets needs Python 3.11 or newer; name one with make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -c "import $(IMPORTED)"
	@touch $@

book: $(READY) ## execute the notebooks (PROFILE=lab) and build book/_build/html/index.html
	$(BIN)/python -m supertickets.notebooks $(NOTEBOOKS) --out book/chapters --profile $(PROFILE)
	@# A page that warned once would not warn again in the next build: after a failure the next one starts afresh.
	$(BUILD) book || { rm -rf book/_build; exit 1; }

pdf: book ## the book as one PDF, book/_build/supertickets.pdf (needs Chromium)
	$(BIN)/python tools/pdf.py

lab: $(VENV)/.lab ## open the notebooks in JupyterLab, where saving writes their .py sources too
	$(BIN)/jupyter-lab --LabApp.default_url=/lab/tree/notebooks $(LAB_ARGS)

$(VENV)/.lab: $(READY)
	$(BIN)/python -m pip install --quiet --no-compile --constraint requirements.lock 'jupyterlab>=4.2' 'ipywidgets>=8'
	@touch $@

test: $(READY) ## run the tests (PYTEST_ARGS="-k tickets" for some of them)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

slow: $(READY) ## run the tests marked slow
	$(BIN)/python -m pytest -m "slow and not gpu" $(PYTEST_ARGS)

bench: $(READY) ## time our sweeps beside the Trainer's (BENCH_ARGS="--data-dir DIR"), write book/results/benchmarks.json
	$(BIN)/python tools/bench.py $(BENCH_ARGS)

# On the machine's own torch, since requirements.lock pins builds for a CPU; this checkout need not be installed there.
gpu: ## on a GPU: its tests, then what it does, into book/results/gpu.json (8 minutes; GPU_PYTHON, BENCH_ARGS)
	@PYTHONPATH="$(CURDIR):$$PYTHONPATH" $(GPU_PYTHON) tools/bench.py --suites gpu --minutes 7.5 --out book/results/gpu.json $(BENCH_ARGS)

lint: $(READY) ## check style, formatting and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

format: $(READY) ## put the code in the house style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

sync: $(READY) ## write notebooks/*.ipynb from their .py sources, without outputs
	$(BIN)/python tools/sync.py

smoke: $(READY) ## execute every notebook at profile smoke, into .smoke/
	$(BIN)/python -m supertickets.notebooks --out .smoke --profile smoke

lock: ## resolve pyproject.toml afresh; write requirements.lock and environment.yml
	rm -rf .venv-lock
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet torch==$(TORCH) --editable '.[minilm,cluster,book,dev]'
	.venv-lock/bin/python tools/lock.py
	rm -rf .venv-lock

clean: ## remove what was built, keep runs and .venv
	rm -rf book/_build book/chapters .smoke .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean ## remove .venv too
	rm -rf $(VENV) *.egg-info
