# The whole project from a clean clone: `make quickstart`, then `make test`. `make` alone lists what
# there is, from the comments after ## below.
#
# PYTHON=python3.12          another interpreter for .venv (3.11 or later)
# DETECTRON2=official        detectron2 from its own Git repository instead of PyPI's copy of it;
#                            any pip requirement works too (DETECTRON2=/path/to/detectron2)
# TORCH="torch==... torchvision==..."  a build of torch of your own, by pip's arguments
# PIP_ARGS="--index-url ..." further arguments for pip
# LOCK_ARGS=--upgrade        newer versions in `make lock`; --upgrade-package NAME for one alone
# TEST_JOBS=8                processes that run the tests, one thread each (3: some wait for others)

PYTHON ?= python3
TORCH ?=
DETECTRON2 ?=
LOCK_ARGS ?=
PIP_ARGS ?=
TEST_JOBS ?= 3
VENV := .venv
RUN := $(VENV)/bin/python
# detectron2 and timm use torch.jit.script, which newer torch warns of at every start.
export PYTHONWARNINGS := ignore::FutureWarning:torch.jit._script

.DEFAULT_GOAL := help
.PHONY: help setup quickstart demo test lint format docs build lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "Variables, such as make setup PYTHON=python3.12, stand at the top of the Makefile."

setup:  ## .venv with everything in it; a second call takes seconds, a broken one is repaired
	@$(PYTHON) tools/setup_environment.py --venv $(VENV) --torch="$(TORCH)" --detectron2 "$(DETECTRON2)" --pip-args="$(PIP_ARGS)"

quickstart: setup  ## a small dataset, training, evaluation and pictures in output/quickstart
	$(VENV)/bin/cffm quickstart --output output/quickstart

demo: setup  ## DATA=/folder/with/camvid: a small model on real video; half an hour
	@test -n "$(DATA)" || { echo "make demo DATA=/folder/with/camvid: see datasets/README.md for where to get it"; exit 2; }
	$(VENV)/bin/cffm make-demo --data "$(DATA)"

test: setup  ## the tests
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder --durations=25

lint: setup  ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: setup  ## mend what ruff can mend
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: setup  ## the documentation site in output/site; a broken link is an error
	$(RUN) tools/build_docs.py --output output/site

build: setup  ## an sdist and a wheel in dist/
	rm -rf build dist
	$(RUN) -m build --no-isolation

lock:  ## requirements/*.txt anew, from requirements/*.in
	@$(PYTHON) tools/lock_requirements.py --pip-args="$(PIP_ARGS)" $(LOCK_ARGS)

clean:  ## remove .venv, caches, build/, dist/ and output/
	rm -rf $(VENV) output build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
