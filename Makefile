# The whole project from a clean clone: `make quickstart`, then `make test`.
#
#   make setup        .venv with everything in it; a second call takes seconds, a broken one is repaired
#   make quickstart   a small dataset, training, evaluation and pictures in output/quickstart
#   make demo DATA=/folder/with/camvid  a small model on real video, in output/demo; half an hour on a CPU
#   make test         the tests                 make lint     ruff and mypy
#   make lock         requirements/*.txt anew, from requirements/*.in
#   make clean        remove .venv, caches and output/
#
# PYTHON=python3.12          another interpreter for .venv (3.11 or later)
# DETECTRON2=official        detectron2 from its own Git repository instead of PyPI's copy of it;
#                            any pip requirement works too (DETECTRON2=/path/to/detectron2)
# TORCH="torch==... torchvision==..."  a build of torch of your own, by pip's arguments
# PIP_ARGS="--index-url ..." further arguments for pip
# LOCK_ARGS=--upgrade        newer versions in `make lock`; --upgrade-package NAME for one alone
# TEST_JOBS=8                processes that run the tests, one thread each

PYTHON ?= python3
TORCH ?=
DETECTRON2 ?=
LOCK_ARGS ?=
PIP_ARGS ?=
TEST_JOBS ?= 2
VENV := .venv
RUN := $(VENV)/bin/python
# detectron2 and timm use torch.jit.script, which newer torch warns of at every start.
export PYTHONWARNINGS := ignore::FutureWarning:torch.jit._script

.PHONY: setup quickstart demo test lint format lock clean

setup:
	@$(PYTHON) tools/setup_environment.py --venv $(VENV) --torch="$(TORCH)" --detectron2 "$(DETECTRON2)" --pip-args="$(PIP_ARGS)"

quickstart: setup
	$(RUN) tools/quickstart.py --output output/quickstart

demo: setup
	@test -n "$(DATA)" || { echo "make demo DATA=/folder/with/camvid: see datasets/README.md for where to get it"; exit 2; }
	$(RUN) tools/make_demo.py --data "$(DATA)"

test: setup
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: setup
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

lock:
	@$(PYTHON) tools/lock_requirements.py --pip-args="$(PIP_ARGS)" $(LOCK_ARGS)

clean:
	rm -rf $(VENV) output build *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
