# make setup | train | test | lint | docs | wheel-test | test-latest. The virtual environment is .venv in the checkout.
#
# PYTHON       the interpreter to build the environment with (3.11 or 3.12)
# TORCH_INDEX  where pip finds torch; set it to PyTorch's CPU index where the default index serves the CUDA build
# RUN          the name of the run folder of `make train` below runs/

PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH_INDEX ?=
RUN ?= train-$(shell date +%Y%m%d-%H%M%S)

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.docs-ready

.PHONY: setup train test lint docs wheel-test test-latest

setup: $(READY)

$(READY): pyproject.toml requirements/cpu.txt requirements/vllm_alias/pyproject.toml
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 13), f"Python 3.11 or 3.12 is needed, this is {sys.version.split()[0]}: make PYTHON=python3.11"'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install torch==2.13.0 $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(PIP) install --no-deps -r requirements/cpu.txt
	$(PIP) install --no-deps --no-build-isolation ./requirements/vllm_alias
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

# A whole training run on a CPU with a SIMULATED executor: no key, no download, under 6 minutes on 2 cores. The
# screen has a line a step; runs/$(RUN)/train.log has all that verl, Ray and vLLM print.
train: setup
	$(BIN)/python -m verl.trainer.main_ppo --config-name aflow_gigpo_cpu trainer.experiment_name=$(RUN) hydra.run.dir=runs/$(RUN)/hydra

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The documentation site in build/site. Any warning ends it.
docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "build/site/index.html"

$(DOCS_READY): $(READY) requirements/docs.txt
	$(PIP) install --no-deps -r requirements/docs.txt
	touch $@

# The wheel in an environment of its own, away from the checkout.
wheel-test: setup
	$(BIN)/python -m tests.wheel

# The newest verl, vLLM, Ray, transformers and anthropic, one at a time, in an environment of its own. A nightly job that may fail;
# docs/hardware.md has a result.
test-latest:
	$(MAKE) setup VENV=build/latest
	build/latest/bin/python -m tests.latest; status=$$?; rm -rf build/latest; exit $$status
