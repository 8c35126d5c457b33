# demo: the whole story in minutes · test: everything · check: what to run before a commit (under a minute)
# docs: docs/api.md, and pages of every module in site/
.PHONY: demo test check fast lint types docs reproduce clean
.DEFAULT_GOAL := check

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

demo: $(VENV)/.installed
	@$(BIN)/unmask demo

test: $(VENV)/.installed
	@$(BIN)/python -m pytest -n 2

check: $(VENV)/.installed
	@$(MAKE) --no-print-directory -j 3 lint types fast

# rooms whose tests import whole libraries of other people, load networks of every family or spoil files by the hundred: longer
# than `check` may
LEFT_TO_TEST := $(addprefix --ignore=tests/,serve recipes fuzz evaluate/test_harness.py \
	evaluate/test_every_template.py denoisers/families denoisers/test_from_transformers.py denoisers/test_templates.py \
	cli/test_checkpoints.py $(addprefix train/test_,big_denoisers.py lora.py features.py several_processes.py))

fast: $(VENV)/.installed
	@$(BIN)/python -m pytest -m "not slow and not gpu" -n 2 $(LEFT_TO_TEST)

lint: $(VENV)/.installed
	@$(BIN)/ruff check --quiet

types: $(VENV)/.installed
	@$(BIN)/mypy

# the paper's experiment; needs a GPU and a hub: see recipes/README.md
reproduce: $(VENV)/.installed
	@$(BIN)/python recipes/fox2026.py --out runs/fox2026 --device cuda

docs: $(VENV)/.installed
	@$(BIN)/python scripts/api.py
	@$(BIN)/python scripts/api.py --site && echo site/index.html

clean:
	@rm -rf build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find src tests -name __pycache__ -prune -exec rm -rf {} +

# torch first and by itself: it is nearly all of the download, and a failure there is plain to see
$(VENV)/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: unmask needs Python 3.11 or newer; install it or pass PYTHON=..." >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) torch==2.13.0
	@$(PIP) -e '.[dev]'
	@touch $@
