# Each target brings its own environment: the first call makes $(VENV) and installs into it with plain pip,
# later calls go straight to work. Another Python: make demo PYTHON=python3.12

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
CHECKED := $(wildcard toolkit training comfy_nodes demo_world/build app.py)

.DEFAULT_GOAL := help
.PHONY: help demo studio test test-slow test-all comfyui mutate lint format bench world clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.installed  ## align the built-in tiny model towards "3d render" and show that it worked
	@$(BIN)/palate demo

studio: $(VENV)/.installed  ## open the Studio in the browser
	@$(BIN)/python app.py

# Several workers, one thread each: faster for many small tests than one worker with many threads.
test: $(VENV)/.installed-dev  ## the tests to run after every change (under 10 minutes)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not slow and not browser and not long" -n $(WORKERS) --dist loadfile

test-slow: $(VENV)/.installed-dev  ## browser, several processes, kills (under 20 minutes)
	$(BIN)/python -m pytest -q -m "(slow or browser) and not long" --durations 10

test-all: $(VENV)/.installed-dev  ## every test there is
	$(BIN)/python -m pytest -q -m "" --durations 20

comfyui: $(VENV)/.installed-dev  ## fetch the ComfyUI that test-slow then runs, too (once, 90 MB)
	@$(BIN)/python tests/real_comfyui.py

mutate: $(VENV)/.installed-dev  ## flip every sign, drop every factor: is each held by a test? (under an hour)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python tests/mutate.py

lint: $(VENV)/.installed-dev  ## style, types, who imports whom, nothing written twice
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/pylint $(CHECKED)

format: $(VENV)/.installed-dev  ## mend what ruff can mend by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed  ## one SRPO update beside the straightforward procedure; with COMFYUI_PATH, our node beside core's
	@$(BIN)/python benchmarks/srpo_update.py
	@test -z "$$COMFYUI_PATH" || $(BIN)/python benchmarks/comfy_overhead.py

world: $(VENV)/.installed-world  ## rebuild the demo world from nothing (hours)
	$(BIN)/python -m demo_world.build all

clean:  ## remove caches and build leftovers; environment, runs and pictures stay
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

$(VENV)/.installed: pyproject.toml
	$(call install,.)
	@touch $@

$(VENV)/.installed-dev: pyproject.toml
	$(call install,.[dev])
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-world: pyproject.toml
	$(call install,.[world])
	@touch $@ $(VENV)/.installed

define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Palate needs Python 3.11 or newer, but '$(PYTHON)' is: $$($(PYTHON) --version 2>&1 | head -n 1)"; \
		echo "Install a newer one, or name it: make $(firstword $(MAKECMDGOALS)) PYTHON=python3.12"; exit 1; }
	@echo "Setting up $(VENV): once, a few minutes, several GB with PyTorch."
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check -e '$(1)'
endef
